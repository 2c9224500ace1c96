"""What lists of numbers that describe a law must be like. All raise ValueError in plain words."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Field


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
