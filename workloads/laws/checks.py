"""What lists of numbers that describe a law must be like. All raise ValueError in plain words."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo


def _sums_to_one(weights: tuple[float, ...]) -> tuple[float, ...]:
    if abs(sum(weights) - 1.0) > 1e-3:  # published fits are rounded
        raise ValueError(f"weights must sum to 1, these sum to {sum(weights):g}")
    return weights


Weights = Annotated[
    tuple[Annotated[float, Field(gt=0, le=1)], ...],
    Field(strict=False),
    AfterValidator(_sums_to_one),
]


def ascending(edges: tuple[float, ...]) -> tuple[float, ...]:
    """The edges of a histogram, each above the one before it."""
    if any(low >= high for low, high in itertools.pairwise(edges)):
        raise ValueError("edges must be ascending")
    return edges


def _from_zero_to_one(probabilities: tuple[float, ...]) -> tuple[float, ...]:
    if probabilities[0] != 0.0 or probabilities[-1] != 1.0:
        raise ValueError(
            "probabilities must begin with 0 and end with 1: the smallest and the largest value"
        )
    if any(low >= high for low, high in itertools.pairwise(probabilities)):
        raise ValueError("probabilities must be ascending")
    return probabilities


Probabilities = Annotated[
    tuple[Annotated[float, Field(ge=0, le=1)], ...],
    Field(strict=False, min_length=2),
    AfterValidator(_from_zero_to_one),
]
"""Those of quantiles: ascending from 0 to 1."""


def _not_descending(values: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
    if any(low > high for low, high in itertools.pairwise(values)):
        raise ValueError(f"{info.field_name} must not descend")
    return values


NOT_DESCENDING = AfterValidator(_not_descending)
"""Of the values at those probabilities: none is below the one before it."""


def require_quantiles(probabilities: Sequence[float], values: Sequence[float], name: str) -> None:
    """Of quantiles: a value for each probability."""
    if len(probabilities) != len(values):
        raise ValueError(
            f"{len(probabilities)} probabilities need as many {name}, there are {len(values)}"
        )


def require_components(names: Sequence[str], columns: Sequence[Sequence[float]]) -> None:
    """Of a mixture: every column must have a number for each component."""
    counts = [len(column) for column in columns]
    if len(set(counts)) > 1:
        raise ValueError(
            f"{', '.join(names[:-1])} and {names[-1]} must have one number per component, "
            f"they have {', '.join(map(str, counts[:-1]))} and {counts[-1]}"
        )


def require_bins(edges: Sequence[float], counts: Sequence[float]) -> None:
    """Of a histogram: an edge more than counts, and something counted."""
    if len(edges) != len(counts) + 1:
        raise ValueError(
            f"{len(counts)} counts need {len(counts) + 1} edges, there are {len(edges)}"
        )
    if not sum(counts) > 0:
        raise ValueError("counts must not all be 0")
