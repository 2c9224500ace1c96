"""What a law of token lengths is.

Every law is on whole tokens and lies within hard bounds. A value past a bound is set to the bound,
as generation stops at a token limit, so a cap carries a lump of probability. Drawing is by
inverse CDF from one uniform a length: the same uniforms under another law are the same "luck",
and uniforms that are correlated (see `workloads.laws.copula`) leave every law what it is.

A new law is `survival`, `support` and `describe`: quantiles and the mean follow from those.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import lru_cache
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from workloads.batch import MAX_TOKENS
from workloads.schema import Section

Tokens = Annotated[int, Field(ge=0, le=MAX_TOKENS)]

TABLE_TOKENS = 1 << 16  # a law's CDF is tabulated token by token for this many tokens
COARSE_STEPS = 1 << 12  # and at this many points, evenly spaced in the logarithm, above them


class Law(Section):
    """Base of the length laws."""

    @abstractmethod
    def support(self) -> tuple[int, int]:
        """The smallest and the largest length that can be drawn, tokens."""

    @abstractmethod
    def survival(self, tokens: ArrayLike) -> NDArray[np.float64]:
        """P(length > tokens), same shape as `tokens` (whole numbers).

        `mean` also asks between whole numbers, where a law gives its smooth continuation.
        """

    @abstractmethod
    def describe(self) -> str:
        """The law in a few words, for the provenance of a result."""

    def quantile(self, uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
        """Lengths int64[n] from uniforms float64[n] in (0, 1), one each, non-decreasing in them.

        The inverse CDF: the smallest k with P(length <= k) >= u, P being 1 - survival(k).
        """
        tokens, below = _table(self)
        index = np.searchsorted(below, uniforms, side="left")
        lengths: NDArray[np.int64] = tokens[index]
        if tokens[-1] - tokens[0] > TABLE_TOKENS:
            far = np.flatnonzero(index > TABLE_TOKENS)
            lower = tokens[index[far] - 1]
            lengths[far] = self._between(uniforms[far], lower, lengths[far])
        return lengths

    def _between(
        self, uniforms: NDArray[np.float64], lower: NDArray[np.int64], upper: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Quantiles that are known to be in (lower, upper], by bisection."""
        while (upper - lower > 1).any():
            middle = (lower + upper) >> 1
            reached = 1.0 - self.survival(middle) >= uniforms
            upper = np.where(reached, middle, upper)
            lower = np.where(reached, lower, middle)
        return upper

    def mean(self) -> float:
        """The mean of the lengths as drawn: rounded, with the bounds applied. Tokens.

        Exact, the sum of P(length > k) over k, for the first 65,536 tokens of the support; what
        lies above them is integrated (Gauss-Legendre on log-spaced panels).
        """
        tokens, below = _table(self)
        summed = float((1.0 - below[:TABLE_TOKENS]).sum())
        start, stop = min(int(tokens[0]) + TABLE_TOKENS, int(tokens[-1])), int(tokens[-1])
        return int(tokens[0]) + summed + (self._excess(start, stop) if start < stop else 0.0)

    def _excess(self, start: int, stop: int) -> float:
        """The sum of P(length > k) for k from `start` to `stop` - 1, all far above 1 token."""
        tokens, _ = _table(self)
        edges = tokens[tokens >= start] - 0.5  # k stands for k - 1/2 to k + 1/2
        middle, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
        nodes, weights = np.polynomial.legendre.leggauss(5)
        at = middle[:, None] + half[:, None] * nodes
        return float(half @ (self.survival(at) @ weights))


@lru_cache(maxsize=64)  # a megabyte each
def _table(law: Law) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Lengths and P(length <= each): every one of the first 65,537, then log-spaced, to the last.

    The running maximum takes out dips by rounding errors; the first place where a probability is
    reached stays where it is.
    """
    low, high = law.support()
    dense = min(high, low + TABLE_TOKENS)
    tokens = np.arange(low, dense + 1)
    if dense < high:
        coarse = np.unique(np.rint(np.geomspace(dense, high, COARSE_STEPS + 1)).astype(np.int64))
        tokens = np.concatenate((tokens, coarse[1:]))
    below = np.maximum.accumulate(1.0 - law.survival(tokens))
    return tokens, below


def require_ordered(low: int, high: int) -> None:
    """Raises ValueError if the bounds of a law leave nothing between them."""
    if high < low:
        raise ValueError(f"max ({high}) must not be below min ({low})")
