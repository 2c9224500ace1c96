"""Log-normal lengths, alone and mixed: what published output lengths look like."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from workloads.laws.checks import Weights, require_components
from workloads.laws.continuous import ContinuousLaw

Mu = Annotated[float, Field(ge=-20, le=30)]
Sigma = Annotated[float, Field(gt=0, le=10)]


class _Lognormal(ContinuousLaw):
    """Log-normals, one or several."""

    @abstractmethod
    def _components(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Normalised weights, mu and sigma of the components, each float64[components]."""

    def exceedance(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        """P(X > value) before rounding and bounds, same shape as `value`."""
        from scipy.special import ndtr

        logarithm = np.log(value)
        above = np.zeros_like(logarithm)
        for weight, mu, sigma in zip(*self._components(), strict=True):
            above += weight * ndtr((mu - logarithm) / sigma)
        return above

    def _excess(self, start: int, stop: int) -> float:
        """The integral of P(Y > y) from `start` to `stop`, Y the log-normal before rounding.

        It differs from the sum of P(length > k) by less than 1e-6 / sigma tokens.
        """
        from scipy.special import ndtr

        weights, mu, sigma = self._components()

        def below(edge: int) -> NDArray[np.float64]:  # E[min(Y, edge)] of each component
            z = (np.log(edge) - mu) / sigma
            capped: NDArray[np.float64] = np.exp(mu + sigma**2 / 2) * ndtr(z - sigma)
            capped += edge * ndtr(-z)
            return capped

        return float(weights @ (below(stop) - below(start)))


class LognormalLength(_Lognormal):
    """A log-normal: `mu` and `sigma` are of the natural logarithm of tokens."""

    kind: Literal["lognormal"] = "lognormal"
    mu: Mu
    sigma: Sigma

    def _components(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        return np.ones(1), np.array([self.mu]), np.array([self.sigma])

    def parameters(self) -> str:
        """The law before rounding and bounds, in a few words."""
        return f"lognormal(mu {self.mu:g}, sigma {self.sigma:g})"


class LognormalMixtureLength(_Lognormal):
    """A mixture of log-normals: `weights`, `mu` and `sigma` give one number per component.

    Weights must sum to 1 within 0.001 (published fits are rounded) and are then normalised.
    """

    kind: Literal["lognormal_mixture"] = "lognormal_mixture"
    weights: Weights
    mu: tuple[Mu, ...] = Field(strict=False)
    sigma: tuple[Sigma, ...] = Field(strict=False)

    @model_validator(mode="after")
    def _same_length(self) -> LognormalMixtureLength:
        require_components(("weights", "mu", "sigma"), (self.weights, self.mu, self.sigma))
        return self

    def _components(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        weights = np.array(self.weights)
        return weights / weights.sum(), np.array(self.mu), np.array(self.sigma)

    def parameters(self) -> str:
        """The law before rounding and bounds, in a few words."""
        return f"lognormal_mixture of {len(self.weights)}"
