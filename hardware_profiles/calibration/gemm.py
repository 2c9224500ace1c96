"""Fit of the matrix products: efficiency against the roofline over knots of (m, n, k)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from hardware_profiles.calibration.least_squares import (
    Grid,
    cross_validate,
    fold_of,
    solve,
    sparse,
    supported,
)
from hardware_profiles.calibration.operation import Entry, Operation, checked, one_source
from hardware_profiles.calibration.writer import significant
from hardware_profiles.dtypes import BYTES, Dtype
from hardware_profiles.kernels.gemm import gemm_roofline_s, gemm_s
from hardware_profiles.schema import GpuProfile
from simulator.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from hardware_profiles.calibration.tables import Tables
    from hardware_profiles.kernels.interpolation import FloatArray

# Per GPU: (table, what it calls the dtype, ours), the first that is installed for each dtype.
# fp8_block of vllm/0.24.0 was timed launch by launch, not in a CUDA graph, and is not used.
HOPPER = (
    ("gemm/vllm/0.31.0/gemm_perf", "bfloat16", "bf16"),
    ("gemm/vllm/0.31.0/gemm_perf", "fp8", "fp8"),
    ("gemm/vllm/0.31.0/gemm_perf", "fp8_block", "fp8_block"),
    ("gemm/vllm/0.24.0/gemm_perf", "bfloat16", "bf16"),
    ("gemm/vllm/0.24.0/gemm_perf", "fp8", "fp8"),
)
TABLES: dict[str, tuple[tuple[str, str, str], ...]] = {
    "h100-sxm": HOPPER,
    "h200-sxm": HOPPER,
    "b200-sxm": (
        ("gemm/vllm/0.25.0/gemm_perf", "bfloat16", "bf16"),
        ("gemm/vllm/0.25.0/gemm_perf", "fp8", "fp8"),
        ("gemm/vllm/0.25.0/gemm_perf", "fp8_block", "fp8_block"),
        ("gemm/vllm/0.25.0/gemm_perf", "nvfp4", "nvfp4"),
        ("gemm/vllm/0.24.0/gemm_perf", "bfloat16", "bf16"),
        ("gemm/vllm/0.24.0/gemm_perf", "fp8", "fp8"),
        ("gemm/vllm/0.24.0/gemm_perf", "nvfp4", "nvfp4"),
    ),
    "a100-sxm-80gb": (
        ("gemm/vllm/0.14.0/gemm_perf", "bfloat16", "bf16"),
        ("gemm/trtllm/1.0.0/gemm_perf", "int4_wo", "int4"),
    ),
}

SMALLEST = 128  # n and k below it are of no layer that is modelled
LARGEST_M = 16384
PADDED_M = 512
JUDGED_M, JUDGED_NK = 8192, 1024
SMOOTHING = 0.3
# Kernels change at m = 65; the changes at 129 and 257 belong to partial tiles (`Ragged`).
M = (1, 16, 64, 65, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
WIDTHS = (128, 256, 512, 1024, 2048, 4096, 8192, 16384, 65536)
# Where only every few hundredth m was measured, tiles and waves show along m and n themselves.
SPARSE_M = (1, 16, 32, 64, 96, 128, 160, 192, 256, 384, 512, 768, 1024, 2048, 4096, 8192)
SPARSE_N = (128, 256, 512, 1024, 1536, 2048, 2560, 3072, 3584, 4096, 5120, 6144, 7168, 8192, 10240,
            12288, 16384, 65536)  # fmt: skip
SPARSE_K = (128, 512, 1024, 4096, 16384, 65536)
TILE, TILE_ABOVE = 256, 128
RAGGED_M = (129, 225, 257, 513, 1025, 2049, 4353)
RAGGED_WIDTHS = (512, 1024, 4096, 16384, 65536)
# The best tenth of all products comes close to the roofline, and never far beyond it.
LEAST_PLAUSIBLE, MOST_PLAUSIBLE = 0.05, 2.0


def read(tables: Tables) -> pd.DataFrame | None:
    """The GEMM tables of this GPU, in the columns of a measurement."""
    import pandas as pd

    parts = []
    found: set[str] = set()
    for table, theirs, ours in TABLES.get(tables.gpu, ()):
        if ours in found or not tables.has(table):
            continue
        rows = tables.read(table)
        rows = rows[rows["gemm_dtype"] == theirs]
        found.add(ours)
        parts.append(
            pd.DataFrame(
                {
                    "dtype": ours,
                    "m": rows["m"],
                    "n": rows["n"],
                    "k": rows["k"],
                    "latency_ms": rows["latency"],
                    "source": rows["source"] + f", {theirs}",
                }
            )
        )
    return pd.concat(parts, ignore_index=True) if parts else None


def fit(rows: pd.DataFrame, base: GpuProfile) -> list[Entry]:
    """One table per dtype measured. InputError where a dtype has too few shapes to fit."""
    known = rows[rows["dtype"].isin(list(BYTES))]
    return [_fit(part, str(dtype), base) for dtype, part in known.groupby("dtype", sort=False)]


def check(rows: pd.DataFrame, profile: GpuProfile) -> list[Entry]:
    """How far the profile's own times are from the rows, per dtype."""
    entries = []
    for dtype in get_args(Dtype):
        if dtype not in set(rows["dtype"]):
            continue
        part = rows[rows["dtype"] == dtype].reset_index(drop=True)
        m, n, k = (part[name].to_numpy(dtype=np.float64) for name in ("m", "n", "k"))
        predicted_s = np.empty(len(part))
        for shape in sorted(set(zip(n, k, strict=True))):
            here = (n == shape[0]) & (k == shape[1])
            predicted_s[here] = gemm_s(m[here], int(shape[0]), int(shape[1]), dtype, profile)
        classes = [_shape_class(*point) for point in zip(m, n, k, strict=True)]
        entries.append(checked("gemm", dtype, part, predicted_s, classes))
    return entries


