"""Fits of times that are sums: non-negative coefficients over knots, relative errors."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from hardware_profiles.calibration.least_squares import cross_validate, fold_of
from hardware_profiles.kernels.interpolation import FloatArray, shares

optimize: Any = scipy.optimize  # SciPy comes without type hints
ROUNDS = 5  # of reweighting: squares become absolute errors
LEAST_ERROR = 0.02  # relative errors below it weigh the same
SMOOTHING = 0.02


def hat(values: FloatArray, knots: Sequence[float]) -> FloatArray:
    """[points, knots]: the share of each knot in the value interpolated at each point."""
    found, place = np.unique(values, return_inverse=True)
    rows = np.array([shares(float(value), list(knots)) for value in found])
    weights: FloatArray = rows[place]
    return weights


def spread(*weights: FloatArray) -> FloatArray:
    """[points, knots of all axes]: the products of the shares along several axes."""

    def product(left: FloatArray, right: FloatArray) -> FloatArray:
        return (left[:, :, None] * right[:, None, :]).reshape(len(left), -1)

    return reduce(product, weights)


@dataclass(frozen=True)
class Term:
    """A term of the time: `design` [points, knots] times coefficients on a grid of `shape`.

    `scale` is the typical size of a coefficient, which makes smoothing alike for all terms.
    """

    design: FloatArray
    shape: tuple[int, ...]
    scale: float = 1.0


def fit_terms(
    terms: Sequence[Term],
    seconds: FloatArray,
    smoothing: float = SMOOTHING,
    prior: Sequence[FloatArray] | None = None,
    offset: FloatArray | None = None,
) -> list[FloatArray]:
    """Coefficients of each term, on its grid, whose sum predicts `seconds`.

    None is negative, and the sum of relative errors is least, but for a small penalty on
    differences between neighbouring knots, which decides where measurements do not. `prior` are
    the coefficients of a similar kernel: then the difference to them is what is kept smooth.
    `offset` are seconds of each point that are known already.
    """
    scale = np.concatenate([np.full(term.design.shape[1], term.scale) for term in terms])
    design = np.hstack([term.design for term in terms]) * scale / seconds[:, None]
    penalty = smoothing * np.sqrt(len(seconds) / len(scale)) * _differences(terms)
    expected = np.zeros(len(scale))
    if prior is not None:
        expected = np.concatenate([part.ravel() for part in prior]) / scale
    left = np.ones(len(seconds)) if offset is None else 1.0 - offset / seconds
    weights = np.ones(len(seconds))
    for _ in range(ROUNDS):
        matrix = np.vstack([design * weights[:, None], penalty])
        target = np.concatenate([weights * left, penalty @ expected])
        # The normal equations have the same solution, and their size does not grow with points.
        factor = np.linalg.cholesky(matrix.T @ matrix + 1e-9 * np.eye(len(scale)))
        right = np.linalg.solve(factor, matrix.T @ target)
        found, _ = optimize.nnls(factor.T, right, maxiter=100 * len(scale))
        error = np.abs(design @ found - left)
        weights = 1.0 / np.sqrt(np.maximum(error, LEAST_ERROR))
    ends = np.cumsum([term.design.shape[1] for term in terms])
    parts = np.split(found * scale, ends[:-1])
    return [part.reshape(term.shape) for part, term in zip(parts, terms, strict=True)]


def predict(terms: Sequence[Term], coefficients: Sequence[FloatArray]) -> FloatArray:
    """Seconds of every point."""
    total: FloatArray = np.sum(
        [term.design @ part.ravel() for term, part in zip(terms, coefficients, strict=True)],
        axis=0,
    )
    return total


def held_out(
    terms: Sequence[Term],
    seconds: FloatArray,
    groups: FloatArray,
    prior: Sequence[FloatArray] | None = None,
    smoothing: float = SMOOTHING,
    offset: FloatArray | None = None,
) -> FloatArray | None:
    """Seconds of every point from a fit without its group, in five folds; None below five groups.

    `groups` [points, columns]: points that agree in every column belong together.
    """
    found, group = np.unique(groups, axis=0, return_inverse=True)
    if len(found) < 5:
        return None

    def part(chosen: NDArray[np.bool_]) -> list[Term]:
        return [Term(term.design[chosen], term.shape, term.scale) for term in terms]

    known = np.zeros(len(seconds)) if offset is None else offset

    def without(fitted: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> FloatArray:
        rest = fit_terms(part(fitted), seconds[fitted], smoothing, prior, known[fitted])
        return known[wanted] + predict(part(wanted), rest)

    return cross_validate(fold_of(group.ravel()), without)


def _differences(terms: Sequence[Term]) -> FloatArray:
    """One row per pair of neighbouring knots of a term."""
    total = sum(term.design.shape[1] for term in terms)
    rows = []
    start = 0
    for term in terms:
        index = np.arange(start, start + term.design.shape[1]).reshape(term.shape)
        start += term.design.shape[1]
        for axis in range(index.ndim):
            for low, high in itertools.pairwise(np.moveaxis(index, axis, 0)):
                for i, j in zip(low.ravel(), high.ravel(), strict=True):
                    row = np.zeros(total)
                    row[i], row[j] = 1.0, -1.0
                    rows.append(row)
    return np.array(rows).reshape(-1, total)
