"""Lengths as somebody measured them: a histogram, stretched to another mean if need be."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from workloads.batch import MAX_TOKENS
from workloads.laws.checks import ascending, require_bins
from workloads.laws.continuous import ContinuousLaw

Edge = Annotated[float, Field(ge=0, le=MAX_TOKENS)]
Count = Annotated[float, Field(ge=0)]


class HistogramLength(ContinuousLaw):
    """A measured histogram: `counts[i]` lengths between `edges[i]` and `edges[i + 1]` tokens.

    Lengths are spread evenly within a bin, multiplied by one factor such that their mean is
    `mean_tokens` (left out: as measured), rounded to whole tokens and set to `min` or `max` if
    outside. The mean holds with rounding and bounds applied.
    """

    kind: Literal["histogram"] = "histogram"
    edges: tuple[Edge, ...] = Field(strict=False, min_length=2)
    counts: tuple[Count, ...] = Field(strict=False, min_length=1)
    mean_tokens: float | None = Field(
        None, gt=0, description="Mean to stretch the lengths to, in tokens."
    )

    @field_validator("edges")
    @classmethod
    def _ascending(cls, edges: tuple[float, ...]) -> tuple[float, ...]:
        return ascending(edges)

    @model_validator(mode="after")
    def _whole(self) -> HistogramLength:
        require_bins(self.edges, self.counts)
        self._edges()  # a mean that cannot be had is refused here
        return self

    def exceedance(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        """P(X > value) before rounding and bounds, same shape as `value`."""
        above: NDArray[np.float64] = 1.0 - np.interp(value, self._edges(), _cumulative(self.counts))
        return above

    def mean(self) -> float:
        """The exact mean of the lengths as drawn: rounded, with the bounds applied. Tokens."""
        return _mean(self._edges(), self.counts, *self.support())

    def parameters(self) -> str:
        """The law before rounding and bounds, in a few words."""
        return f"histogram of {len(self.counts)} bins, mean {self.mean():.1f}"

    def _edges(self) -> NDArray[np.float64]:
        factor = _factor(self.edges, self.counts, *self.support(), self.mean_tokens)
        scaled: NDArray[np.float64] = factor * np.array(self.edges)
        return scaled


def _cumulative(counts: tuple[float, ...]) -> NDArray[np.float64]:
    """Share of the lengths below each edge, float64[bins + 1], from 0 to exactly 1."""
    total = np.concatenate(([0.0], np.cumsum(counts)))
    share: NDArray[np.float64] = total / total[-1]
    return share


def _mean(edges: NDArray[np.float64], counts: tuple[float, ...], low: int, high: int) -> float:
    """`low` plus the sum of P(length > k) for k from `low` to `high` - 1, one bin at a time.

    Within a bin P is linear in k, so the sum over its whole numbers is that of a progression.
    """
    survival = 1.0 - _cumulative(counts)
    # k + 1/2 lies in bin i for k from first[i] to first[i + 1] - 1; before the first edge P is 1.
    first = np.clip(np.ceil(edges - 0.5), low, high)
    number = np.diff(first)
    middle = first[:-1] + (number - 1) / 2 + 0.5
    slope = np.diff(survival) / np.diff(edges)
    inside = number * (survival[:-1] + slope * (middle - edges[:-1]))
    return float(first[0] + inside.sum())


@lru_cache(maxsize=256)
def _factor(
    edges: tuple[float, ...],
    counts: tuple[float, ...],
    low: int,
    high: int,
    target: float | None,
) -> float:
    """What to multiply the edges by for a mean of `target` tokens between the bounds."""
    if target is None:
        return 1.0
    from scipy.optimize import brentq

    bins = np.array(edges)
    natural = float(np.average((bins[1:] + bins[:-1]) / 2, weights=counts))

    def excess(logarithm: float) -> float:
        return _mean(np.exp(logarithm) * bins, counts, low, high) - target

    # The mean grows with the factor, from `low` to that of everything at its cap.
    least, most = np.log(target / natural) - 25.0, np.log(target / natural) + 25.0
    if not excess(least) < 0 < excess(most):
        cap = "" if high == MAX_TOKENS else f" and {high}"
        raise ValueError(f"no stretching gives a mean of {target:g} tokens between {low}{cap}")
    root: float = brentq(excess, least, most, xtol=1e-13, rtol=1e-15)  # type: ignore[no-untyped-call]
    return float(np.exp(root))
