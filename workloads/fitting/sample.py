"""Measured token lengths as a weighted sample, and the bins that likelihoods are taken over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

CAP_WIDTH = 0.001
"""Lengths this close (relative) to the largest belong to the same lump."""
CAP_MIN_COUNT = 5
CAP_SHARE = 0.0003
CAP_CONTRAST = 4.0
"""A lump at the end is a cap if it holds so much more than the 10 % of lengths below it do."""

_EXACT_TOKENS = 250  # below, every length is a bin of its own
_BIN_RATIO = 0.004  # above, bins are this wide on the logarithmic scale


@dataclass(frozen=True, eq=False)
class Bins:
    """What a likelihood needs: P(bin i) = F(upper[i]) - F(lower[i]) of a continuous law.

    A length of k tokens stands for (k - 1/2, k + 1/2]; a bin holds one or more lengths. The
    first bin reaches down to 0 if it holds 1 token, the last one up to infinity if it is a cap.
    tokens: how many whole lengths the bin covers, which turns its mass into a density.
    """

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    weights: NDArray[np.float64]
    tokens: NDArray[np.float64]

    @cached_property
    def edges(self) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
        """All edges but 0 and infinity, ascending, and where lower and upper ones are in them.

        Most bins begin where the one before ends: a law is asked at each edge once. Positions past
        the last edge stand for infinity; a lower edge of 0 has position -1.
        """
        both = np.concatenate((self.lower, self.upper))
        edges = np.unique(both[(both > 0) & np.isfinite(both)])
        lower = np.where(self.lower > 0, np.searchsorted(edges, self.lower), -1)
        return edges, lower, np.searchsorted(edges, self.upper)

    def masses(self, survival: NDArray[np.float64]) -> NDArray[np.float64]:
        """P(bin) from the law's P(X > edge) at each of `edges`."""
        _, lower, upper = self.edges
        padded = np.concatenate((survival, [0.0, 1.0]))  # at infinity, and last (-1) at 0
        mass: NDArray[np.float64] = padded[lower] - padded[upper]
        return mass

    def log_likelihood(self, mass: NDArray[np.float64]) -> float:
        """Sum of log density per token, given P(bin)."""
        density = np.maximum(mass, 1e-300) / self.tokens
        return float(self.weights @ np.log(density))


