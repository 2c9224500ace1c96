"""Least squares of log(time) on log-linear interpolation between knots, and cross-validation."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from numpy.typing import NDArray

from hardware_profiles.kernels.interpolation import FloatArray, place

sparse: Any = scipy.sparse  # SciPy comes without type hints
Matrix = Any
FOLDS = 5
RIDGE = 1e-6  # holds what no measurement and no neighbour does


@dataclass(frozen=True)
class Grid:
    """Values on a grid of knots, one list of knots per axis."""

    knots: tuple[tuple[float, ...], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """How many knots each axis has."""
        return tuple(len(axis) for axis in self.knots)

    def weights(self, *values: FloatArray) -> Matrix:
        """[points, knots]: the share of each knot in the interpolated value of each point."""
        points = len(values[0])
        total = sparse.csr_matrix((points, int(np.prod(self.shape))))
        places = [place(value, list(axis)) for value, axis in zip(values, self.knots, strict=True)]
        rows = np.arange(points)
        for corner in itertools.product((0, 1), repeat=len(places)):
            share = np.ones(points)
            index = np.zeros(points, dtype=np.int64)
            for (lower, fraction), side, size in zip(places, corner, self.shape, strict=True):
                share = share * (fraction if side else 1.0 - fraction)
                index = index * size + lower + side
            total = total + sparse.csr_matrix((share, (rows, index)), shape=total.shape)
        return total

    def roughness(self, weight: float) -> Matrix:
        """Rows whose squares penalise second differences along each axis.

        They decide only where measurements are few.
        """
        parts = [sparse.csr_matrix((0, int(np.prod(self.shape))))]
        for axis, size in enumerate(self.shape):
            if size < 3:
                continue
            ones = np.ones(size - 2)
            second = sparse.diags([ones, -2.0 * ones, ones], [0, 1, 2], shape=(size - 2, size))
            matrix = sparse.identity(1)
            for other, count in enumerate(self.shape):
                matrix = sparse.kron(matrix, second if other == axis else sparse.identity(count))
            parts.append(weight * matrix)
        return sparse.vstack(parts).tocsr()


def supported(knots: Sequence[float], values: NDArray[np.float64]) -> tuple[float, ...]:
    """Those `knots` at which something was measured, between the least and the largest value."""
    measured = np.unique(values)
    low, high = float(measured[0]), float(measured[-1])
    kept = {float(knot) for knot in knots if low < knot < high and knot in measured}
    axis = sorted({low, high, *kept})
    return tuple(axis) if len(axis) > 1 else (low, 2.0 * low)


def solve(design: Matrix, target: FloatArray, penalty: Matrix) -> FloatArray:
    """The coefficients that minimise |design x - target|^2 + |penalty x|^2."""
    normal = design.T @ design + penalty.T @ penalty
    normal = normal + RIDGE * sparse.identity(design.shape[1])
    result: FloatArray = sparse.linalg.spsolve(normal.tocsc(), design.T @ target)
    return result


def fold_of(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """A fold (0 to 4) per point, the same for all points of a group; groups are spread evenly."""
    count = int(groups.max()) + 1
    folds: NDArray[np.int64] = np.random.default_rng(0).permutation(count)[groups] % FOLDS
    return folds


def cross_validate(
    folds: NDArray[np.int64], predict: Callable[[NDArray[np.bool_], NDArray[np.bool_]], FloatArray]
) -> FloatArray:
    """Each point as predicted by the fit to the other folds: `predict(fitted, wanted)`."""
    predicted = np.empty(len(folds))
    for fold in range(FOLDS):
        wanted = folds == fold
        if wanted.any():
            predicted[wanted] = predict(~wanted, wanted)
    return predicted