def _fit(measured: pd.DataFrame, dtype: str, base: GpuProfile) -> Entry:
    rows = _usable(measured, dtype)
    shapes = np.asarray(rows.groupby(["n", "k"]).ngroup(), dtype=np.int64)
    if len(rows) < 20 or len(np.unique(shapes)) < 5:
        raise InputError(
            f"gemm {dtype}: {len(rows)} measurements of {len(np.unique(shapes))} shapes (m, n, k)"
            " are too few to fit; measure 5 shapes and 20 points at least"
        )
    m, n, k = (rows[name].to_numpy(dtype=np.float64) for name in ("m", "n", "k"))
    seconds = rows["latency_ms"].to_numpy(dtype=np.float64) * 1e-3
    roofline = gemm_roofline_s(m, n, k, dtype, base.hardware)  # type: ignore[arg-type]
    slowness = np.log(seconds / roofline)
    reached = float(np.exp(-np.quantile(slowness, 0.1)))
    if not LEAST_PLAUSIBLE < reached < MOST_PLAUSIBLE:
        raise InputError(
            f"gemm {dtype}: the fastest measurements reach {reached:.3g} of what the hardware can;"
            " is latency_ms in milliseconds, and is this the GPU of --base?"
        )

    ragged = bool(np.any((m > TILE_ABOVE) & (m % TILE == 1)))
    axes = (M, WIDTHS, WIDTHS) if ragged else (SPARSE_M, SPARSE_N, SPARSE_K)
    grid = Grid(tuple(supported(axis, x) for axis, x in zip(axes, (m, n, k), strict=True)))
    designs, penalties = [grid.weights(m, n, k)], [grid.roughness(SMOOTHING)]
    share = np.where(m > TILE_ABOVE, (np.ceil(m / TILE) * TILE - m) / (TILE - 1), 0.0)
    partial = share > 0
    slow_grid = None
    if ragged:
        slow_grid = Grid(
            tuple(
                supported(axis, x[partial])
                for axis, x in zip((RAGGED_M, RAGGED_WIDTHS, RAGGED_WIDTHS), (m, n, k), strict=True)
            )
        )
        designs.append(sparse.diags(share) @ slow_grid.weights(m, n, k))
        penalties.append(slow_grid.roughness(SMOOTHING))
    design = sparse.hstack(designs).tocsr()
    penalty = sparse.block_diag(penalties).tocsr()

    def predict(fitted: Any, wanted: Any) -> FloatArray:
        result: FloatArray = roofline[wanted] * np.exp(design[wanted] @ coefficients(fitted))
        return result

    def coefficients(fitted: Any) -> FloatArray:
        found = solve(design[fitted], slowness[fitted], penalty)
        # Nothing beats the roofline; only knots beyond the measurements would claim to.
        found[:size] = np.maximum(found[:size], 0.0)
        return found

    size = int(np.prod(grid.shape))
    found = coefficients(slice(None))
    values: dict[str, Any] = _table(grid, np.exp(-found[:size]), "efficiency", "fraction")
    if slow_grid is not None:
        values["ragged"] = {
            "tile": TILE,
            "above": TILE_ABOVE,
            **_table(slow_grid, np.exp(found[size:]), "slowdown", "ratio"),
        }
    residuals = rows[["m", "n", "k"]].assign(
        measured_s=seconds,
        predicted_s=cross_validate(fold_of(shapes), predict),
        shape_class=[_shape_class(*shape) for shape in zip(m, n, k, strict=True)],
        judged=(n >= JUDGED_NK) & (k >= JUDGED_NK) & (m <= JUDGED_M),
    )
    return Entry(
        op="gemm",
        key=dtype,
        values=values,
        source=one_source(rows),
        residuals=residuals,
        range={name: (x.min(), x.max()) for name, x in (("m", m), ("n", n), ("k", k))},
        note=f"n, k >= {JUDGED_NK}, m <= {JUDGED_M}; 5-fold cross-validation grouped by (n, k)",
    )


