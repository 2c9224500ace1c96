"""A number of a profile: its value, its unit and where it comes from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

# unit -> (dimension, factor to the SI unit the simulator works in)
UNITS: dict[str, tuple[str, float]] = {
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
    """How well a fitted number reproduces its data: mean and 95th percentile of |error|."""

    mape: float = Field(ge=0)
    p95: float = Field(ge=0)
    n: int = Field(gt=0)
    range: str = Field(min_length=1)


class Quantity(Part):
    """What `Scalar` and `Table` share: a unit, a source and, for a fitted number, its residual."""

    unit: str
    source: str = Field(min_length=1)
    fit: Fit | None = None


class Scalar(Quantity):
    """One number."""

    value: float

    @property
    def si(self) -> float:
        """The value in seconds, bytes, bytes/s, FLOP/s, watts, US dollars or as a plain ratio."""
        return self.value * UNITS[self.unit][1]


class Table(Quantity):
    """An array of numbers in one unit, nested as deep as it has axes."""

    value: list[Any]

    @property
    def si(self) -> NDArray[np.float64]:
        """The values as a float64 array, in the units of `Scalar.si`."""
        return np.asarray(self.value, dtype=np.float64) * UNITS[self.unit][1]


Q = TypeVar("Q", bound=Quantity)


def of(dimension: str, *, zero: bool = False) -> AfterValidator:
    """A pydantic validator: the unit has this dimension, and every value is above zero.

    `zero=True` also admits 0 (a time that may vanish).
    """

    def check(quantity: Q) -> Q:
        known = [unit for unit, (kind, _) in UNITS.items() if kind == dimension]
        if quantity.unit not in known:
            raise ValueError(f"unit {quantity.unit!r} is not a unit of {dimension}: use {known}")
        try:
            values = np.asarray(getattr(quantity, "value"), dtype=np.float64)  # noqa: B009
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
