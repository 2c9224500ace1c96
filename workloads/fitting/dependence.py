"""How lengths depend on each other: rank correlations, and the Gaussian copula that has them."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

LARGEST = 0.99
"""No correlation of normal scores is written larger than this: 1 has no copula to draw from."""


def spearman(first: ArrayLike, second: ArrayLike) -> float:
    """Spearman's rank correlation of two columns, float64[n] each; 0 if one does not vary.

    Equal values share the mean of their ranks.
    """
    a, b = _midranks(np.asarray(first)), _midranks(np.asarray(second))
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else 0.0


def normal_score(rank_correlation: float) -> float:
    """The correlation of normal scores that gives this rank correlation: 2 sin(pi rho / 6).

    Exact for continuous laws under a Gaussian copula (Kruskal, 1958).
    """
    return 2.0 * float(np.sin(np.pi * rank_correlation / 6.0))


def correlations(columns: dict[str, NDArray[np.int64]]) -> dict[str, dict[str, float]]:
    """ "a_b" -> {"spearman", "normal_score"} of every pair of columns, in their order.

    The normal scores form a matrix that can be: where rounding or ties make it impossible, all of
    them are shrunk until it is.
    """
    names = list(columns)
    pairs = list(combinations(range(len(names)), 2))
    ranks = {pair: spearman(columns[names[pair[0]]], columns[names[pair[1]]]) for pair in pairs}
    matrix = np.eye(len(names))
    for (i, j), rho in ranks.items():
        matrix[i, j] = matrix[j, i] = np.clip(normal_score(rho), -LARGEST, LARGEST)
    matrix = possible(matrix)
    return {
        f"{names[i]}_{names[j]}": {"spearman": ranks[i, j], "normal_score": float(matrix[i, j])}
        for i, j in pairs
    }


def possible(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix, off-diagonals shrunk until its smallest eigenvalue is 0.001."""
    least = float(np.linalg.eigvalsh(matrix)[0])
    if least >= 1e-3:
        return matrix
    # eigenvalues of t M + (1 - t) I are 1 - t (1 - lambda)
    shrink = (1 - 1e-3) / (1 - least)
    return shrink * matrix + (1 - shrink) * np.eye(len(matrix))


def _midranks(values: NDArray[np.generic]) -> NDArray[np.float64]:
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: NDArray[np.float64] = (last - (counts - 1) / 2)[where]
    return ranks
