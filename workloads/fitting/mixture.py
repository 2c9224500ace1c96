"""Mixtures of log-normals by maximum likelihood: EM to find them, quasi-Newton to finish.

Likelihoods are those of rounded and capped lengths (`Bins`), so small lengths and a lump at the cap
bias nothing. EM: Dempster, Laird and Rubin (1977), with the moments of the truncated normal. The
starting points are fixed quantiles of the data; nothing is random.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workloads.fitting.sample import Bins

SIGMA_MIN = 0.05
"""No component is narrower (log tokens): below lie spikes at favourite lengths, not laws."""
SIGMA_MAX = 5.0

# Where the data are cut into the first guess of each component, as shares of the weight.
_STARTS = {
    1: ((),),
    2: ((0.5,), (0.8,), (0.2,), (0.95,), (0.05,)),
    3: ((0.33, 0.67), (0.45, 0.87), (0.2, 0.9), (0.1, 0.45), (0.6, 0.95), (0.05, 0.8)),
}
_WARM_UP = 40  # EM iterations of each start


@dataclass(frozen=True, eq=False)
class Mixture:
    """Weights, mu and sigma, each float64[components], by rising mu; the log-likelihood."""

    weights: NDArray[np.float64]
    mu: NDArray[np.float64]
    sigma: NDArray[np.float64]
    log_likelihood: float

    def survival(self, tokens: NDArray[np.float64]) -> NDArray[np.float64]:
        """P(X > tokens) of the continuous mixture, before rounding and bounds."""
        from scipy.special import ndtr

        with np.errstate(divide="ignore"):
            log_tokens = np.log(np.asarray(tokens, dtype=np.float64))
        scaled = (self.mu - log_tokens[..., None]) / self.sigma
        survival: NDArray[np.float64] = ndtr(scaled) @ self.weights
        return survival


def fit_mixture(bins: Bins, components: int) -> Mixture:
    """The log-normal mixture of 1, 2 or 3 components that is most likely to give these bins."""
    log_lower, log_upper = _log_edges(bins)
    share = bins.weights / bins.weights.sum()
    guesses = []
    for cuts in _STARTS[components]:
        guess = _first_guess(log_lower, log_upper, share, cuts)
        for _ in range(_WARM_UP if components > 1 else 1):
            guess = _em_step(log_lower, log_upper, share, *guess)[0]
        guesses.append((_em_step(log_lower, log_upper, share, *guess)[1], guess))
    best = max(guesses, key=lambda scored: scored[0])[1]
    weights, mu, sigma = _polish(log_lower, log_upper, share, *best)
    order = np.argsort(mu, kind="stable")
    mass = _masses(log_lower, log_upper, mu, sigma) @ weights
    return Mixture(weights[order], mu[order], sigma[order], bins.log_likelihood(mass))


Parameters = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def _log_edges(bins: Bins) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    with np.errstate(divide="ignore"):
        return np.log(bins.lower)[:, None], np.log(bins.upper)[:, None]


def _first_guess(
    log_lower: NDArray[np.float64],
    log_upper: NDArray[np.float64],
    share: NDArray[np.float64],
    cuts: tuple[float, ...],
) -> Parameters:
    """Weight, mean and deviation of the logarithm of each part of the data."""
    # an open end stands at its closed edge
    low = np.where(np.isinf(log_lower[:, 0]), log_upper[:, 0] - 0.7, log_lower[:, 0])
    high = np.where(np.isinf(log_upper[:, 0]), log_lower[:, 0], log_upper[:, 0])
    middle = (low + high) / 2
    below = np.cumsum(share) - share / 2
    part = np.searchsorted(np.array(cuts), below, side="right")
    weights = np.maximum(np.bincount(part, share, len(cuts) + 1), 1e-6)
    mu = np.bincount(part, share * middle, len(cuts) + 1) / weights
    variance = np.bincount(part, share * (middle - mu[part]) ** 2, len(cuts) + 1) / weights
    # an empty part would sit at 0: put it on the median instead
    empty = weights <= 1e-6
    mu = np.where(empty, np.interp(0.5, below, middle), mu)
    sigma = np.clip(np.sqrt(variance), 4 * SIGMA_MIN, SIGMA_MAX)
    return weights / weights.sum(), mu, sigma


def _masses(
    log_lower: NDArray[np.float64],
    log_upper: NDArray[np.float64],
    mu: NDArray[np.float64],
    sigma: NDArray[np.float64],
) -> NDArray[np.float64]:
    """P(bin) under each component, float64[bins, components], accurate in both tails."""
    from scipy.special import ndtr

    a, b = (log_lower - mu) / sigma, (log_upper - mu) / sigma
    upper_tail = a > 0
    left, right = np.where(upper_tail, -b, a), np.where(upper_tail, -a, b)
    mass: NDArray[np.float64] = ndtr(right) - ndtr(left)
    return mass


def _expectation(
    log_lower: NDArray[np.float64],
    log_upper: NDArray[np.float64],
    share: NDArray[np.float64],
    weights: NDArray[np.float64],
    mu: NDArray[np.float64],
    sigma: NDArray[np.float64],
) -> tuple[float, Parameters]:
    """Mean log-likelihood, and of each component sum of w, w E[z], w E[z^2] over its bins.

    w = the bin's share of the data x P(component | bin), z = (log X - mu) / sigma given the bin.
    """
    a, b = (log_lower - mu) / sigma, (log_upper - mu) / sigma
    mass = _masses(log_lower, log_upper, mu, sigma)
    likelihood = np.maximum(mass @ weights, 1e-300)
    # share x weight / likelihood; times the bin's mass this is the responsibility
    factor = (share / likelihood)[:, None] * weights
    density_a, density_b = _density(a), _density(b)
    zeroth = (factor * mass).sum(axis=0)
    first = (factor * (density_a - density_b)).sum(axis=0)
    edge = np.where(np.isinf(a), 0.0, a) * density_a - np.where(np.isinf(b), 0.0, b) * density_b
    second = (factor * (mass + edge)).sum(axis=0)
    return float(share @ np.log(likelihood)), (zeroth, first, second)


def _density(z: NDArray[np.float64]) -> NDArray[np.float64]:
    density: NDArray[np.float64] = np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
    return density


def _em_step(
    log_lower: NDArray[np.float64],
    log_upper: NDArray[np.float64],
    share: NDArray[np.float64],
    weights: NDArray[np.float64],
    mu: NDArray[np.float64],
    sigma: NDArray[np.float64],
) -> tuple[Parameters, float]:
    """One EM step, and the log-likelihood before it."""
    value, (zeroth, first, second) = _expectation(log_lower, log_upper, share, weights, mu, sigma)
    safe = np.maximum(zeroth, 1e-12)
    shift = first / safe
    variance = np.maximum(second / safe - shift**2, 1e-12)
    new_sigma = np.clip(sigma * np.sqrt(variance), SIGMA_MIN, SIGMA_MAX)
    return (safe / safe.sum(), mu + sigma * shift, new_sigma), value


def _polish(
    log_lower: NDArray[np.float64],
    log_upper: NDArray[np.float64],
    share: NDArray[np.float64],
    weights: NDArray[np.float64],
    mu: NDArray[np.float64],
    sigma: NDArray[np.float64],
) -> Parameters:
    """The maximum near a guess, by BFGS: EM creeps where components overlap.

    The gradient is that of the E step (Fisher's identity). Weights go in as logits, sigma as the
    logarithm of what it exceeds its least value by.
    """
    from scipy.optimize import minimize

    k = len(mu)

    def unpack(x: NDArray[np.float64]) -> Parameters:
        logits = x[:k] - x[:k].max()
        shares = np.exp(logits) / np.exp(logits).sum()
        return shares, x[k : 2 * k], SIGMA_MIN + np.exp(np.minimum(x[2 * k :], 2.0))

    def loss(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        shares, centre, width = unpack(x)
        value, (zeroth, first, second) = _expectation(
            log_lower, log_upper, share, shares, centre, width
        )
        by_width = (second - zeroth) * (width - SIGMA_MIN) / width
        return -value, -np.concatenate((zeroth - shares, first / width, by_width))

    excess = np.log(np.maximum(sigma - SIGMA_MIN, 1e-4))
    start = np.concatenate((np.log(weights), mu, excess))
    found = minimize(  # type: ignore[no-untyped-call]
        loss, start, jac=True, method="BFGS", options={"maxiter": 300, "gtol": 1e-7}
    )
    return unpack(found.x)
