"""A log-normal body with a generalised Pareto tail, threshold by threshold."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.fitting.families import bin_masses
from workloads.fitting.sample import Bins, LengthSample
from workloads.fitting.tail import GpdTail, fit_gpd_tail

QUANTILES = (0.8, 0.9, 0.95)
"""Where the tail may begin; the most likely of them is taken."""
FREE = 6  # two of the body, two of the tail, the threshold and how much lies above it


def fit_spliced(sample: LengthSample) -> tuple[dict[str, Any], float] | None:
    """The YAML fields of the `spliced` law and its log-likelihood; None without a tail to fit."""
    fits = []
    for quantile in QUANTILES:
        tail = fit_gpd_tail(sample, quantile)
        if tail is not None and -0.5 < tail.xi < 2.0:
            fits.append(_at_threshold(sample, tail))
    return max(fits, key=lambda fit: fit[1], default=None)


def _at_threshold(sample: LengthSample, tail: GpdTail) -> tuple[dict[str, Any], float]:
    from scipy.optimize import minimize
    from scipy.special import ndtr

    positive, bins, edge = sample.positive(), sample.bins, tail.threshold + 0.5
    share = tail.n / positive.total
    body = positive.weights[positive.values <= tail.threshold]
    logs = np.log(positive.values[positive.values <= tail.threshold])
    mu = float(logs @ body) / float(body.sum())
    sigma = max(float(np.sqrt((logs - mu) ** 2 @ body / body.sum())), 0.05)

    def masses(at: NDArray[np.float64]) -> NDArray[np.float64]:
        mu, sigma = float(at[0]), float(np.exp(np.clip(at[1], -3.0, 2.0)))
        # a body far above the threshold: as good as impossible, but no division by 0
        reach = max(float(ndtr((np.log(edge) - mu) / sigma)), 1e-300)

        def survival(x: NDArray[np.float64]) -> NDArray[np.float64]:
            in_body = 1 - (1 - share) * ndtr((np.log(np.minimum(x, edge)) - mu) / sigma) / reach
            return np.where(x < edge, in_body, share * tail.survival(x - edge))

        return bin_masses(bins, survival)

    total = bins.weights.sum()
    bounds = [(float(logs.min()) - 2.0, float(logs.max()) + 3.0), (-3.0, 2.0)]
    found = minimize(  # type: ignore[no-untyped-call]
        lambda at: -_log_likelihood(bins, masses(at)) / total,
        np.array([mu, np.log(sigma)]),
        method="Nelder-Mead",
        bounds=bounds,
        options={"xatol": 1e-6, "fatol": 1e-10, "maxiter": 1000},
    ).x
    fields = {
        "kind": "spliced",
        "body": {"kind": "lognormal", "mu": float(found[0]), "sigma": float(np.exp(found[1]))},
        "threshold": edge,
        "tail_probability": share,
        "xi": tail.xi,
        "scale": tail.scale,
    }
    return fields, _log_likelihood(bins, masses(found))


def _log_likelihood(bins: Bins, masses: NDArray[np.float64]) -> float:
    with np.errstate(all="ignore"):
        return bins.log_likelihood(np.nan_to_num(masses))
