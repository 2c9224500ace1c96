"""Fit of the memory-bound kernels from copies measured on the GPU itself.

The public packages have no table of them; the committed profiles say where theirs come from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hardware_profiles.calibration.operation import Entry, Operation, one_source, with_entry
from hardware_profiles.calibration.writer import significant
from hardware_profiles.kernels.elementwise import elementwise_s
from hardware_profiles.schema import GpuProfile

if TYPE_CHECKING:
    import pandas as pd

    from hardware_profiles.calibration.tables import Tables

LEAST_BYTES = 2**22  # smaller copies show launches and the L2 cache
LARGEST_BYTES = 2**28  # larger ones show address translation


def read(tables: Tables) -> pd.DataFrame | None:
    """None: there is no public table."""
    return None


def fit(rows: pd.DataFrame, base: GpuProfile) -> list[Entry]:
    """The share of bandwidth that copies of 4 to 256 MiB reach beyond the launch time of `base`.

    A copy of B bytes moves 2 B. Its own launch is that of a copy engine or of an empty kernel, so
    a norm's or an activation's launch cannot be learnt from it.
    """
    rows = rows[(rows["bytes"] >= LEAST_BYTES) & (rows["bytes"] <= LARGEST_BYTES)]
    if rows.empty:
        return []
    moved = 2.0 * rows["bytes"].to_numpy(dtype=np.float64)
    seconds = rows["latency_ms"].to_numpy(dtype=np.float64) * 1e-3
    launch = base.kernels.elementwise.launch
    reached = moved / (np.maximum(seconds - launch.si, 1e-9) * base.hardware.memory_bandwidth.si)
    values = {
        "launch": {"value": launch.value, "unit": launch.unit},
        "efficiency": {"value": significant(float(np.median(reached)), 3), "unit": "fraction"},
    }
    profile = with_entry(base, "elementwise", None, values)
    residuals = rows[["bytes"]].assign(
        measured_s=seconds,
        predicted_s=elementwise_s(moved, 1, profile),
        shape_class="copies of 4 to 256 MiB",
        judged=True,
    )
    return [
        Entry(
            op="elementwise",
            key=None,
            values=values,
            source=f"{one_source(rows)}, copies within the GPU; launch from {base.name}",
            residuals=residuals,
            range={"bytes_moved": (moved.min(), moved.max())},
        )
    ]


OPERATION = Operation("elementwise", read, fit, measured_as="copy_d2d")
