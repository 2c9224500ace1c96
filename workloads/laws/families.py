"""Gamma, Weibull, Pareto and Burr lengths, in scipy's parameters."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from workloads.batch import MAX_TOKENS
from workloads.laws.continuous import ContinuousLaw, Value

Shape = Annotated[float, Field(gt=0, le=10_000)]
TailIndex = Annotated[float, Field(ge=-5, le=5, description="Above 0 the tail is a power law.")]

_LARGEST_EXPONENT = 700.0  # of what exp() can still represent


class GammaLength(ContinuousLaw):
    """A gamma law: mean `shape` x `scale`, coefficient of variation 1 / sqrt(`shape`)."""

    kind: Literal["gamma"] = "gamma"
    shape: Shape
    scale: Value = Field(description="In tokens.")

    def exceedance(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        """P(X > value) before rounding and bounds, same shape as `value`."""
        from scipy.special import gammaincc

        above: NDArray[np.float64] = gammaincc(self.shape, value / self.scale)
        return above

    def parameters(self) -> str:
        """The law before rounding and bounds, in a few words."""
        return f"gamma(shape {self.shape:g}, scale {self.scale:g})"


class WeibullLength(ContinuousLaw):
    """A Weibull law, P(X > x) = exp(-(x / `scale`)^`shape`)."""

    kind: Literal["weibull"] = "weibull"
    shape: Shape
    scale: Value = Field(description="In tokens.")

    def exceedance(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        """P(X > value) before rounding and bounds, same shape as `value`."""
        logarithm = self.shape * np.log(value / self.scale)
        above: NDArray[np.float64] = np.exp(-np.exp(np.minimum(logarithm, _LARGEST_EXPONENT)))
        return above

    def parameters(self) -> str:
        """The law before rounding and bounds, in a few words."""
        return f"weibull(shape {self.shape:g}, scale {self.scale:g})"


class ParetoLength(ContinuousLaw):
    """A generalised Pareto law, P(X > x) = (1 + `xi` (x - `location`) / `scale`)^(-1/`xi`).

    `xi` 0 is the exponential law, below 0 it ends at `location` - `scale` / `xi`. The Lomax law has
    location 0; the classical Pareto law above x_min with exponent a is xi 1/a, location x_min,
    scale x_min / a. With xi of 1 or more there is no mean, and a `max` is required.
    """

    kind: Literal["pareto"] = "pareto"
    xi: TailIndex
    scale: Value = Field(description="In tokens.")
    location: float = Field(0.0, ge=0, le=MAX_TOKENS, description="Smallest value, tokens.")

    def has_mean(self) -> bool:
        """Whether the mean is finite without a cap."""
        return self.xi < 1

    def exceedance(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        """P(X > value) before rounding and bounds, same shape as `value`."""
        return pareto_tail(self.xi, self.scale, value - self.location)

    def parameters(self) -> str:
        """The law before rounding and bounds, in a few words."""
        return f"pareto(xi {self.xi:g}, scale {self.scale:g}, location {self.location:g})"


class BurrLength(ContinuousLaw):
    """A Burr XII law, P(X > x) = (1 + (x / `scale`)^`c`)^-`d`: a power law c d in the tail.

    With c d of 1 or less there is no mean, and a `max` is required.
    """

    kind: Literal["burr"] = "burr"
    c: Shape
    d: Shape
    scale: Value = Field(description="In tokens.")

    def has_mean(self) -> bool:
        """Whether the mean is finite without a cap."""
        return self.c * self.d > 1

    def exceedance(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        """P(X > value) before rounding and bounds, same shape as `value`."""
        above: NDArray[np.float64] = np.exp(
            -self.d * np.logaddexp(0.0, self.c * np.log(value / self.scale))
        )
        return above

    def parameters(self) -> str:
        """The law before rounding and bounds, in a few words."""
        return f"burr(c {self.c:g}, d {self.d:g}, scale {self.scale:g})"


def pareto_tail(xi: float, scale: float, excess: NDArray[np.float64]) -> NDArray[np.float64]:
    """P(Y > excess) of a generalised Pareto law that begins at 0; 1 below it, same shape."""
    z = np.maximum(excess, 0.0) / scale
    if abs(xi) < 1e-9:  # the limit; beyond rounding errors from here on
        return np.exp(-z)
    with np.errstate(divide="ignore"):  # log(0) at and past the end of a law with xi < 0
        above: NDArray[np.float64] = np.exp(-np.log1p(np.maximum(xi * z, -1.0)) / xi)
    return above
