"""How much of an output is thinking: laws of the ratio, and the split they make."""

from __future__ import annotations

from abc import abstractmethod
from functools import lru_cache
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from workloads.laws.checks import Weights, ascending, require_bins, require_components
from workloads.schema import Section

Ratio = Annotated[float, Field(ge=0, le=1)]
Shape = Annotated[float, Field(ge=0.01, le=1e6)]

_TABLE_STEPS = 1 << 14


class ThinkingRatio(Section):
    """Base of the laws of thinking / (thinking + answer), a number in [0, 1]."""

    @abstractmethod
    def quantile(self, uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
        """Ratios float64[n] from uniforms float64[n] in (0, 1), non-decreasing in them."""

    @abstractmethod
    def mean(self) -> float:
        """The exact mean."""

    @abstractmethod
    def describe(self) -> str:
        """The law in a few words, for the provenance of a result."""


class ConstantRatio(ThinkingRatio):
    """Always `ratio`."""

    kind: Literal["constant"] = "constant"
    ratio: Ratio

    def quantile(self, uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
        """Ratios float64[n] from uniforms float64[n]."""
        return np.full(len(uniforms), self.ratio)

    def mean(self) -> float:
        """The exact mean."""
        return self.ratio

    def describe(self) -> str:
        """The law in a few words."""
        return f"constant, {self.ratio:g}"


class BetaMixtureRatio(ThinkingRatio):
    """A mixture of beta laws: `weights`, `a` and `b` give one number per component.

    Weights must sum to 1 within 0.001 (published fits are rounded) and are then normalised.
    ServeGen's DeepSeek-R1 traffic has two modes, outputs that are mostly answer and outputs that
    are mostly thinking: weights [0.22, 0.78], a [16.33, 4.59], b [26.40, 1.21].
    """

    kind: Literal["beta_mixture"] = "beta_mixture"
    weights: Weights
    a: tuple[Shape, ...] = Field(strict=False)
    b: tuple[Shape, ...] = Field(strict=False)

    @model_validator(mode="after")
    def _same_length(self) -> BetaMixtureRatio:
        require_components(("weights", "a", "b"), (self.weights, self.a, self.b))
        return self

    def cdf(self, ratio: NDArray[np.float64]) -> NDArray[np.float64]:
        """P(R <= ratio), same shape as `ratio`."""
        from scipy.special import betainc

        below = np.zeros_like(ratio)
        for weight, a, b in zip(self.weights, self.a, self.b, strict=True):
            below += weight / sum(self.weights) * betainc(a, b, ratio)
        return below

    def quantile(self, uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
        """Ratios float64[n] from uniforms float64[n], by linear interpolation in a table."""
        at, below = _beta_table(self)
        return np.interp(uniforms, below, at)

    def mean(self) -> float:
        """The exact mean."""
        means = np.array(self.a) / (np.array(self.a) + np.array(self.b))
        return float(np.average(means, weights=self.weights))

    def describe(self) -> str:
        """The law in a few words."""
        return f"beta_mixture of {len(self.weights)}, mean {self.mean():.3f}"


class HistogramRatio(ThinkingRatio):
    """A measured histogram: `counts[i]` ratios between `edges[i]` and `edges[i + 1]`.

    Ratios are spread evenly within a bin.
    """

    kind: Literal["histogram"] = "histogram"
    edges: tuple[Ratio, ...] = Field(strict=False, min_length=2)
    counts: tuple[Annotated[float, Field(ge=0)], ...] = Field(strict=False, min_length=1)

    @field_validator("edges")
    @classmethod
    def _ascending(cls, edges: tuple[float, ...]) -> tuple[float, ...]:
        return ascending(edges)

    @model_validator(mode="after")
    def _whole(self) -> HistogramRatio:
        require_bins(self.edges, self.counts)
        return self

    def quantile(self, uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
        """Ratios float64[n] from uniforms float64[n]."""
        edges, total = np.array(self.edges), np.cumsum((0.0, *self.counts))
        below = total / total[-1]
        # the bin with below[i] < u <= below[i + 1], never an empty one
        i = np.searchsorted(below, uniforms, side="left") - 1
        share = (uniforms - below[i]) / (below[i + 1] - below[i])
        ratio: NDArray[np.float64] = edges[i] + share * (edges[i + 1] - edges[i])
        inside: NDArray[np.float64] = np.minimum(ratio, edges[i + 1])
        return inside

    def mean(self) -> float:
        """The exact mean."""
        edges = np.array(self.edges)
        return float(np.average((edges[1:] + edges[:-1]) / 2, weights=self.counts))

    def describe(self) -> str:
        """The law in a few words."""
        return f"histogram of {len(self.counts)} bins, mean {self.mean():.3f}"


RatioLaw = Annotated[ConstantRatio | BetaMixtureRatio | HistogramRatio, Field(discriminator="kind")]


def split_output(
    output_tokens: NDArray[np.int64], ratio: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Thinking and answer tokens, int64[n] each, of outputs of at least 1 token.

    Thinking is round(output x ratio), but at least 1 token is left for the answer.
    """
    thinking = np.rint(output_tokens * ratio).astype(np.int64)
    thinking = np.minimum(thinking, output_tokens - 1)
    return thinking, output_tokens - thinking


@lru_cache(maxsize=128)
def _beta_table(law: BetaMixtureRatio) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ratios from 0 to 1 and P(R <= each), strictly ascending.

    Half the ratios are dense at both ends, where a beta law can be steep, half are quantiles of
    the components, so that a narrow one is resolved.
    """
    from scipy.special import betaincinv

    even = np.linspace(0.0, 1.0, _TABLE_STEPS // 2 + 1)
    parts = [np.sin(np.pi / 2 * even) ** 2]
    parts += [betaincinv(a, b, even) for a, b in zip(law.a, law.b, strict=True)]
    at = np.unique(np.concatenate(parts))
    below = np.maximum.accumulate(law.cdf(at))
    _, first = np.unique(below, return_index=True)
    return at[first], below[first]
