"""A body and a tail, each with a law of its own."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from workloads.laws.continuous import ContinuousLaw, Value
from workloads.laws.families import BurrLength, GammaLength, TailIndex, WeibullLength, pareto_tail
from workloads.laws.lognormal import LognormalLength, LognormalMixtureLength

Body = Annotated[
    LognormalLength | LognormalMixtureLength | GammaLength | WeibullLength | BurrLength,
    Field(discriminator="kind"),
]


class SplicedLength(ContinuousLaw):
    """`body` up to `threshold`, a generalised Pareto tail (`xi`, `scale`) above it.

    `tail_probability` is P(X > threshold), by default the body's own; the body is scaled to the
    rest, so the CDF is continuous at the threshold (the density need not be). Peaks over a
    threshold: Coles, "An Introduction to Statistical Modeling of Extreme Values", 2001, ch. 4.
    """

    kind: Literal["spliced"] = "spliced"
    body: Body
    threshold: Value = Field(description="Where the tail begins, tokens.")
    tail_probability: float | None = Field(
        None, gt=0, lt=1, description="P(X > threshold); null for the body's own."
    )
    xi: TailIndex
    scale: Value = Field(description="Of the tail, tokens.")

    @field_validator("body")
    @classmethod
    def _unbounded(cls, body: ContinuousLaw) -> ContinuousLaw:
        if body.max is not None or body.min != type(body).model_fields["min"].default:
            raise ValueError("min and max belong to the spliced law, not to its body")
        return body

    @model_validator(mode="after")
    def _both_exist(self) -> SplicedLength:
        above = self._body_above(self.threshold)
        if above >= 1:
            raise ValueError(f"the body never lies below the threshold of {self.threshold:g}")
        if above <= 0 and self.tail_probability is None:
            raise ValueError(
                f"the body never exceeds the threshold of {self.threshold:g}: give tail_probability"
            )
        return self

    def has_mean(self) -> bool:
        """Whether the mean is finite without a cap."""
        return self.xi < 1

    def exceedance(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        """P(X > value) before rounding and bounds, same shape as `value`."""
        above = self._body_above(self.threshold)
        tail = above if self.tail_probability is None else self.tail_probability
        in_body = self.body.exceedance(np.minimum(value, self.threshold))
        body = 1.0 - (1.0 - tail) * (1.0 - in_body) / (1.0 - above)
        beyond = tail * pareto_tail(self.xi, self.scale, value - self.threshold)
        return np.where(value < self.threshold, body, beyond)

    def _body_above(self, value: float) -> float:
        return float(self.body.exceedance(np.array([value]))[0])

    def parameters(self) -> str:
        """The law before rounding and bounds, in a few words."""
        return (
            f"{self.body.parameters()} to {self.threshold:g}, "
            f"then pareto(xi {self.xi:g}, scale {self.scale:g})"
        )
