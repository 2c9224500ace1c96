"""What the fits of decode and of prefill attention share: reading the public tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hardware_profiles.calibration.writer import significant

if TYPE_CHECKING:
    import pandas as pd

    from hardware_profiles.calibration.tables import Tables
    from hardware_profiles.kernels.interpolation import FloatArray

# The first that is installed. A100 tables of other engines are slower kernels (sglang) or measure
# more than the memory bandwidth (trtllm).
VERSIONS = {
    "h100-sxm": ("0.25.0", "0.24.0"),
    "h200-sxm": ("0.25.0", "0.24.0"),
    "b200-sxm": ("0.25.0", "0.24.0"),
    "a100-sxm-80gb": ("0.14.0",),
}
HEAD_DIMS = (64, 128, 256)  # others run on kernels of their own
KV_DTYPES = {"bfloat16": "bf16", "fp8": "fp8"}
SHORTEST = 256  # tokens a request; shorter ones are all launch time


def read_attention(tables: Tables, name: str) -> pd.DataFrame | None:
    """Rows of attention/vllm/VERSION/`name` in the columns of a measurement.

    Without `context_tokens`, which decode and prefill count differently; `step` stays. A column
    `window_tokens` is added, 0 for full attention.
    """
    if tables.gpu not in VERSIONS:
        return None
    versions = VERSIONS[tables.gpu]
    rows = tables.first(*(f"attention/vllm/{version}/{name}" for version in versions))
    if rows is None:
        return None
    rows = rows.rename(
        columns={
            "batch_size": "batch",
            "num_heads": "q_heads",
            "num_key_value_heads": "kv_heads",
            "window_size": "window_tokens",
            "latency": "latency_ms",
        }
    )
    if "window_tokens" not in rows:
        rows["window_tokens"] = 0
    # Head dimension 192 with a KV head per query head is DeepSeek's prefill: see mla.
    rows = rows[rows["head_dim"].isin(HEAD_DIMS) & rows["kv_cache_dtype"].isin(KV_DTYPES)]
    rows["kv_dtype"] = rows["kv_cache_dtype"].map(KV_DTYPES)
    return rows.sort_values(
        ["kv_dtype", "head_dim", "window_tokens", "q_heads", "kv_heads", "batch", "isl", "step"],
        ignore_index=True,
    )


def with_defaults(rows: pd.DataFrame) -> pd.DataFrame:
    """A user's rows with all columns: no window, no uneven lengths where that is not said."""
    rows = rows.copy()
    for name in ("window_tokens", "ragged"):
        rows[name] = rows[name].fillna(0) if name in rows else 0
    columns = ["batch", "q_heads", "kv_heads", "head_dim", "window_tokens", "context_tokens"]
    return rows.astype(dict.fromkeys(columns, np.float64))


def full_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows to fit: those whose requests are equally long."""
    rows = with_defaults(rows)
    return rows[rows["ragged"] == 0].reset_index(drop=True)


def axis(wanted: tuple[float, ...], values: FloatArray) -> list[int]:
    """Knots up to the first one beyond the largest value, and at least two."""
    above = [i for i, knot in enumerate(wanted) if knot >= values.max()]
    last = above[0] if above else len(wanted) - 1
    first = max(i for i, knot in enumerate(wanted) if knot <= max(values.min(), wanted[0]))
    return [int(knot) for knot in wanted[min(first, len(wanted) - 2) : max(last, first + 1) + 1]]


def rounded(values: FloatArray, digits: int = 3) -> list[object]:
    """Nested lists of the values to so many significant digits."""
    flat = np.array([significant(float(value), digits) for value in np.ravel(values)])
    nested: list[object] = flat.reshape(np.shape(values)).tolist()
    return nested
