"""How much the number of arrivals of a stationary renewal process varies, by theory."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import binom

_A, _TERMS, _MEANS = 18.4, 30, 12  # discretisation error e^-A; terms, and partial sums averaged


def gamma_count_variance(mean: NDArray[np.float64], cv: NDArray[np.float64]) -> NDArray[np.float64]:
    """Var N(T) of stationary renewal processes with gamma gaps, `mean` = rate x T expected.

    With f the Laplace transform of a gap (mean 1) and H the renewal function, Var N(m) =
    m + 2 int_0^m (H(t) - t) dt (Cox, "Renewal Theory", 1962, section 4.5), whose transform is
    closed: L{H - t} = (f / (1 - f) - 1 / s) / s. It is inverted by Euler summation (Abate and
    Whitt, "Numerical inversion of Laplace transforms", ORSA J. Computing 1995). For a large mean
    it tends to mean x cv^2; where few are expected, it does not.
    """
    shape = 1.0 / cv**2

    def transform(s: NDArray[np.complex128]) -> NDArray[np.complex128]:
        minus_log = shape * np.log1p(s / shape)  # f = (1 + s cv^2)^(-1 / cv^2)
        return (1.0 / np.expm1(minus_log) - 1.0 / s) / s**2

    term = np.real(transform(_A / (2.0 * mean) + 0j)) / 2.0
    partial = []
    for j in range(1, _TERMS + _MEANS + 1):
        s = (_A + 2j * math.pi * j) / (2.0 * mean)
        term = term + (-1.0) ** j * np.real(transform(s))
        if j >= _TERMS:
            partial.append(term)
    weights = binom(_MEANS, np.arange(_MEANS + 1)) / 2.0**_MEANS
    inverse = math.exp(_A / 2.0) / mean * np.tensordot(weights, np.array(partial), axes=1)
    return mean + 2.0 * inverse


def simulated_counts(
    rng: np.random.Generator, mean: float, cv: float, family: str, runs: int
) -> NDArray[np.int64]:
    """Numbers of arrivals in `runs` windows, drawn without any of the project's code."""
    shape = 1.0 / cv**2
    if family == "weibull":
        shape = float(brentq(lambda k: _weibull_cv(k) - cv, 0.13, 2000.0))
        scale = 1.0 / math.gamma(1.0 + 1.0 / shape)
        # The gap under way is length-biased: its power `shape` is gamma with shape 1 + 1 / shape.
        under_way = scale * rng.gamma(1.0 + 1.0 / shape, size=runs) ** (1.0 / shape)
    else:
        scale = cv**2
        under_way = scale * rng.gamma(shape + 1.0, size=runs)
    counts = np.zeros(runs, dtype=np.int64)
    last = under_way * rng.random(runs)
    block = max(int(mean + 4 * cv * math.sqrt(mean)) + 8, 16)
    while (last < mean).any():
        gaps = (
            scale * rng.weibull(shape, (runs, block))
            if family == "weibull"
            else rng.gamma(shape, scale, (runs, block))
        )
        times = np.concatenate([last[:, None], last[:, None] + np.cumsum(gaps, axis=1)], axis=1)
        counts += (times[:, :-1] < mean).sum(axis=1)
        last = times[:, -1]
    return counts


def _weibull_cv(shape: float) -> float:
    log = math.lgamma(1.0 + 2.0 / shape) - 2.0 * math.lgamma(1.0 + 1.0 / shape)
    return math.sqrt(math.expm1(log))
