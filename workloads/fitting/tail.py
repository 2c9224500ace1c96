"""How heavy a tail is: Hill's index and a generalised Pareto above a threshold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workloads.fitting.sample import Bins, LengthSample
from workloads.laws.families import pareto_tail

HILL_SHARE = 0.01
HILL_LEAST = 50
CAP_ROOM = 1.05  # a cap this close above the threshold leaves no tail to see
XI_BOUNDS = (-0.9, 3.0)


@dataclass(frozen=True)
class Hill:
    """Hill's tail index alpha of the `k` largest lengths, those above `threshold` tokens.

    P(X > x) falls like x^-alpha: below 2 the variance, below 1 the mean depends on the cap.
    Infinite if the k largest do not differ.
    """

    alpha: float
    k: int
    threshold: int


@dataclass(frozen=True)
class GpdTail:
    """A generalised Pareto fitted to the excess over `threshold` tokens.

    xi > 0 is a power law of index 1 / xi, 0 an exponential tail, below 0 one that ends. n: the
    weight above the threshold.
    """

    threshold: int
    xi: float
    scale: float
    n: float

    def survival(self, excess: NDArray[np.float64]) -> NDArray[np.float64]:
        """P(X - threshold > excess), given that X is above the threshold."""
        return pareto_tail(self.xi, self.scale, excess)


def hill(sample: LengthSample) -> Hill | None:
    """Hill (1975) over the top 1 % of lengths, at least 50 of them but no more than a tenth.

    Lengths at a cap are counted as censored there. None if there are fewer than 20 lengths.
    """
    positive = sample.positive()
    n = positive.total
    k = max(HILL_SHARE * n, min(HILL_LEAST, 0.1 * n))
    if n < 20 or len(positive.values) < 3:
        return None
    threshold = int(positive.quantile(1 - k / n)[0])
    tail = positive.above(threshold)
    cap = sample.cap
    if tail is None or (cap is not None and cap <= threshold):
        return None
    values = tail.values if cap is None else np.minimum(tail.values, cap)
    uncensored = tail.total if cap is None else float(tail.weights[tail.values < cap].sum())
    # a length of k stands for k - 1/2 to k + 1/2, so the threshold lies half a token higher
    summed = float(np.log(values / (threshold + 0.5)) @ tail.weights)
    alpha = uncensored / summed if summed > 0 else np.inf
    return Hill(alpha=float(alpha), k=round(tail.total), threshold=threshold)


def fit_gpd_tail(sample: LengthSample, quantile: float = 0.95) -> GpdTail | None:
    """The generalised Pareto above the given quantile by maximum likelihood, the cap censored.

    None if fewer than 20 lengths, or no two different ones, lie above, or the cap is too close.
    """
    from scipy.optimize import minimize

    positive = sample.positive()
    threshold = int(positive.quantile(quantile)[0])
    cap = sample.cap
    tail = positive.above(threshold)
    if tail is None or tail.total < 20 or len(tail.values) < 2:
        return None
    if cap is not None and cap < CAP_ROOM * threshold:
        return None
    bins = _tail_bins(sample, threshold)
    total = float(bins.weights.sum())
    mean = float((tail.values - threshold - 0.5) @ tail.weights) / tail.total

    def loss(at: NDArray[np.float64]) -> float:
        xi, scale = float(at[0]), float(np.exp(np.clip(at[1], -20, 30)))
        if not XI_BOUNDS[0] <= xi <= XI_BOUNDS[1]:
            return 1e6
        below = pareto_tail(xi, scale, bins.lower)
        above = np.where(np.isinf(bins.upper), 0.0, pareto_tail(xi, scale, bins.upper))
        return -bins.log_likelihood(below - above) / total

    at = np.array([0.1, np.log(max(mean, 0.5))])
    for _ in range(2):
        options = {"xatol": 1e-7, "fatol": 1e-11, "maxiter": 1000}
        at = minimize(loss, at, method="Nelder-Mead", options=options).x  # type: ignore[no-untyped-call]
    return GpdTail(threshold, float(at[0]), float(np.exp(at[1])), tail.total)


def _tail_bins(sample: LengthSample, threshold: int) -> Bins:
    """The bins above a threshold, as excess over it; the first starts at 0."""
    bins, edge = sample.bins, threshold + 0.5
    use = bins.upper > edge
    lower = np.maximum(bins.lower[use], edge) - edge
    upper = bins.upper[use] - edge
    # the bin that the threshold cuts keeps only what lies above it
    weights = bins.weights[use].copy()
    tail = sample.positive().above(threshold)
    assert tail is not None
    weights[0] -= weights.sum() - tail.total
    keep = weights > 1e-9 * tail.total
    tokens = np.where(np.isinf(upper), 1.0, upper - lower)
    return Bins(lower[keep], upper[keep], weights[keep], tokens[keep])
