"""Problems differ: the chance to solve one is Beta distributed around the mean accuracy.

A problem is a quantile of difficulty u in (0, 1): 0 is the easiest of the set, 1 the hardest. At
mean accuracy a and intraclass correlation rho its solve probability is

    p(u) = quantile at 1 - u of Beta(a (1 - rho) / rho, (1 - a) (1 - rho) / rho).

The mean over uniform u is a exactly, two attempts at one problem succeed or fail together with
correlation rho, and p rises with a for every u: Beta laws of one rho are ordered by their mean
(their likelihood ratio is monotone). So the hard problems stay hard under every model and budget,
and an attempt that succeeds goes on succeeding when accuracy rises.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, betainccinv

from simulator.rng import luck

Floats = NDArray[np.float64]

RHO_OF_EQUALS = 1e-9  # below this all problems count as equally hard


def beta_shapes(mean: ArrayLike, rho: float) -> tuple[Floats, Floats]:
    """Shapes of the Beta law of this mean and intraclass correlation, each as `mean`; rho > 0.

    Means of 0 and 1, which no Beta law has, are moved inside by 1e-12.
    """
    inside = np.clip(np.asarray(mean, dtype=np.float64), 1e-12, 1.0 - 1e-12)
    size = (1.0 - rho) / rho
    return inside * size, (1.0 - inside) * size


def solve_probability(mean: ArrayLike, rho: float, difficulty: ArrayLike) -> Floats:
    """P(an attempt at the problem is right), float64 in the shape of the arguments together.

    mean: mean accuracy over all problems, in [0, 1]. rho: in [0, 1); 0 makes all problems equal.
    difficulty: the problem's quantile u in (0, 1).
    """
    mean, u = np.asarray(mean, dtype=np.float64), np.asarray(difficulty, dtype=np.float64)
    if rho < RHO_OF_EQUALS:
        return np.broadcast_to(mean, np.broadcast_shapes(mean.shape, u.shape))
    p = betainccinv(*beta_shapes(mean, rho), u)
    return np.where(mean <= 0.0, 0.0, np.where(mean >= 1.0, 1.0, p))


def solves(
    mean: ArrayLike, rho: float, difficulty: ArrayLike, luck: ArrayLike
) -> NDArray[np.bool_]:
    """Whether attempts succeed: luck < `solve_probability`, bool in the shape of the arguments.

    `luck`: the attempt's uniform in (0, 1). Compares quantiles instead of inverting the law, three
    times faster. Monotone in `mean`: with the same luck a right attempt stays right.
    """
    mean, v = np.asarray(mean, dtype=np.float64), np.asarray(luck, dtype=np.float64)
    u = np.asarray(difficulty, dtype=np.float64)
    if rho < RHO_OF_EQUALS:
        return np.asarray((v < mean) & (u == u))
    # betainc, not betaincc of u itself: the latter takes six times as long.
    above = betainc(*beta_shapes(mean, rho), v) < 1.0 - u
    return np.asarray((above & (mean > 0.0)) | (mean >= 1.0))


def difficulty_quantile(
    difficulty: ArrayLike,
    law: tuple[float, float] | None = None,
    *,
    seed: int = 0,
    entity: str = "",
) -> Floats:
    """The quantile u of each query's problem, float64[n] in (0, 1), from the workload's difficulty.

    difficulty: float64[n] in [0, 1], as in a `RequestBatch`; NaN where unknown.
    law: shapes a, b of the Beta law the class drew its difficulties from. The quantile is the place
    in that law, so that a class as a whole has the accuracy its quality says. Without it the
    difficulty is the quantile itself, which is the same for the uniform law and right for traces.
    A query of unknown difficulty gets one by its row: (seed, stream "problem", entity, row).
    """
    values = np.asarray(difficulty, dtype=np.float64)
    u = values if law is None or law == (1.0, 1.0) else betainc(law[0], law[1], values)
    unknown = np.isnan(values)
    if unknown.any():
        u = np.where(unknown, luck(seed, "problem", entity, values.size).reshape(values.shape), u)
    return np.clip(u, 2.0**-53, 1.0 - 2.0**-53)
