"""Laws of real values, made into laws of whole tokens by rounding and two bounds."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from workloads.batch import MAX_TOKENS
from workloads.laws.law import Law, Tokens, require_ordered

Value = Annotated[float, Field(gt=0, le=MAX_TOKENS)]  # a scale or threshold, tokens


class ContinuousLaw(Law):
    """Values rounded to the nearest whole token, then set to `min` or `max` if outside."""

    min: Tokens = 1
    max: Tokens | None = Field(None, description="Hard cap in tokens; null for none.")

    @abstractmethod
    def exceedance(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        """P(X > value), same shape, X being the value before rounding and bounds; value > 0."""

    @abstractmethod
    def parameters(self) -> str:
        """The law before rounding and bounds, in a few words."""

    def has_mean(self) -> bool:
        """Whether the mean is finite without a cap."""
        return True

    @model_validator(mode="after")
    def _bounded(self) -> ContinuousLaw:
        require_ordered(*self.support())
        if self.max is None and not self.has_mean():
            raise ValueError(f"{self.parameters()} has no finite mean: give it a max")
        return self

    def support(self) -> tuple[int, int]:
        """The smallest and the largest length that can be drawn, tokens."""
        return self.min, MAX_TOKENS if self.max is None else self.max

    def survival(self, tokens: ArrayLike) -> NDArray[np.float64]:
        """P(length > tokens), same shape as `tokens`."""
        low, high = self.support()
        at = np.asarray(tokens, dtype=np.float64)
        # The rounded value exceeds k when the value exceeds k + 1/2.
        inside = self.exceedance(np.maximum(at, 0.0) + 0.5)
        return np.where(at < low, 1.0, np.where(at >= high, 0.0, inside))

    def describe(self) -> str:
        """The law in a few words."""
        low, high = self.support()
        bounds = f"at least {low}" if high == MAX_TOKENS else f"{low} to {high}"
        return f"{self.parameters()}, {bounds} tokens"
