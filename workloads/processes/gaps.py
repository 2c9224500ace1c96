"""Gaps of renewal processes: gamma and Weibull laws of mean 1, given by their variability.

All functions take uniforms in (0, 1) and work elementwise, one gap from one uniform; a smaller
uniform gives a longer gap, as in `simulator.rng.exponential`, so that one uniform is the same luck
under every law. `cv` is the coefficient of variation, standard deviation over mean: a number, or an
array that is broadcast with the uniforms.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simulator.rng import exponential

Family = Literal["gamma", "weibull"]
LEAST_CV, MOST_CV = 1e-3, 100.0


def gamma_gaps(uniform: ArrayLike, cv: ArrayLike) -> NDArray[np.float64]:
    """Gamma gaps of mean 1, shape 1 / cv^2; at a single cv of 1 exactly `exponential(uniform)`.

    Raises ValueError unless every cv is from 0.001 to 100.
    """
    u, spread = _checked(uniform, cv)
    if spread.ndim == 0 and spread == 1.0:
        return exponential(u)
    from scipy.special import gammaincinv

    shape = 1.0 / spread**2
    return _portable(gammaincinv(shape, 1.0 - u) / shape)  # 1 - u is exact


def weibull_gaps(uniform: ArrayLike, cv: ArrayLike) -> NDArray[np.float64]:
    """Weibull gaps of mean 1; at a single cv of 1 exactly `exponential(uniform)`.

    Raises ValueError unless every cv is from 0.001 to 100.
    """
    u, spread = _checked(uniform, cv)
    if spread.ndim == 0 and spread == 1.0:
        return exponential(u)
    shape, mean = _weibull(spread)
    return _portable(exponential(u) ** (1.0 / shape) / mean)


def equilibrium_gap(
    uniform: ArrayLike, uniform_within: ArrayLike, cv: ArrayLike, family: Family
) -> NDArray[np.float64]:
    """The wait from an arbitrary moment to the next arrival, in mean gaps; its mean (1 + cv^2) / 2.

    As the first gap of a renewal process it makes the expected number of arrivals by time t equal
    rate x t from the start. An arbitrary moment falls into a gap with probability proportional to
    its length, evenly within it: `uniform` decides how long that gap is, `uniform_within` what is
    left of it (Cox, "Renewal Theory", 1962, section 5.3). At a single cv of 1, where the past says
    nothing, it is exactly `exponential(uniform)`. Raises ValueError as the gaps do.
    """
    u, spread = _checked(uniform, cv)
    if spread.ndim == 0 and spread == 1.0:
        return exponential(u)
    from scipy.special import gammaincinv

    if family == "gamma":
        shape = 1.0 / spread**2
        whole = gammaincinv(shape + 1.0, 1.0 - u) / shape
    else:
        shape, mean = _weibull(spread)
        whole = gammaincinv(1.0 + 1.0 / shape, 1.0 - u) ** (1.0 / shape) / mean
    return _portable(whole * np.asarray(uniform_within, dtype=np.float64))


def weibull_shape(cv: ArrayLike) -> NDArray[np.float64]:
    """Shape of the Weibull law of each cv, same shape as `cv`: below 1 where cv is above 1."""
    values, which = np.unique(np.asarray(cv, dtype=np.float64), return_inverse=True)
    shapes = np.array([_shape(float(value)) for value in values])
    return shapes[which].reshape(np.shape(cv))


@lru_cache(maxsize=1 << 14)
def _shape(cv: float) -> float:
    """Solves cv^2 + 1 = G(1 + 2/k) / G(1 + 1/k)^2 for k, G being the gamma function."""
    from scipy.optimize import brentq

    target = math.log1p(cv * cv)

    def excess(log_shape: float) -> float:
        inverse = math.exp(-log_shape)
        return math.lgamma(1.0 + 2.0 * inverse) - 2.0 * math.lgamma(1.0 + inverse) - target

    # From cv 470 at shape 1/8 to cv 0.0006 at shape 2000.
    root: float = brentq(  # type: ignore[no-untyped-call]
        excess, math.log(0.125), math.log(2000.0), xtol=1e-14, rtol=1e-14
    )
    return float(f"{math.exp(root):.12g}")


def _weibull(cv: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shape, and mean at scale 1, of each cv."""
    from scipy.special import gamma

    shape = weibull_shape(cv)
    return shape, gamma(1.0 + 1.0 / shape)


def _checked(uniform: ArrayLike, cv: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    spread = np.asarray(cv, dtype=np.float64)
    if not ((spread >= LEAST_CV) & (spread <= MOST_CV)).all():
        raise ValueError(f"a coefficient of variation must be from {LEAST_CV} to {MOST_CV:g}")
    return np.asarray(uniform, dtype=np.float64), spread


def _portable(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values to 21 significant bits.

    Powers and special functions differ in their last bits from one CPU or library to another;
    rounded, two machines draw the same gaps (all but one in some 10^9).
    """
    spread = values * (2.0**32 + 1.0)  # Veltkamp's splitting; each operation correctly rounded
    return np.asarray(spread - (spread - values))