def _usable(measured: pd.DataFrame, dtype: str) -> pd.DataFrame:
    """The rows to fit, the fastest kernel where a shape was measured with several.

    Blocks of fp8 scales are 128 wide: other widths run on a slower kernel of their own. So does m
    that is no multiple of 4; up to 512 tokens engines pad m further than that (CUDA graphs).
    """
    rows = measured[
        (measured["m"] <= LARGEST_M) & (measured["n"] >= SMALLEST) & (measured["k"] >= SMALLEST)
    ]
    if dtype == "fp8_block":
        rows = rows[(rows["n"] % 128 == 0) & (rows["k"] % 128 == 0)]
        rows = rows[(rows["m"] % 4 == 0) | (rows["m"] <= 2) | (rows["m"] > PADDED_M)]
    fastest = rows.groupby(["m", "n", "k"], as_index=False).agg(
        {"latency_ms": "min", "source": "first"}
    )
    return fastest.sort_values(["m", "n", "k"], ignore_index=True)


def _table(grid: Grid, values: FloatArray, name: str, unit: str) -> dict[str, Any]:
    rounded = [significant(float(value), 3) for value in values]
    m, n, k = ([int(knot) for knot in axis] for axis in grid.knots)
    return {
        "m": m,
        "n": n,
        "k": k,
        name: {"unit": unit, "value": np.array(rounded).reshape(grid.shape).tolist()},
    }


def _shape_class(m: float, n: float, k: float) -> str:
    if min(n, k) < JUDGED_NK:
        return f"n or k below {JUDGED_NK}"
    if m > JUDGED_M:
        return f"m above {JUDGED_M}"
    if m > 512:
        return f"m 513 to {JUDGED_M}, {'full tiles' if m % TILE == 0 else 'partial tile'}"
    return "m 1 to 64" if m <= 64 else "m 65 to 256" if m <= 256 else "m 257 to 512"


OPERATION = Operation("gemm", read, fit, check=check)
