"""Best of n by a verifier's word: exact odds, for any n and any set of problems.

As in `simulator.quality.voting`, every figure is a sum over x, the number of right attempts, of
P(x) times the odds at x.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_ndtr, ndtr

from simulator.quality.voting import NOBODY, right_pmf

Floats = NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(400)


def best_odds(n: int, d_prime: float, lured_share: float = 0.0) -> Floats:
    """P(the best scored is right | x of n are right), float64[n + 1], for normal scores.

    Right attempts score N(d_prime, 1), wrong ones N(0, 1), except for a part `lured_share` of the
    wrong ones that scores like right ones. By order statistics: the integral over the score z of
    x phi(z - d) Phi(z - d)^(x-1) W(z)^(n-x), W the law of wrong scores. ValueError if n < 1.
    """
    if n < 1:
        raise ValueError(f"best of n needs at least one attempt, not {n}")
    low, high = min(0.0, d_prime) - 9.0, max(0.0, d_prime) + 9.0
    z = 0.5 * (high + low) + 0.5 * (high - low) * _NODES
    log_right = log_ndtr(z - d_prime)
    with np.errstate(divide="ignore"):
        log_wrong = np.log((1.0 - lured_share) * ndtr(z) + lured_share * ndtr(z - d_prime))
    density = np.exp(-0.5 * (z - d_prime) ** 2) / np.sqrt(2.0 * np.pi)
    x = np.arange(1, n + 1)[:, None]
    others = (x - 1) * log_right + np.where(x < n, (n - x) * log_wrong, 0.0)
    odds = 0.5 * (high - low) * (x * density * np.exp(others)) @ _WEIGHTS
    return np.concatenate([[0.0], np.minimum(odds, 1.0)])


def accepted_odds(n: int, sensitivity: float, specificity: float) -> Floats:
    """P(a random one of the accepted is right | x of n are right), float64[n + 1].

    A right attempt is accepted with probability `sensitivity`, a wrong one with 1 - `specificity`;
    if none is accepted, a random one of all is taken. ValueError if n < 1.
    """
    if n < 1:
        raise ValueError(f"best of n needs at least one attempt, not {n}")
    odds = np.zeros(n + 1)
    for x in range(1, n + 1):
        right = right_pmf(x, sensitivity)
        wrong = right_pmf(n - x, 1.0 - specificity) if x < n else np.ones(1)
        i, j = np.arange(x + 1)[:, None], np.arange(n - x + 1)[None, :]
        with np.errstate(invalid="ignore"):
            share = np.where(i + j > 0, i / (i + j), x / n)
        odds[x] = right @ share @ wrong
    return odds


def selected_accuracy(odds: Floats, accuracy: ArrayLike, rho: float = 0.0) -> Floats:
    """Accuracy of a selection with `odds` float64[n + 1], for mean accuracies [...] of attempts."""
    return np.asarray(right_pmf(len(odds) - 1, accuracy, rho) @ odds)


def best_scored(answers: ArrayLike, scores: ArrayLike) -> NDArray[np.int64]:
    """The answer of the highest score, int64[q], of answers int64[q, n] and scores float64[q, n].

    NOBODY is never chosen, unless there is nobody else.
    """
    given = np.asarray(answers, dtype=np.int64)
    score = np.where(given == NOBODY, -np.inf, np.asarray(scores, dtype=np.float64))
    return np.asarray(given[np.arange(len(given)), np.argmax(score, axis=1)])


def fit_d_prime(target: float, n: int, accuracy: float, rho: float, lured_share: float) -> float:
    """The d' whose best of n has accuracy `target`; inf where none is that good, 0 that bad."""
    from scipy.optimize import brentq

    def miss(d_prime: float) -> float:
        return float(selected_accuracy(best_odds(n, d_prime, lured_share), accuracy, rho)) - target

    if miss(0.0) >= 0.0:
        return 0.0
    return float(brentq(miss, 0.0, 12.0, xtol=1e-6)) if miss(12.0) > 0.0 else math.inf  # type: ignore[no-untyped-call]
