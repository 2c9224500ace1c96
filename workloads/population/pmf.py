"""Published discrete distributions, drawn from by inverse CDF."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class TokenPmf:
    """Lengths that occur and how often. `tokens`: int64[k], ascending. `share`: float64[k],
    summing to 1. `below`: float64[k], P(length <= tokens).
    """

    tokens: NDArray[np.int64]
    share: NDArray[np.float64]
    below: NDArray[np.float64]

    @staticmethod
    def of(tokens: ArrayLike, weights: ArrayLike) -> TokenPmf:
        """From lengths in any order and weights of any sum above 0; 0 tokens become 1."""
        values, place = np.unique(
            np.maximum(np.asarray(tokens, dtype=np.int64), 1), return_inverse=True
        )
        shares = np.asarray(weights, dtype=np.float64)
        total = np.bincount(place, weights=shares).astype(np.float64)
        return TokenPmf(values, total / total.sum(), _cumulative(total))

    def quantile(self, uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
        """Lengths int64[n], each the smallest with P(length <= it) >= u, for u in (0, 1)."""
        drawn: NDArray[np.int64] = self.tokens[np.searchsorted(self.below, uniforms, side="left")]
        return drawn


@dataclass(frozen=True, eq=False)
class RatioPmf:
    """A histogram of equal bins over [0, 1]. `share`: float64[bins], summing to 1."""

    share: NDArray[np.float64]
    below: NDArray[np.float64]

    @staticmethod
    def of(weights: ArrayLike) -> RatioPmf:
        """From the weights of the bins, of any sum above 0."""
        total = np.asarray(weights, dtype=np.float64)
        return RatioPmf(total / total.sum(), _cumulative(total))

    def quantile(self, uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
        """Ratios float64[n] in [0, 1], spread evenly within their bins."""
        i = np.searchsorted(self.below, uniforms, side="left")
        inside = (uniforms - (self.below - self.share)[i]) / self.share[i]
        ratio: NDArray[np.float64] = (i + np.clip(inside, 0.0, 1.0)) / len(self.share)
        return ratio


def _cumulative(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Running sums that end in exactly 1, so that no uniform lies beyond them."""
    total = np.cumsum(weights)
    below: NDArray[np.float64] = total / total[-1]
    return below
