"""Fit of the collectives: latency + bytes / bandwidth in up to three regimes of message size."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from hardware_profiles.calibration.operation import (
    Entry,
    Operation,
    checked,
    one_source,
    with_entry,
)
from hardware_profiles.calibration.writer import significant
from hardware_profiles.kernels.collectives import collective_s
from hardware_profiles.schema import GpuProfile

if TYPE_CHECKING:
    import pandas as pd

    from hardware_profiles.calibration.tables import Tables
    from hardware_profiles.kernels.interpolation import FloatArray

# vLLM's own all-reduce in a CUDA graph; all-gather is NCCL's.
ALL_REDUCE: dict[str, tuple[str, ...]] = {
    "h100-sxm": (
        "comm/vllm/0.31.0/custom_allreduce_perf",
        "comm/vllm/0.24.0/custom_allreduce_perf",
    ),
    "h200-sxm": (
        "comm/vllm/0.31.0/custom_allreduce_perf",
        "comm/vllm/0.24.0/custom_allreduce_perf",
    ),
    "b200-sxm": ("comm/vllm/0.24.0/custom_allreduce_perf",),
    "a100-sxm-80gb": ("comm/vllm/0.14.0/custom_allreduce_perf",),
}
ALL_GATHER: dict[str, tuple[str, ...]] = {
    "h100-sxm": ("comm/nccl/2.29.2/nccl_perf",),
    "h200-sxm": ("comm/nccl/2.29.2/nccl_perf",),
    "b200-sxm": ("comm/nccl/2.29.2/nccl_perf",),
    "a100-sxm-80gb": ("comm/nccl/2.27.3/nccl_perf",),
}
ELEMENT_BYTES = 2  # the tables count 16-bit elements
REGIMES = 3
LEAST_POINTS = 3  # in a regime
FASTEST = 2e12  # B/s: what a regime gets that is too short to show a bandwidth
GLITCH = 1.3  # a point this many times slower than a larger message is left out


def read_all_reduce(tables: Tables) -> pd.DataFrame | None:
    """vLLM's all-reduce, the rows replayed from a CUDA graph."""
    rows = tables.first(*ALL_REDUCE.get(tables.gpu, ()))
    return None if rows is None else _columns(rows[rows["backend"].str.endswith("graph")])


def read_all_gather(tables: Tables) -> pd.DataFrame | None:
    """NCCL's all-gather of 16-bit elements; bytes are those of the whole result."""
    rows = tables.first(*ALL_GATHER.get(tables.gpu, ()))
    if rows is None:
        return None
    return _columns(rows[(rows["op_name"] == "all_gather") & (rows["nccl_dtype"] == "half")])


def fit(operation: str, rows: pd.DataFrame, base: GpuProfile) -> list[Entry]:
    """One table per number of GPUs."""
    entries = []
    for size in sorted(set(rows["tp"].astype(int))):
        entry = _fit(operation, size, rows[rows["tp"] == size], base)
        if entry is not None:
            entries.append(entry)
    return entries


def check(operation: str, rows: pd.DataFrame, profile: GpuProfile) -> list[Entry]:
    """How far the profile's own times are from the rows, per number of GPUs."""
    entries = []
    for size in sorted(set(rows["tp"].astype(int))):
        part = rows[rows["tp"] == size]
        sizes = part["bytes"].to_numpy(dtype=np.float64)
        predicted_s = collective_s(operation, sizes, size, profile)
        entries.append(checked(operation, size, part, predicted_s, _shape_class(sizes)))
    return entries


def _shape_class(sizes: FloatArray) -> Any:
    return np.where(sizes <= 2**20, "bytes 0 to 1 MiB", "bytes above 1 MiB")


def _fit(operation: str, size: int, rows: pd.DataFrame, base: GpuProfile) -> Entry | None:
    rows = rows.sort_values("bytes", ignore_index=True)
    sizes = rows["bytes"].to_numpy(dtype=np.float64)
    seconds = rows["latency_ms"].to_numpy(dtype=np.float64) * 1e-3
    kept = ~_glitches(seconds)
    if kept.sum() < LEAST_POINTS:
        return None

    values = _regimes(sizes[kept], seconds[kept])
    profile = with_entry(base, operation, size, values)
    residuals = rows[["tp", "bytes"]].assign(
        measured_s=seconds,
        predicted_s=collective_s(operation, sizes, size, profile),
        shape_class=_shape_class(sizes),
        judged=kept,
    )
    stray = int((~kept).sum())
    return Entry(
        op=operation,
        key=size,
        values=values,
        source=f"{one_source(rows)}, {size} GPUs"
        + (f"; points left out as stray: {stray}" if stray else ""),
        residuals=residuals,
        range={"message_bytes": (sizes.min(), sizes.max())},
    )


