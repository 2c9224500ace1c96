"""What a law of token lengths is.

Every law is on whole tokens and lies within hard bounds. A value past a bound is set to the bound,
as generation stops at a token limit, so a cap carries a lump of probability. Drawing is by
inverse CDF from given uniforms: the same uniforms under another law are the same "luck".
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from workloads.batch import MAX_TOKENS
from workloads.schema import Section

Tokens = Annotated[int, Field(ge=0, le=MAX_TOKENS)]


class Law(Section):
    """Base of the length laws."""

    @abstractmethod
    def support(self) -> tuple[int, int]:
        """The smallest and the largest length that can be drawn, tokens."""

    @abstractmethod
    def survival(self, tokens: ArrayLike) -> NDArray[np.float64]:
        """P(length > tokens), same shape as `tokens` (whole numbers)."""

    @abstractmethod
    def draw(self, uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
        """Lengths int64[n] from uniforms float64[n, 4] in (0, 1); row j decides length j alone.

        Column 0 picks the component of a mixture, column 1 the quantile; 2 and 3 are spare.
        """

    @abstractmethod
    def mean(self) -> float:
        """The exact mean of the lengths as drawn: rounded, with the bounds applied. Tokens."""

    @abstractmethod
    def describe(self) -> str:
        """The law in a few words, for the provenance of a result."""


def require_ordered(low: int, high: int) -> None:
    """Raises ValueError if the bounds of a law leave nothing between them."""
    if high < low:
        raise ValueError(f"max ({high}) must not be below min ({low})")
