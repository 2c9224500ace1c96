"""pass@k: the chance that at least one of k attempts is right (Chen et al., arXiv 2107.03374)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln, gammaln

from simulator.quality.heterogeneity import RHO_OF_EQUALS, beta_shapes

Floats = NDArray[np.float64]


def pass_at_k(k: ArrayLike, accuracy: ArrayLike, rho: float = 0.0) -> Floats:
    """Share of problems that some of `k` attempts solve, in the shape of the arguments together.

    1 - (1 - p)^k for equal problems, and its mean over the Beta law for rho > 0. ValueError for
    k < 1.
    """
    count = np.asarray(k, dtype=np.float64)
    if np.any(count < 1):
        raise ValueError("pass@k needs k of at least 1")
    mean = np.asarray(accuracy, dtype=np.float64)
    if rho < RHO_OF_EQUALS:
        return np.asarray(1.0 - (1.0 - mean) ** count)
    a, b = beta_shapes(mean, rho)
    return np.asarray(-np.expm1(betaln(a, b + count) - betaln(a, b)))


def pass_at_k_from_counts(correct: ArrayLike, total: ArrayLike, k: int) -> Floats:
    """Unbiased estimate of each problem's pass@k from `correct` of `total` attempts, total >= k.

    1 - C(total - correct, k) / C(total, k), equation 1 of Chen et al.; take the mean over problems.
    """
    right, n = np.asarray(correct, dtype=np.float64), np.asarray(total, dtype=np.float64)
    if k < 1 or np.any(n < k):
        raise ValueError(f"pass@{k} needs k of at least 1 and k attempts at every problem")
    wrong = n - right
    with np.errstate(invalid="ignore"):
        log_none = (gammaln(wrong + 1) - gammaln(wrong - k + 1)) - (
            gammaln(n + 1) - gammaln(n - k + 1)
        )
    return np.where(wrong < k, 1.0, -np.expm1(log_none))