def _regimes(sizes: FloatArray, seconds: FloatArray) -> dict[str, Any]:
    """The split into regimes whose fits have the least mean relative error."""
    count = len(sizes)
    pieces = {
        (i, j): _line(sizes[i:j], seconds[i:j])
        for i in range(count)
        for j in range(i + LEAST_POINTS, count + 1)
    }
    best: tuple[float, tuple[int, ...]] | None = None
    for regimes in range(1, REGIMES + 1):
        for cuts in itertools.combinations(range(LEAST_POINTS, count), regimes - 1):
            ends = (0, *cuts, count)
            spans = list(itertools.pairwise(ends))
            if any(span not in pieces for span in spans):
                continue
            error = sum(pieces[span].error for span in spans) / count
            # A further regime must earn its three numbers.
            if best is None or error < best[0] - 1e-9:
                best = (error, ends)
    assert best is not None
    lines = [pieces[span] for span in itertools.pairwise(best[1])]
    below = [
        significant(_border(float(sizes[end - 1]), float(sizes[end]), before, after) / 2**10, 6)
        for end, (before, after) in zip(best[1][1:-1], itertools.pairwise(lines), strict=True)
    ]
    latency = [significant(line.latency_s * 1e6) for line in lines]
    bandwidth = [significant(line.bandwidth / 1e9) for line in lines]
    return {
        "below": {"unit": "KiB", "value": below},
        "latency": {"unit": "us", "value": latency},
        "bandwidth": {"unit": "GB/s", "value": bandwidth},
    }


@dataclass(frozen=True)
class _Line:
    """latency + bytes / bandwidth; `error` is the sum of its relative errors."""

    error: float
    latency_s: float
    bandwidth: float

    def at(self, size: float) -> float:
        return self.latency_s + size / self.bandwidth


def _line(sizes: FloatArray, seconds: FloatArray) -> _Line:
    """Least squares of the relative error."""
    slope, latency = np.polynomial.polynomial.polyfit(sizes, seconds, 1, w=1.0 / seconds)[::-1]
    if latency < 0:
        relative = sizes / seconds
        latency, slope = 0.0, relative.sum() / np.sum(relative**2)
    elif slope < 1.0 / FASTEST:
        slope = 1.0 / FASTEST
        weights = 1.0 / seconds**2
        latency = np.sum(weights * (seconds - slope * sizes)) / weights.sum()
    errors = np.abs((latency + slope * sizes) / seconds - 1.0)
    return _Line(float(errors.sum()), float(latency), float(1.0 / slope))


def _border(last: float, following: float, before: _Line, after: _Line) -> float:
    """Where one regime ends between the last size measured in it and the next regime's first one.

    Libraries switch at round sizes, so at the latter; unless the earlier line is slower there by
    then: it ends where the lines cross, or in the middle if they don't.
    """
    if before.at(following) <= after.at(following):
        return following
    crossing = (after.latency_s - before.latency_s) / (1 / before.bandwidth - 1 / after.bandwidth)
    return crossing if last < crossing < following else math.sqrt(last * following)


def _glitches(seconds: FloatArray) -> Any:
    """Points far slower than some larger message, which no size explains."""
    later = np.minimum.accumulate(seconds[::-1])[::-1]
    return seconds > GLITCH * later


def _columns(rows: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        {
            "tp": rows["num_gpus"],
            "bytes": rows["message_size"] * ELEMENT_BYTES,
            "latency_ms": rows["latency"],
            "source": rows["source"],
        }
    )


ALL_REDUCE_OPERATION = Operation(
    "all_reduce", read_all_reduce, partial(fit, "all_reduce"), check=partial(check, "all_reduce")
)
ALL_GATHER_OPERATION = Operation("all_gather", read_all_gather, partial(fit, "all_gather"))
