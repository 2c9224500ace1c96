"""Tables over knots: the check of their shape, and interpolation linear in log of the knots."""

from __future__ import annotations

import itertools
from typing import Annotated, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

FloatArray = NDArray[np.float64]
Knots = Annotated[list[float], Field(min_length=2)]


class HasArray(Protocol):
    """A quantity of a profile that holds an array."""

    @property
    def si(self) -> FloatArray:
        """The array in SI units."""


def check_axes(table: HasArray, name: str, *axes: list[float]) -> None:
    """ValueError unless the knots ascend from above zero and `table` has one value per knot."""
    for axis in axes:
        if any(low >= high for low, high in itertools.pairwise(axis)) or axis[0] <= 0:
            raise ValueError(f"the knots of {name} must be positive and ascending, not {axis}")
    wanted = tuple(len(axis) for axis in axes)
    if table.si.shape != wanted:
        raise ValueError(f"{name} has shape {table.si.shape}, its knots ask for {wanted}")


def one(value: float) -> FloatArray:
    """`value` as an array of one element."""
    return np.array([float(value)])


def place(values: FloatArray, knots: list[float]) -> tuple[NDArray[np.intp], FloatArray]:
    """Index of the knot below each value, and how far (in log) it lies towards the next one.

    A value outside the knots counts as the nearest knot.
    """
    grid = np.log(np.array(knots))
    logs = np.log(np.clip(values, knots[0], knots[-1]))
    lower = np.clip(np.searchsorted(grid, logs, side="right") - 1, 0, len(knots) - 2)
    return lower, (logs - grid[lower]) / (grid[lower + 1] - grid[lower])


def interpolate(values: FloatArray, knots: list[float], table: FloatArray) -> FloatArray:
    """`table` at `values`: linear over log of the knots, held constant outside them."""
    result: FloatArray = np.interp(np.log(values), np.log(np.array(knots)), table)
    return result


def shares(value: float, knots: list[float]) -> FloatArray:
    """What each knot contributes at `value` when interpolated as `interpolate` does."""
    return np.array([interpolate(one(value), knots, knot)[0] for knot in np.eye(len(knots))])
