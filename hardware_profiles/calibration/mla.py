"""Fits of multi-head latent attention: vLLM's attention module less its three large GEMMs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hardware_profiles.calibration.attention import KV_DTYPES, axis, rounded
from hardware_profiles.calibration.nonnegative import (
    Term,
    fit_terms,
    hat,
    held_out,
    predict,
    spread,
)
from hardware_profiles.calibration.operation import Entry, Operation, one_source
from hardware_profiles.dtypes import BYTES
from hardware_profiles.kernels.gemm import gemm_s
from hardware_profiles.kernels.mla import LATENT, NOPE_DIM, PAIR_FLOPS, ROPE_DIM, VALUE_DIM
from hardware_profiles.schema import GpuProfile

if TYPE_CHECKING:
    import pandas as pd

    from hardware_profiles.calibration.tables import Tables
    from hardware_profiles.dtypes import Dtype
    from hardware_profiles.kernels.interpolation import FloatArray

VERSIONS = {
    "h100-sxm": ("0.25.0", "0.24.0"),
    "h200-sxm": ("0.25.0", "0.24.0"),
    "b200-sxm": ("0.25.0", "0.24.0"),
}
HIDDEN, Q_RANK = 7168, 1536  # of the measured model, DeepSeek-V3
WEIGHTS: dict[str, Dtype] = {"bfloat16": "bf16", "fp8_block": "fp8_block"}
PREFILL_KERNELS = ("FLASH_ATTN",)  # shortest prompts run on the decode kernels
HEADS = (1, 4, 16, 64, 128)
REQUESTS = (1, 4, 16, 32, 64, 128, 256, 512, 1024)
SHORTEST, LARGEST_CHUNK = 256, 65536  # tokens a request, tokens in all
FEWEST_HEADS = 8  # on one GPU: eight GPUs leave DeepSeek-V3 16
FIXED_S, TOKEN_S = 3e-5, 2e-8  # their typical sizes
LEAST_SLOWNESS = 0.2


def read_decode(tables: Tables) -> pd.DataFrame | None:
    """The attention module of DeepSeek-V3 for decodes of equally long requests."""
    rows = _read(tables, "mla_generation_module_perf")
    if rows is not None:
        rows["context_tokens"] = rows["batch"] * (rows["step"] + rows["isl"])
    return rows


def read_prefill(tables: Tables) -> pd.DataFrame | None:
    """The attention module of DeepSeek-V3 for whole prompts of equal length."""
    rows = _read(tables, "mla_context_module_perf")
    if rows is not None:
        rows = rows[rows["backend"].isin(PREFILL_KERNELS) & (rows["step"] == 0)]
        rows = rows.assign(context_tokens=rows["batch"] * rows["isl"]).reset_index(drop=True)
    return rows


def _read(tables: Tables, name: str) -> pd.DataFrame | None:
    versions = VERSIONS.get(tables.gpu, ())
    rows = tables.first(*(f"mla/vllm/{version}/{name}" for version in versions))
    if rows is None:
        return None
    rows = rows.rename(
        columns={
            "batch_size": "batch",
            "num_heads": "q_heads",
            "kernel_source": "backend",
            "latency": "latency_ms",
        }
    )
    rows = rows[
        rows["gemm_type"].isin(WEIGHTS)
        & (rows["mla_dtype"] == "bfloat16")
        & rows["kv_cache_dtype"].isin(KV_DTYPES)
    ]
    rows = rows.assign(
        dtype=rows["gemm_type"].map(WEIGHTS), kv_dtype=rows["kv_cache_dtype"].map(KV_DTYPES)
    )
    order = ["kv_dtype", "dtype", "q_heads", "batch", "isl", "step"]
    return rows.sort_values(order, ignore_index=True)


def gemms_s(tokens: FloatArray, heads: FloatArray, dtype: Dtype, gpu: GpuProfile) -> FloatArray:
    """The module's GEMMs: into both latent vectors, query heads, output."""
    total = np.zeros(len(tokens))
    for count in np.unique(heads):
        here = heads == count
        m, own = tokens[here], int(count)
        total[here] = (
            gemm_s(m, Q_RANK + LATENT, HIDDEN, dtype, gpu)
            + gemm_s(m, own * (NOPE_DIM + ROPE_DIM), Q_RANK, dtype, gpu)
            + gemm_s(m, HIDDEN, own * VALUE_DIM, dtype, gpu)
        )
    return total


def fit_decode(rows: pd.DataFrame, base: GpuProfile) -> list[Entry]:
    """One table per KV dtype, from modules with 16-bit weights; the others are a check."""
    return [_decode(part, str(name), base) for name, part in rows.groupby("kv_dtype")]


def _decode(rows: pd.DataFrame, kv_dtype: str, base: GpuProfile) -> Entry:
    rows = rows.reset_index(drop=True)
    heads = rows["q_heads"].to_numpy(dtype=np.float64)
    batch = rows["batch"].to_numpy(dtype=np.float64)
    each = rows["context_tokens"].to_numpy() / batch
    memory_s = (
        rows["context_tokens"].to_numpy()
        * LATENT
        * BYTES[kv_dtype]
        / (base.hardware.memory_bandwidth.si)
    )
    knots = [axis(HEADS, heads), axis(REQUESTS, batch)]
    weights = spread(hat(heads, knots[0]), hat(batch, knots[1]))
    shape = (len(knots[0]), len(knots[1]))
    terms = [Term(weights, shape, FIXED_S), Term(weights * memory_s[:, None], shape)]
    fixed, slowness, residuals = _fit(rows, batch, terms, each >= SHORTEST, base)
    slowness = np.maximum(slowness, LEAST_SLOWNESS)
    values = {
        "heads": knots[0],
        "requests": knots[1],
        "fixed": {"unit": "us", "value": rounded(fixed * 1e6)},
        "efficiency": {"unit": "fraction", "value": rounded(1.0 / slowness)},
    }
    known = {"heads": heads, "requests": batch, "context_tokens": each}
    return _entry("mla_decode", kv_dtype, values, rows, residuals, known)


