"""How long prompts, thinking and answers are: the laws an experiment can name."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, TypeAdapter, model_validator

from workloads.laws.empirical import EmpiricalLength, QuantilesLength
from workloads.laws.families import BurrLength, GammaLength, ParetoLength, WeibullLength
from workloads.laws.histogram import HistogramLength
from workloads.laws.law import Law, Tokens, require_ordered
from workloads.laws.lognormal import LognormalLength, LognormalMixtureLength
from workloads.laws.spliced import SplicedLength
from workloads.presets import length_presets


class ConstantLength(Law):
    """Always `tokens`."""

    kind: Literal["constant"] = "constant"
    tokens: Tokens

    def support(self) -> tuple[int, int]:
        """The smallest and the largest length that can be drawn, tokens."""
        return self.tokens, self.tokens

    def survival(self, tokens: ArrayLike) -> NDArray[np.float64]:
        """P(length > tokens), same shape as `tokens`."""
        return (np.asarray(tokens) < self.tokens).astype(np.float64)

    def quantile(self, uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
        """Lengths int64[n] from uniforms float64[n]."""
        return np.full(len(uniforms), self.tokens, dtype=np.int64)

    def mean(self) -> float:
        """The exact mean, tokens."""
        return float(self.tokens)

    def describe(self) -> str:
        """The law in a few words."""
        return f"constant, {self.tokens} tokens"


class UniformLength(Law):
    """Every whole number from `min` to `max`, both included, equally likely."""

    kind: Literal["uniform"] = "uniform"
    min: Tokens = 1
    max: Tokens

    @model_validator(mode="after")
    def _ordered(self) -> UniformLength:
        require_ordered(self.min, self.max)
        return self

    def support(self) -> tuple[int, int]:
        """The smallest and the largest length that can be drawn, tokens."""
        return self.min, self.max

    def survival(self, tokens: ArrayLike) -> NDArray[np.float64]:
        """P(length > tokens), same shape as `tokens`."""
        above = (self.max - np.asarray(tokens, dtype=np.float64)) / (self.max - self.min + 1)
        return np.clip(above, 0.0, 1.0)

    def mean(self) -> float:
        """The exact mean, tokens."""
        return (self.min + self.max) / 2

    def describe(self) -> str:
        """The law in a few words."""
        return f"uniform, {self.min} to {self.max} tokens"


class PresetLength(Law):
    """A law fitted to published data, by name; `max` replaces its cap. See `presets.yaml`."""

    kind: Literal["preset"] = "preset"
    name: str = Field(json_schema_extra=lambda schema: schema.update(enum=[*length_presets()]))
    max: Tokens | None = Field(None, description="Hard cap in tokens instead of the preset's.")

    @model_validator(mode="after")
    def _resolves(self) -> PresetLength:
        if self.name not in length_presets():
            known = ", ".join(sorted(length_presets()))
            raise ValueError(f"unknown preset {self.name!r}; known: {known}")
        require_ordered(*self.law().support())
        return self

    def law(self) -> Law:
        """The law that the name stands for, with the cap in force."""
        law = _preset_law(self.name)
        return law if self.max is None else law.model_copy(update={"max": self.max})

    def support(self) -> tuple[int, int]:
        """The smallest and the largest length that can be drawn, tokens."""
        return self.law().support()

    def survival(self, tokens: ArrayLike) -> NDArray[np.float64]:
        """P(length > tokens), same shape as `tokens`."""
        return self.law().survival(tokens)

    def quantile(self, uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
        """Lengths int64[n] from uniforms float64[n]."""
        return self.law().quantile(uniforms)

    def mean(self) -> float:
        """The mean in tokens, rounding and bounds included."""
        return self.law().mean()

    def describe(self) -> str:
        """The law in a few words."""
        return f"{self.name} ({self.law().describe()})"


_Concrete = (
    ConstantLength
    | UniformLength
    | LognormalLength
    | LognormalMixtureLength
    | GammaLength
    | WeibullLength
    | ParetoLength
    | BurrLength
    | SplicedLength
    | HistogramLength
    | QuantilesLength
    | EmpiricalLength
)
ConcreteLaw = Annotated[_Concrete, Field(discriminator="kind")]
LengthLaw = Annotated[_Concrete | PresetLength, Field(discriminator="kind")]


@lru_cache
def _preset_law(name: str) -> Law:
    adapter: TypeAdapter[Law] = TypeAdapter(ConcreteLaw)
    return adapter.validate_python(length_presets()[name])