@dataclass(frozen=True, eq=False)
class LengthSample:
    """Distinct lengths in ascending order with the weight (often the number of rows) of each.

    values: int64[m], at least 0. weights: float64[m], positive.
    """

    values: NDArray[np.int64]
    weights: NDArray[np.float64]

    @classmethod
    def of(cls, values: ArrayLike, weights: ArrayLike | None = None) -> LengthSample:
        """From lengths in any order, each counting once or with its weight.

        Raises ValueError if there are none, or if a length or a weight is negative.
        """
        lengths = np.asarray(values)
        if not lengths.size:
            raise ValueError("no lengths")
        if lengths.min() < 0:
            raise ValueError("lengths must not be negative")
        if weights is None:
            distinct, counts = np.unique(lengths, return_counts=True)
            return cls(distinct.astype(np.int64), counts.astype(np.float64))
        given = np.asarray(weights, dtype=np.float64)
        if given.shape != lengths.shape or not (given >= 0).all() or not given.sum() > 0:
            raise ValueError("weights must be as many as lengths, not negative, and not all 0")
        distinct, where = np.unique(lengths, return_inverse=True)
        summed = np.bincount(where, weights=given).astype(np.float64)
        return cls(distinct[summed > 0].astype(np.int64), summed[summed > 0])

    @property
    def total(self) -> float:
        """Sum of the weights."""
        return float(self.weights.sum())

    @property
    def mean(self) -> float:
        """Mean length in tokens."""
        return float(self.values @ self.weights) / self.total

    @property
    def zero_share(self) -> float:
        """Share of lengths that are 0."""
        return float(self.weights[0]) / self.total if self.values[0] == 0 else 0.0

    @cached_property
    def cumulative(self) -> NDArray[np.float64]:
        """P(length <= values), float64[m], ending in 1."""
        summed = np.cumsum(self.weights)
        share: NDArray[np.float64] = summed / summed[-1]
        return share

    def quantile(self, probabilities: float | Sequence[float]) -> NDArray[np.int64]:
        """The smallest length that at least this share of lengths does not exceed."""
        wanted = np.atleast_1d(np.asarray(probabilities, dtype=np.float64))
        at = np.searchsorted(self.cumulative, wanted - 1e-12, side="left")
        return self.values[np.minimum(at, len(self.values) - 1)]

    def positive(self) -> LengthSample:
        """Without the lengths of 0. Raises ValueError if nothing is left."""
        if self.values[0] > 0:
            return self
        if len(self.values) == 1:
            raise ValueError("every length is 0")
        return LengthSample(self.values[1:], self.weights[1:])

    def above(self, tokens: float) -> LengthSample | None:
        """The lengths above `tokens`, None if there are none."""
        first = int(np.searchsorted(self.values, tokens, side="right"))
        if first == len(self.values):
            return None
        return LengthSample(self.values[first:], self.weights[first:])

    @cached_property
    def cap(self) -> int | None:
        """The length at which generation was cut off, None if nothing looks like it.

        A lump at the largest length: more weight within 0.1 % of it than a smooth tail would
        leave there, judged by the tenth of the range below. One length has at least half of it.
        """
        top = int(self.values[-1])
        first = int(np.searchsorted(self.values, top * (1 - CAP_WIDTH), side="left"))
        lump = float(self.weights[first:].sum())
        if len(self.values) < 3 or lump < max(CAP_MIN_COUNT, CAP_SHARE * self.total):
            return None
        start = int(np.searchsorted(self.values, 0.9 * top, side="left"))
        below = float(self.weights[start:first].sum())
        # what the lump would hold if its tokens were like those below
        span = max(float(self.values[first]) - np.ceil(0.9 * top), 1.0)
        expected = below * (top + 1 - np.ceil(top * (1 - CAP_WIDTH))) / span
        if lump < CAP_CONTRAST * expected:
            return None
        fullest = first + int(np.argmax(self.weights[first:]))
        return int(self.values[fullest]) if 2 * self.weights[fullest] >= lump else None

    @cached_property
    def bins(self) -> Bins:
        """The bins of the positive lengths, at most some 2,500 whatever the sample."""
        positive = self.positive()
        values, weights = positive.values, positive.weights
        cap = self.cap
        if cap is not None:
            values = np.minimum(values, cap)
        cuts = _cuts(int(values[-1]))
        where = np.searchsorted(cuts, values, side="left")  # values in (cuts[i-1], cuts[i]]
        if cap is not None:
            where[values == cap] = len(cuts)
        used, index = np.unique(where, return_inverse=True)
        mass = np.bincount(index, weights=weights).astype(np.float64)
        lower = cuts[np.minimum(used, len(cuts) - 1) - 1]
        upper = cuts[np.minimum(used, len(cuts) - 1)]
        if cap is not None:
            lower, upper = lower.copy(), upper.copy()
            lower[-1], upper[-1] = cap - 0.5, np.inf
            # what is below the cap ends there
            upper[:-1] = np.minimum(upper[:-1], cap - 0.5)
        tokens = np.where(np.isinf(upper), 1.0, upper - lower)
        if lower[0] == 0.5:
            lower[0] = 0.0
        return Bins(lower, upper, mass, tokens)


def _cuts(top: int) -> NDArray[np.float64]:
    """Edges between bins, halves of whole tokens, from 1/2 to beyond `top`."""
    steps = int(np.ceil(np.log(max(top / _EXACT_TOKENS, 1.0)) / _BIN_RATIO)) + 2
    wide = np.rint(_EXACT_TOKENS * np.exp(_BIN_RATIO * np.arange(1, steps)))
    narrow = np.arange(0, _EXACT_TOKENS + 1, dtype=np.float64)
    return np.unique(np.concatenate((narrow, wide))) + 0.5
