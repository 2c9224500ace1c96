"""How many turns a conversation has, and how long its people and tools take between them."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from workloads.laws.checks import NOT_DESCENDING, Probabilities, require_quantiles
from workloads.schema import Section

MAX_COUNT = 1_000_000
MAX_PAUSE_S = 1e9


class CountLaw(Section):
    """Base of the laws of counts: whole numbers, at least 1, by inverse CDF."""

    @abstractmethod
    def quantile(self, uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
        """Counts int64[n] from uniforms float64[n] in (0, 1)."""

    @abstractmethod
    def describe(self) -> str:
        """The law in a few words."""


class ConstantCount(CountLaw):
    """Always `count`."""

    kind: Literal["constant"] = "constant"
    count: int = Field(ge=1, le=MAX_COUNT)

    def quantile(self, uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
        """Counts int64[n] from uniforms float64[n]."""
        return np.full(len(uniforms), self.count, dtype=np.int64)

    def describe(self) -> str:
        """The law in a few words."""
        return f"constant, {self.count}"


class GeometricCount(CountLaw):
    """1, 2, 3 ... with a chance of 1 / `mean` to stop after each; `max` bounds it."""

    kind: Literal["geometric"] = "geometric"
    mean: float = Field(ge=1, le=MAX_COUNT)
    max: int = Field(MAX_COUNT, ge=1, le=MAX_COUNT)

    def quantile(self, uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
        """Counts int64[n] from uniforms float64[n]."""
        if self.mean == 1.0:
            return np.ones(len(uniforms), dtype=np.int64)
        counts = np.ceil(np.log1p(-uniforms) / math.log1p(-1.0 / self.mean))
        return np.clip(counts, 1, self.max).astype(np.int64)

    def describe(self) -> str:
        """The law in a few words."""
        return f"geometric, mean {self.mean:g}"


class LognormalCount(CountLaw):
    """A log-normal rounded to the nearest whole number, at least 1 and at most `max`."""

    kind: Literal["lognormal"] = "lognormal"
    mu: float = Field(ge=-5, le=15)
    sigma: float = Field(gt=0, le=5)
    max: int = Field(MAX_COUNT, ge=1, le=MAX_COUNT)

    def quantile(self, uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
        """Counts int64[n] from uniforms float64[n]."""
        from scipy.special import ndtri

        logarithm = np.minimum(self.mu + self.sigma * ndtri(uniforms), math.log(self.max + 1.0))
        counts: NDArray[np.int64] = np.rint(np.exp(logarithm)).astype(np.int64)
        return np.clip(counts, 1, self.max)

    def describe(self) -> str:
        """The law in a few words."""
        return f"lognormal(mu {self.mu:g}, sigma {self.sigma:g}), at most {self.max}"


class QuantilesCount(CountLaw):
    """Measured quantiles: `probabilities` from 0 to 1 and the count at each, log-linear between.

    A count is rounded to the nearest whole number.
    """

    kind: Literal["quantiles"] = "quantiles"
    probabilities: Probabilities
    counts: Annotated[tuple[Annotated[int, Field(ge=1, le=MAX_COUNT)], ...], NOT_DESCENDING] = (
        Field(strict=False, min_length=2)
    )

    @model_validator(mode="after")
    def _in_pairs(self) -> QuantilesCount:
        require_quantiles(self.probabilities, self.counts, "counts")
        return self

    def quantile(self, uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
        """Counts int64[n] from uniforms float64[n]."""
        between = np.interp(uniforms, self.probabilities, np.log(self.counts))
        return np.rint(np.exp(between)).astype(np.int64)

    def describe(self) -> str:
        """The law in a few words."""
        return f"{len(self.counts)} quantiles, {self.counts[0]} to {self.counts[-1]}"


Count = Annotated[
    ConstantCount | GeometricCount | LognormalCount | QuantilesCount, Field(discriminator="kind")
]


class PauseLaw(Section):
    """Base of the laws of pauses, in seconds, by inverse CDF."""

    @abstractmethod
    def quantile(self, uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pauses float64[n] in seconds from uniforms float64[n] in (0, 1)."""

    @abstractmethod
    def describe(self) -> str:
        """The law in a few words."""


class ConstantPause(PauseLaw):
    """Always `seconds`."""

    kind: Literal["constant"] = "constant"
    seconds: float = Field(ge=0, le=MAX_PAUSE_S)

    def quantile(self, uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pauses float64[n] in seconds from uniforms float64[n]."""
        return np.full(len(uniforms), self.seconds)

    def describe(self) -> str:
        """The law in a few words."""
        return f"constant, {self.seconds:g} s"


class ExponentialPause(PauseLaw):
    """Exponentially distributed with mean `mean_s`."""

    kind: Literal["exponential"] = "exponential"
    mean_s: float = Field(gt=0, le=MAX_PAUSE_S)

    def quantile(self, uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pauses float64[n] in seconds from uniforms float64[n]."""
        from simulator.rng import exponential

        pauses: NDArray[np.float64] = self.mean_s * exponential(1.0 - uniforms)
        return pauses

    def describe(self) -> str:
        """The law in a few words."""
        return f"exponential, mean {self.mean_s:g} s"


class LognormalPause(PauseLaw):
    """A log-normal, `mu` and `sigma` of the natural logarithm of seconds, within bounds."""

    kind: Literal["lognormal"] = "lognormal"
    mu: float = Field(ge=-20, le=20)
    sigma: float = Field(gt=0, le=10)
    min_s: float = Field(0.0, ge=0, le=MAX_PAUSE_S)
    max_s: float = Field(MAX_PAUSE_S, ge=0, le=MAX_PAUSE_S)

    @model_validator(mode="after")
    def _ordered(self) -> LognormalPause:
        if self.max_s < self.min_s:
            raise ValueError(f"max_s ({self.max_s:g}) must not be below min_s ({self.min_s:g})")
        return self

    def quantile(self, uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pauses float64[n] in seconds from uniforms float64[n]."""
        from scipy.special import ndtri

        logarithm = np.minimum(self.mu + self.sigma * ndtri(uniforms), 30.0)
        pauses: NDArray[np.float64] = np.exp(logarithm)
        return np.clip(pauses, self.min_s, self.max_s)

    def describe(self) -> str:
        """The law in a few words."""
        return f"lognormal(mu {self.mu:g}, sigma {self.sigma:g}) s"


class QuantilesPause(PauseLaw):
    """Measured quantiles: `probabilities` from 0 to 1 and the seconds at each, log-linear between.

    Seconds must be above 0.
    """

    kind: Literal["quantiles"] = "quantiles"
    probabilities: Probabilities
    seconds: Annotated[
        tuple[Annotated[float, Field(gt=0, le=MAX_PAUSE_S)], ...], NOT_DESCENDING
    ] = Field(strict=False, min_length=2)

    @model_validator(mode="after")
    def _in_pairs(self) -> QuantilesPause:
        require_quantiles(self.probabilities, self.seconds, "seconds")
        return self

    def quantile(self, uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pauses float64[n] in seconds from uniforms float64[n]."""
        pauses: NDArray[np.float64] = np.exp(
            np.interp(uniforms, self.probabilities, np.log(self.seconds))
        )
        return pauses

    def describe(self) -> str:
        """The law in a few words."""
        return f"{len(self.seconds)} quantiles, {self.seconds[0]:g} to {self.seconds[-1]:g} s"


Pause = Annotated[
    ConstantPause | ExponentialPause | LognormalPause | QuantilesPause, Field(discriminator="kind")
]
