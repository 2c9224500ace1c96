"""How much problems differ, from how often each was solved: the Beta-binomial's correlation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import betaln

from simulator.errors import InputError

_LEAST, _MOST = 1e-4, 0.999  # where the likelihood is searched
_AT_BOUND = 1e-3


@dataclass(frozen=True)
class IntraclassFit:
    """rho by maximum likelihood; its standard error (nan at a bound), and rho by moments."""

    rho: float
    standard_error: float
    rho_by_moments: float
    problems: int


def fit_rho(groups: Sequence[tuple[ArrayLike, ArrayLike]]) -> IntraclassFit:
    """One rho for all groups, each (correct, total) attempts at every problem, whole numbers.

    A group is one model at one length: it has a mean of its own. Raises InputError where counts are
    impossible or no problem was tried twice, which tells nothing of rho.
    """
    counts = [_checked(correct, total) for correct, total in groups]
    if not any((total >= 2).sum() >= 2 for _, total in counts):
        raise InputError("rho needs at least two problems with two attempts each")

    def loss(rho: float) -> float:
        return sum(_loss_at_best_mean(correct, total, rho) for correct, total in counts)

    rho = _least(loss, _LEAST, _MOST)
    step = min(0.01, 0.5 * (rho - _LEAST), 0.5 * (_MOST - rho))
    error = math.nan
    if rho - _LEAST > _AT_BOUND and _MOST - rho > _AT_BOUND:
        curvature = (loss(rho + step) - 2.0 * loss(rho) + loss(rho - step)) / step**2
        error = 1.0 / math.sqrt(curvature) if curvature > 0 else math.nan
    elif rho - _LEAST <= _AT_BOUND:
        rho = 0.0
    return IntraclassFit(rho, error, _by_moments(counts), sum(len(c) for c, _ in counts))


Counts = tuple[NDArray[np.float64], NDArray[np.float64]]


def _checked(correct: ArrayLike, total: ArrayLike) -> Counts:
    right, n = np.broadcast_arrays(
        np.asarray(correct, dtype=np.float64), np.asarray(total, dtype=np.float64)
    )
    if right.ndim != 1 or np.any((n < 1) | (right < 0) | (right > n)):
        raise InputError("correct must be from 0 to total, and total at least 1")
    return right, n


def _loss_at_best_mean(
    correct: NDArray[np.float64], total: NDArray[np.float64], rho: float
) -> float:
    """Minus the log likelihood of one group at rho and the mean that suits it best."""

    def loss(mean: float) -> float:
        size = (1.0 - rho) / rho
        a, b = mean * size, (1.0 - mean) * size
        return -float((betaln(a + correct, b + total - correct) - betaln(a, b)).sum())

    return loss(_least(loss, 1e-6, 1.0 - 1e-6))


def _least(loss: Callable[[float], float], low: float, high: float) -> float:
    """Where `loss` is least between the bounds."""
    options = {"xatol": 1e-7}
    found = minimize_scalar(  # type: ignore[no-untyped-call]
        loss, bounds=(low, high), method="bounded", options=options
    )
    return float(found.x)


def _by_moments(groups: list[Counts]) -> float:
    """The analysis-of-variance estimate (Ridout et al., Biometrics 1999), mean over the groups."""
    found, weights = [], []
    for correct, total in groups:
        k, attempts = len(total), total.sum()
        if k < 2 or attempts <= k:
            continue
        mean = correct.sum() / attempts
        within = (correct * (1.0 - correct / total)).sum() / (attempts - k)
        between = (total * (correct / total - mean) ** 2).sum() / (k - 1)
        usual = (attempts - (total**2).sum() / attempts) / (k - 1)
        if between + (usual - 1.0) * within > 0:
            found.append((between - within) / (between + (usual - 1.0) * within))
            weights.append(k)
    return float(np.average(found, weights=weights)) if found else math.nan
