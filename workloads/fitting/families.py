"""Gamma, Weibull, Burr XII, Lomax and Pareto lengths by maximum likelihood over bins.

Two or three parameters each, found by the simplex of Nelder and Mead from a start that the data's
quantiles give, so that the same data give the same fit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from workloads.fitting.sample import Bins, LengthSample

Survival = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Fitted:
    """A law at its most likely parameters.

    kind: its name, that of the YAML where the law is one there. parameters: as the YAML has them.
    free: how many were fitted. survival: P(X > tokens) before rounding and bounds.
    """

    kind: str
    parameters: dict[str, float]
    free: int
    log_likelihood: float
    survival: Survival


def fit_gamma(sample: LengthSample) -> Fitted:
    """Gamma of given shape and scale (tokens)."""
    from scipy.special import gammaincc

    mean, deviation = _moments(sample)
    shape = float(np.clip((mean / deviation) ** 2, 0.05, 1e4))

    def survival(x: NDArray[np.float64], shape: float, scale: float) -> NDArray[np.float64]:
        found: NDArray[np.float64] = gammaincc(shape, x / scale)
        return found

    return _fit(sample, "gamma", survival, {"shape": shape, "scale": mean / shape})


def fit_weibull(sample: LengthSample) -> Fitted:
    """Weibull of given shape and scale (tokens)."""
    low, high = (float(q) for q in sample.quantile([0.25, 0.75]))
    # of the two quartiles: log(log 4 / log 4/3) = shape x log(q3 / q1)
    shape = 1.5725 / max(np.log(max(high, 1.0) / max(low, 0.5)), 0.05)
    scale = max(high, 1.0) / np.log(4.0) ** (1 / shape)

    def survival(x: NDArray[np.float64], shape: float, scale: float) -> NDArray[np.float64]:
        return np.exp(-((x / scale) ** shape))

    return _fit(sample, "weibull", survival, {"shape": float(shape), "scale": float(scale)})


def fit_burr(sample: LengthSample) -> Fitted:
    """Burr XII: P(X > x) = (1 + (x / scale)^c)^-d."""

    def survival(x: NDArray[np.float64], c: float, d: float, scale: float) -> NDArray[np.float64]:
        return np.exp(-d * np.logaddexp(0.0, c * np.log(x / scale)))

    median = float(sample.quantile(0.5)[0])
    return _fit(sample, "burr", survival, {"c": 1.5, "d": 1.0, "scale": max(median, 1.0)})


def fit_gpd(sample: LengthSample) -> Fitted:
    """Generalised Pareto from 0 on (Lomax): P(X > x) = (1 + xi x / scale)^(-1 / xi)."""

    def survival(x: NDArray[np.float64], xi: float, scale: float) -> NDArray[np.float64]:
        return np.exp(-np.log1p(xi * x / scale) / xi)

    median = float(sample.quantile(0.5)[0])
    return _fit(sample, "gpd", survival, {"xi": 0.3, "scale": max(1.3 * median, 1.0)})


def fit_pareto(sample: LengthSample) -> Fitted:
    """Pareto from a smallest value on: P(X > x) = (x / location)^-alpha.

    The location is fitted within the half token that rounding may have moved the smallest length.
    """
    edge = max(float(sample.positive().values[0]) - 0.5, 0.5)

    def survival(x: NDArray[np.float64], alpha: float, offset: float) -> NDArray[np.float64]:
        return np.exp(-alpha * np.log(np.maximum(x / (edge + min(offset, 1.0)), 1.0)))

    bins = sample.bins
    excess = np.log(np.maximum(bins.lower, edge) / edge) @ bins.weights
    alpha = float(np.clip(bins.weights.sum() / max(float(excess), 1e-9), 0.05, 1e3))
    fitted = _fit(sample, "pareto", survival, {"alpha": alpha, "offset": 0.5})
    alpha, offset = fitted.parameters.values()
    parameters = {"alpha": alpha, "location": edge + min(offset, 1.0)}
    return replace(fitted, parameters=parameters)


FAMILIES = {
    "gamma": fit_gamma,
    "weibull": fit_weibull,
    "burr": fit_burr,
    "gpd": fit_gpd,
    "pareto": fit_pareto,
}


def _moments(sample: LengthSample) -> tuple[float, float]:
    """Mean and standard deviation, the latter never so small that it stops a division."""
    weights = sample.weights / sample.total
    mean = float(sample.values @ weights)
    variance = float((sample.values - mean) ** 2 @ weights)
    return max(mean, 0.5), max(np.sqrt(variance), 1e-3 * mean, 1e-3)


def _fit(
    sample: LengthSample,
    kind: str,
    survival: Callable[..., NDArray[np.float64]],
    start: dict[str, float],
) -> Fitted:
    """The most likely parameters, all of them positive, from `start`."""
    names, bins = tuple(start), sample.bins
    found = maximise(bins, lambda x, values: survival(x, *values), np.array([*start.values()]))
    values = [float(value) for value in found]
    with np.errstate(all="ignore"):
        likelihood = bins.log_likelihood(bin_masses(bins, lambda x: survival(x, *values)))

    def fitted_survival(x: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(all="ignore"):
            return survival(np.asarray(x, dtype=np.float64), *values)

    parameters = dict(zip(names, values, strict=True))
    return Fitted(kind, parameters, len(names), likelihood, fitted_survival)


def bin_masses(bins: Bins, survival: Survival) -> NDArray[np.float64]:
    """P(bin), float64[bins], of a law given by its survival function."""
    return bins.masses(survival(bins.edges[0]))


def maximise(
    bins: Bins,
    survival: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]],
    start: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The positive parameters under which the bins are most likely, float64[parameters]."""
    from scipy.optimize import minimize

    total = bins.weights.sum()

    def loss(logarithms: NDArray[np.float64]) -> float:
        values = np.exp(np.clip(logarithms, -25.0, 25.0))
        mass = bin_masses(bins, lambda x: survival(x, values))
        value = -bins.log_likelihood(np.nan_to_num(mass)) / total
        return value if np.isfinite(value) else 1e6

    at = np.log(start)
    with np.errstate(all="ignore"):
        # a simplex may collapse on its way: the second run starts with a fresh one
        for tolerance in (1e-3, 1e-6):
            options = {"xatol": tolerance, "fatol": 1e-3 * tolerance**1.5, "maxfev": 2000}
            at = minimize(loss, at, method="Nelder-Mead", options=options).x  # type: ignore[no-untyped-call]
    found: NDArray[np.float64] = np.exp(np.clip(at, -25.0, 25.0))
    return found
