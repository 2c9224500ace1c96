"""A number of a profile: its value, its unit and where it comes from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

# unit -> (dimension, factor to the SI unit the simulator works in)
UNITS: dict[str, tuple[str, float]] = {
    "ns": ("time", 1e-9),
    "us": ("time", 1e-6),
    "ms": ("time", 1e-3),
    "s": ("time", 1.0),
    "B": ("bytes", 1.0),
    "KiB": ("bytes", 2.0**10),
    "MiB": ("bytes", 2.0**20),
    "GiB": ("bytes", 2.0**30),
    "GB/s": ("bandwidth", 1e9),
    "TB/s": ("bandwidth", 1e12),
    "TFLOP/s": ("compute", 1e12),
    "W": ("power", 1.0),
    "pJ/FLOP": ("energy per flop", 1e-12),
    "pJ/B": ("energy per byte", 1e-12),
    "USD/GPU-hour": ("price", 1.0),
    "GPUs": ("count", 1.0),
    "fraction": ("ratio", 1.0),
    "ratio": ("ratio", 1.0),
    "B/logit": ("bytes per logit", 1.0),
}


class Part(BaseModel):
    """Base of everything in a profile: immutable, no unknown keys, no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Fit(Part):
    """How well fitted numbers reproduce their data, and where that data lies.

    `mape` and `p95`: mean and 95th percentile of |predicted / measured - 1|; `bias`: mean of
    predicted / measured - 1; `n`: points. `range`: argument of the kernel's formula -> [smallest,
    largest] fitted value. `note`: how the residual was taken.
    """

    mape: float = Field(ge=0)
    p95: float = Field(ge=0)
    bias: float | None = None
    n: int = Field(gt=0)
    range: dict[str, tuple[float, float]] = Field(default_factory=dict)
    note: str = ""

    @field_validator("range")
    @classmethod
    def _ascending(cls, value: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        for name, (low, high) in value.items():
            if low > high:
                raise ValueError(f"the range of {name} must ascend, not [{low}, {high}]")
        return value

    def outside(self, **arguments: float) -> dict[str, tuple[float, float]]:
        """The ranges of those `arguments` that lie outside theirs; unlisted ones are not judged."""
        return {
            name: self.range[name]
            for name, value in arguments.items()
            if name in self.range and not self.range[name][0] <= value <= self.range[name][1]
        }


class Fitted(Part):
    """Base of a table whose numbers share one source and one fit."""

    source: str = Field(min_length=1)
    fit: Fit | None = None


class Number(Part):
    """One number of a `Fitted` table, which states the source."""

    value: float
    unit: str

    @property
    def si(self) -> float:
        """The value in seconds, bytes, bytes/s, FLOP/s, watts, US dollars or as a plain ratio."""
        return self.value * UNITS[self.unit][1]


class Array(Part):
    """Numbers of a `Fitted` table in one unit, nested as deep as they have axes."""

    unit: str
    value: list[Any]

    @property
    def si(self) -> NDArray[np.float64]:
        """The values as a float64 array, in the units of `Number.si`."""
        return np.asarray(self.value, dtype=np.float64) * UNITS[self.unit][1]


class Scalar(Number):
    """One number with a source of its own and, if it is fitted, its residual."""

    source: str = Field(min_length=1)
    fit: Fit | None = None


class Table(Array):
    """An array with a source of its own and, if it is fitted, its residual."""

    source: str = Field(min_length=1)
    fit: Fit | None = None


Q = TypeVar("Q", Number, Array)


def of(dimension: str, *, zero: bool = False) -> AfterValidator:
    """A pydantic validator: the unit has this dimension, and every value is above zero.

    `zero=True` also admits 0 (a time that may vanish).
    """

    def check(quantity: Q) -> Q:
        known = [unit for unit, (kind, _) in UNITS.items() if kind == dimension]
        if quantity.unit not in known:
            raise ValueError(f"unit {quantity.unit!r} is not a unit of {dimension}: use {known}")
        try:
            values = np.asarray(quantity.value, dtype=np.float64)
        except (TypeError, ValueError):
            raise ValueError("value must be numbers in a rectangular array") from None
        if (
            not np.all(np.isfinite(values))
            or np.any(values < 0)
            or (not zero and np.any(values == 0))
        ):
            raise ValueError(f"value must be {'zero or more' if zero else 'above zero'}")
        return quantity

    validator: Callable[[Q], Q] = check
    return AfterValidator(validator)