def fit_prefill(rows: pd.DataFrame, base: GpuProfile) -> list[Entry]:
    """One table per KV dtype, from modules with 16-bit weights; the others are a check."""
    return [_prefill(part, str(name), base) for name, part in rows.groupby("kv_dtype")]


def _prefill(rows: pd.DataFrame, kv_dtype: str, base: GpuProfile) -> Entry:
    rows = rows.reset_index(drop=True)
    heads = rows["q_heads"].to_numpy(dtype=np.float64)
    isl = rows["isl"].to_numpy(dtype=np.float64)
    tokens = rows["batch"].to_numpy() * isl
    pair_s = PAIR_FLOPS * heads / base.hardware.peak_bf16.si
    knots = axis(HEADS, heads)
    weights = hat(heads, knots)
    shape = (len(knots),)
    terms = [
        Term(weights, shape, FIXED_S),
        Term(weights * tokens[:, None], shape, TOKEN_S),
        Term(weights * (tokens * (isl + 1) / 2 * pair_s)[:, None], shape),
    ]
    fitted = (isl >= SHORTEST) & (tokens <= LARGEST_CHUNK)
    fixed, token, slowness, residuals = _fit(rows, tokens, terms, fitted, base)
    slowness = np.maximum(slowness, LEAST_SLOWNESS)
    # What modules with quantised weights take longer than their own GEMMs say.
    seconds = residuals["measured_s"].to_numpy()
    other = fitted & (rows["dtype"] != "bf16").to_numpy()
    quantized = np.zeros(shape)
    if other.any():
        left = Term(terms[1].design[other], shape, TOKEN_S)
        known = residuals["predicted_s"].to_numpy()
        (quantized,) = fit_terms([left], seconds[other], offset=known[other])
        more = terms[1].design @ quantized
        residuals["predicted_s"] += np.where(rows["dtype"] != "bf16", more, 0.0)
    values = {
        "heads": knots,
        "fixed": {"unit": "us", "value": rounded(fixed * 1e6)},
        "token": {"unit": "ns", "value": rounded(token * 1e9)},
        "quantized_token": {"unit": "ns", "value": rounded(quantized * 1e9)},
        "efficiency": {"unit": "fraction", "value": rounded(1.0 / slowness)},
    }
    return _entry(
        "mla_prefill", kv_dtype, values, rows, residuals, {"heads": heads, "chunk_tokens": isl}
    )


def _fit(
    rows: pd.DataFrame,
    tokens: FloatArray,
    terms: list[Term],
    long: FloatArray,
    base: GpuProfile,
) -> list[Any]:
    """Coefficients of each term, then the residuals of the whole module."""
    heads = rows["q_heads"].to_numpy(dtype=np.float64)
    seconds = rows["latency_ms"].to_numpy(dtype=np.float64) * 1e-3
    dtypes = rows["dtype"].to_numpy()
    offset = np.zeros(len(rows))
    for dtype in sorted(set(dtypes)):
        here = dtypes == dtype
        offset[here] = gemms_s(tokens[here], heads[here], dtype, base)
    fitted = long & (dtypes == "bf16")

    chosen = [Term(term.design[fitted], term.shape, term.scale) for term in terms]
    found = fit_terms(chosen, seconds[fitted], offset=offset[fitted])
    predicted = offset + predict(terms, found)
    tested = held_out(chosen, seconds[fitted], heads[fitted][:, None], offset=offset[fitted])
    if tested is not None:
        predicted[fitted] = tested
    few = f"under {FEWEST_HEADS} heads"
    size = np.where(heads < FEWEST_HEADS, few, f"{FEWEST_HEADS} heads or more")
    residuals = rows[["dtype", "q_heads", "batch", "isl"]].assign(
        measured_s=seconds,
        predicted_s=predicted,
        shape_class=[
            f"module with {dtype} weights, {name}" + ("" if enough else ", outside what is fitted")
            for dtype, name, enough in zip(dtypes, size, long, strict=True)
        ],
        judged=fitted & (heads >= FEWEST_HEADS),
    )
    return [*found, residuals]


def _entry(
    op: str,
    kv_dtype: str,
    values: dict[str, Any],
    rows: pd.DataFrame,
    residuals: pd.DataFrame,
    known: dict[str, FloatArray],
) -> Entry:
    judged = residuals["judged"].to_numpy()
    return Entry(
        op=op,
        key=kv_dtype,
        values=values,
        source=f"{one_source(rows)}, less the GEMMs of this profile",
        residuals=residuals,
        range={name: (x[judged].min(), x[judged].max()) for name, x in known.items()},
        note=f"whole module with bf16 weights, {FEWEST_HEADS} heads and {SHORTEST} tokens a request"
        " or more; 5-fold cross-validation grouped by heads",
    )


DECODE_OPERATION = Operation("mla_decode", read_decode, fit_decode)
PREFILL_OPERATION = Operation("mla_prefill", read_prefill, fit_prefill)
