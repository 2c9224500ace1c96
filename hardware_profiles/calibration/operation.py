"""What the calibration of one operation provides: reading its measurements, and fitting them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hardware_profiles.calibration.writer import significant
from hardware_profiles.schema import GpuProfile

if TYPE_CHECKING:
    import pandas as pd

    from hardware_profiles.calibration.tables import Tables
    from hardware_profiles.kernels.interpolation import FloatArray


@dataclass(frozen=True)
class Entry:
    """One fitted table of a profile, `kernels.<op>.<key>` (`kernels.<op>` where `key` is None).

    `values` are the table's fields without `source` and `fit`. `residuals` has one row per point:
    `measured_s`, `predicted_s` (as the table, rounded as written, or a cross-validation predicts
    it), `shape_class` (text), and `judged`, whether the point counts in the profile's `fit`.
    `range` and `note` go into `fit` as they are.
    """

    op: str
    key: str | int | None
    values: Mapping[str, Any]
    source: str
    residuals: pd.DataFrame
    range: Mapping[str, tuple[float, float]]
    note: str = ""

    @property
    def name(self) -> str:
        """`gemm bf16`, as the residual table calls it."""
        return self.op if self.key is None else f"{self.op} {self.key}"

    def fit(self) -> dict[str, Any]:
        """The `fit` record of the profile, over the judged points."""
        rows = self.residuals[self.residuals["judged"]]
        errors = rows["predicted_s"].to_numpy() / rows["measured_s"].to_numpy() - 1.0
        record: dict[str, Any] = {
            "mape": round(float(np.mean(np.abs(errors))), 4),
            "p95": round(float(np.quantile(np.abs(errors), 0.95)), 4),
            "bias": round(float(np.mean(errors)), 4),
            "n": len(rows),
            "range": {
                name: [significant(float(low), 10), significant(float(high), 10)]
                for name, (low, high) in self.range.items()
            },
        }
        return record | ({"note": self.note} if self.note else {})

    def table(self) -> dict[str, Any]:
        """The profile's entry: source, fit, then the values."""
        return {"source": self.source, "fit": self.fit(), **self.values}


@dataclass(frozen=True)
class Operation:
    """How one operation is calibrated.

    `read(tables)` takes the public tables of one GPU to a frame in the columns of
    `hardware_profiles.measuring.table.Measurement` (those that apply; further ones are allowed),
    latencies in `latency_ms`, and a text column `source` for the profile; None where there is no
    table. A user's own CSV gives the same columns, so `fit(rows, base)` serves both. `base` is a
    complete profile: its data sheet is the GPU's, its kernels are being replaced. `measured_as` is
    the CSV's `op` where it is not `name`. `check(rows, profile)`, if there is one, gives the
    residuals of a profile as it is on a CSV's rows, as entries without values.
    """

    name: str
    read: Callable[[Tables], pd.DataFrame | None]
    fit: Callable[[pd.DataFrame, GpuProfile], list[Entry]]
    measured_as: str = ""
    check: Callable[[pd.DataFrame, GpuProfile], list[Entry]] | None = None


def checked(
    op: str, key: str | int, rows: pd.DataFrame, predicted_s: FloatArray, shape_class: Any
) -> Entry:
    """An entry that says how far `predicted_s` is from `rows`, all of them judged."""
    residuals = rows[[]].assign(
        measured_s=rows["latency_ms"].to_numpy(dtype=np.float64) * 1e-3,
        predicted_s=predicted_s,
        shape_class=shape_class,
        judged=True,
    )
    return Entry(op, key, {}, one_source(rows), residuals, {})


def one_source(rows: pd.DataFrame) -> str:
    """The `source` of a fit to `rows`."""
    return "fit to " + "; ".join(dict.fromkeys(rows["source"]))


def with_entry(
    base: GpuProfile, op: str, key: str | int | None, values: Mapping[str, Any]
) -> GpuProfile:
    """`base` with `kernels.<op>.<key>` replaced, to predict with the formula of the operation."""
    data = base.model_dump(by_alias=True, exclude_none=True)
    table = {"source": "being fitted", **values}
    if key is None:
        data["kernels"][op] = table
    else:
        data["kernels"].setdefault(op, {})[key] = table
    return GpuProfile.model_validate(data)
