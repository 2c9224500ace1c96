"""Lengths as counted: the values themselves, or some of their quantiles."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from workloads.batch import MAX_TOKENS
from workloads.laws.checks import NOT_DESCENDING, Probabilities, require_quantiles
from workloads.laws.continuous import ContinuousLaw
from workloads.laws.law import Law, Tokens, require_ordered

Quantile = Annotated[float, Field(ge=0, le=MAX_TOKENS)]
Weight = Annotated[float, Field(ge=0)]


class QuantilesLength(ContinuousLaw):
    """The law with these quantiles: P(X <= `tokens[i]`) = `probabilities[i]`, from 0 to 1.

    Between two of them the logarithm of the length grows evenly with the probability; equal tokens
    in a row carry a lump of probability. A quantile of 0 tokens counts as half a token.
    """

    kind: Literal["quantiles"] = "quantiles"
    probabilities: Probabilities
    tokens: Annotated[tuple[Quantile, ...], NOT_DESCENDING] = Field(strict=False, min_length=2)

    @model_validator(mode="after")
    def _in_pairs(self) -> QuantilesLength:
        require_quantiles(self.probabilities, self.tokens, "tokens")
        return self

    def support(self) -> tuple[int, int]:
        """The smallest and the largest length that can be drawn, tokens."""
        low, high = super().support()
        if low > high:
            return low, high
        shortest, longest = np.clip(np.rint([self.tokens[0], self.tokens[-1]]), low, high)
        return int(shortest), int(longest)

    def exceedance(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        """P(X > value) before rounding and bounds, same shape as `value`."""
        at, below = np.log(np.maximum(self.tokens, 0.5)), np.array(self.probabilities)
        logarithm = np.log(value)
        right = np.searchsorted(at, logarithm, side="right")
        i = np.clip(right, 1, len(at) - 1)
        width = at[i] - at[i - 1]
        with np.errstate(divide="ignore", invalid="ignore"):  # a lump at an end, decided below
            part = (logarithm - at[i - 1]) / width
        inside = 1.0 - (below[i - 1] + part * (below[i] - below[i - 1]))
        return np.where(right == 0, 1.0, np.where(right == len(at), 0.0, inside))

    def parameters(self) -> str:
        """The law before rounding and bounds, in a few words."""
        return f"{len(self.tokens)} quantiles"


class EmpiricalLength(Law):
    """One of `tokens`, in proportion to `weights` (left out: all alike).

    A value outside `min` and `max` is set to the bound.
    """

    kind: Literal["empirical"] = "empirical"
    tokens: tuple[Tokens, ...] = Field(strict=False, min_length=1)
    weights: tuple[Weight, ...] | None = Field(None, strict=False)
    min: Tokens = 1
    max: Tokens | None = Field(None, description="Hard cap in tokens; null for none.")

    @model_validator(mode="after")
    def _weighted(self) -> EmpiricalLength:
        if self.weights is not None:
            if len(self.weights) != len(self.tokens):
                raise ValueError(
                    f"{len(self.tokens)} tokens need as many weights, there are {len(self.weights)}"
                )
            if not sum(self.weights) > 0:
                raise ValueError("weights must not all be 0")
        require_ordered(self.min, MAX_TOKENS if self.max is None else self.max)
        return self

    def support(self) -> tuple[int, int]:
        """The smallest and the largest length that can be drawn, tokens."""
        values, _ = _steps(self)
        return int(values[0]), int(values[-1])

    def survival(self, tokens: ArrayLike) -> NDArray[np.float64]:
        """P(length > tokens), same shape as `tokens`."""
        values, below = _steps(self)
        reached = np.searchsorted(values, np.asarray(tokens), side="right")
        return 1.0 - np.concatenate(([0.0], below))[reached]

    def quantile(self, uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
        """Lengths int64[n] from uniforms float64[n]."""
        values, below = _steps(self)
        return values[np.searchsorted(below, uniforms, side="left")]

    def mean(self) -> float:
        """The exact mean of the lengths as drawn, with the bounds applied. Tokens."""
        values, below = _steps(self)
        return float(values @ np.diff(below, prepend=0.0))

    def describe(self) -> str:
        """The law in a few words."""
        low, high = self.support()
        return f"empirical, {len(self.tokens)} values, {low} to {high} tokens"


@lru_cache(maxsize=128)
def _steps(law: EmpiricalLength) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The lengths that have a weight, ascending, and P(length <= each), the last exactly 1."""
    high = MAX_TOKENS if law.max is None else law.max
    lengths = np.clip(np.array(law.tokens, dtype=np.int64), law.min, high)
    weights = np.ones(len(lengths)) if law.weights is None else np.array(law.weights)
    values, group = np.unique(lengths[weights > 0], return_inverse=True)
    total = np.cumsum(np.bincount(group, weights[weights > 0]))
    # 1 - (1 - p): as exact as `survival`, which gives the second half of it.
    return values, 1.0 - (1.0 - total / total[-1])
