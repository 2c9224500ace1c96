"""Fit of mixture-of-experts layers: efficiency per tokens per expert, width and active experts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hardware_profiles.calibration.attention import axis, rounded
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
from hardware_profiles.kernels.moe import moe_work
from hardware_profiles.schema import GpuProfile

if TYPE_CHECKING:
    import pandas as pd

    from hardware_profiles.calibration.tables import Tables

TABLES = {
    "h100-sxm": ("moe/vllm/0.25.0/moe_perf", "moe/vllm/0.24.0/moe_perf"),
    "h200-sxm": ("moe/vllm/0.25.0/moe_perf", "moe/vllm/0.24.0/moe_perf"),
    "b200-sxm": ("moe/vllm/0.25.0/moe_perf", "moe/vllm/0.24.0/moe_perf"),
    "a100-sxm-80gb": ("moe/vllm/0.14.0/moe_perf",),
}
DTYPES = {
    "bfloat16": "bf16",
    "fp8": "fp8",
    "fp8_block": "fp8_block",
    "int4_wo": "int4",
    "w4a16_mxfp4": "mxfp4",
    "nvfp4": "nvfp4",
}
SHAPE = ["hidden", "intermediate", "num_experts", "top_k"]
LEFT_OUT = {
    # Nemotron's experts have no gate: two matrices, not three.
    (2688, 1856, 128, 6),
    (1024, 2688, 512, 22),
    (2048, 5120, 512, 22),
    # DeepSeek-V3 picks experts from 4 of 8 groups only, which the generated routing does not know:
    # its rows imply more than the memory bandwidth. Kimi-K2, the same but for that, is fitted.
    (7168, 2048, 256, 8),
}
# Kernels that stand in for the ones vLLM has for the model; mxfp4 is gpt-oss's here.
OTHER_KERNELS = {"mxfp4": "situ_as_silu|w4a4"}
# On Hopper the tables time fp8 experts with ModelOpt's path (FlashInfer, CUTLASS), 3 to 4 times
# slower than 16 bit. Engines take Triton there, as for fp8_block, which stands in: whole runs of
# GLM-4.6-FP8 are twice as fast as that path would allow.
NOT_THE_ENGINES_KERNEL = {"h100-sxm": ("fp8",), "h200-sxm": ("fp8",)}
LARGEST_WEIGHTS = 4e9  # bytes of a layer's experts on one GPU: more does not fit with its layers
SMALLEST_WIDTH = 64
DRAWS = 8
EXPERTS = (1, 16, 256)
TOKENS = (1, 4, 16, 32, 64, 128, 256, 1024)
WIDTH = (64, 256, 1024, 4096, 16384)
ACTIVE = (1, 4, 16, 64, 256)
LAUNCH_S = 1e-5  # its typical size
LEAST_SLOWNESS = 0.5
SMOOTHING = 0.06
JUDGED_M, JUDGED_EP = 8192, 16


def read(tables: Tables) -> pd.DataFrame | None:
    """Fused experts of vLLM's kernels: balanced routing and two power laws of the experts' load.

    Columns beyond those of a measurement: the shape, `tensor_parallel_size`,
    `expert_parallel_size`, `routing`, and the `active` experts and (token, expert) `slots` that
    the routing gives the measured GPU.
    """
    rows = tables.first(*TABLES.get(tables.gpu, ()))
    if rows is None:
        return None
    rows = rows.rename(
        columns={
            "num_tokens": "m",
            "hidden_size": "hidden",
            "inter_size": "intermediate",
            "topk": "top_k",
            "moe_tp_size": "tensor_parallel_size",
            "moe_ep_size": "expert_parallel_size",
            "distribution": "routing",
            "kernel_source": "backend",
            "latency": "latency_ms",
        }
    )
    rows["dtype"] = rows["moe_dtype"].map(DTYPES)
    others = NOT_THE_ENGINES_KERNEL.get(tables.gpu, ())
    rows = rows[rows["dtype"].notna() & ~rows["dtype"].isin(others)]
    order = ["dtype", *SHAPE, "tensor_parallel_size", "expert_parallel_size", "routing", "m"]
    rows = rows.sort_values(order, ignore_index=True)
    keys = rows[["m", "num_experts", "top_k", "expert_parallel_size", "routing"]]
    known: dict[tuple[Any, ...], tuple[float, float]] = {}
    loads = []
    for key in keys.itertuples(index=False, name=None):
        if key not in known:
            known[key] = measured_load(*key)
        loads.append(known[key])
    rows["active"], rows["slots"] = np.array(loads).T
    return rows


def measured_load(
    m: int, num_experts: int, top_k: int, expert_parallel_size: int, routing: str
) -> tuple[float, float]:
    """Active experts and (token, expert) pairs on the GPU that the tables' generator times.

    `balanced` deals pairs out one by one. `power_law_ALPHA` draws the load of every expert from a
    density x^-ALPHA, on [1, 0.8 m] if there are more pairs than experts, else on [0.01, 2], scales
    it to the pairs there are, and times the GPU with the most; here the mean of some draws.
    """
    pairs = m * top_k
    own = num_experts // expert_parallel_size
    if routing == "balanced":
        slots = max(1.0, pairs / expert_parallel_size)
        return float(min(own, round(slots))), slots

    power = 1.0 - float(routing.removeprefix("power_law_"))
    low, high = (1.0, 0.8 * m) if pairs > num_experts else (0.01, 2.0)
    draw = np.random.default_rng(0).random((DRAWS, num_experts))
    load = ((high**power - low**power) * draw + low**power) ** (1.0 / power)
    load *= pairs / load.sum(axis=1, keepdims=True)
    whole = np.minimum(np.rint(load), m)
    # What rounding leaves over goes to the most loaded experts, one each.
    missing = (pairs - whole.sum(axis=1)).astype(int)[:, None]
    rank = np.argsort(np.argsort(-load, axis=1), axis=1)
    whole += missing // num_experts * (missing > 0) + (rank < missing % num_experts) * (missing > 0)
    whole = np.maximum(whole - (rank < -missing), 0.0)
    by_gpu = whole.reshape(DRAWS, expert_parallel_size, own)
    chosen = by_gpu[np.arange(DRAWS), by_gpu.sum(axis=2).argmax(axis=1)]
    return float((chosen > 0).sum(axis=1).mean()), float(chosen.sum(axis=1).mean())


def fit(rows: pd.DataFrame, base: GpuProfile) -> list[Entry]:
    """One table per dtype."""
    return [_fit(part, str(dtype), base) for dtype, part in rows.groupby("dtype", sort=False)]


def _fit(rows: pd.DataFrame, dtype: str, base: GpuProfile) -> Entry:
    rows = _usable(rows, dtype)
    own = (rows["num_experts"] / rows["expert_parallel_size"]).to_numpy()
    width = (rows["intermediate"] / rows["tensor_parallel_size"]).to_numpy()
    active = np.maximum(rows["active"].to_numpy(), 1.0)
    slots = np.maximum(rows["slots"].to_numpy(), active)
    m = rows["m"].to_numpy(dtype=np.float64)
    hidden = rows["hidden"].to_numpy(dtype=np.float64)
    seconds = rows["latency_ms"].to_numpy(dtype=np.float64) * 1e-3
    pairs = m * rows["top_k"].to_numpy()
    work = moe_work(pairs, slots, active, hidden, width, dtype, base.hardware)

    knots = [
        axis(wanted, values)
        for wanted, values in (
            (EXPERTS, own),
            (TOKENS, slots / active),
            (WIDTH, width),
            (ACTIVE, active),
        )
    ]
    weights = spread(
        *(hat(x, k) for x, k in zip((slots / active, width, active), knots[1:], strict=True))
    )
    terms = [
        Term(hat(own, knots[0]), (len(knots[0]),), LAUNCH_S),
        *(Term(x[:, None], (1,)) for x in (work.hidden, work.intermediate, work.local)),
        Term(weights * work.roofline[:, None], tuple(len(k) for k in knots[1:])),
    ]
    launch, *passes, slowness = fit_terms(terms, seconds, SMOOTHING)
    slowness = np.maximum(slowness, LEAST_SLOWNESS)
    predicted = predict(terms, [launch, *passes, slowness])
    shapes = rows[SHAPE].to_numpy(dtype=np.float64)
    tested = held_out(terms, seconds, shapes, smoothing=SMOOTHING)
    names = ("hidden_passes", "intermediate_passes", "local_passes")
    values = {
        "experts": knots[0],
        "launch": {"unit": "us", "value": rounded(launch * 1e6)},
        **{
            name: {"unit": "ratio", "value": rounded(value)[0]}
            for name, value in zip(names, passes, strict=True)
        },
        "tokens": knots[1],
        "width": knots[2],
        "active": knots[3],
        "efficiency": {"unit": "fraction", "value": rounded(1.0 / slowness)},
    }
    judged = (m <= JUDGED_M) & (rows["expert_parallel_size"] <= JUDGED_EP).to_numpy()
    residuals = rows[
        ["m", *SHAPE, "tensor_parallel_size", "expert_parallel_size", "routing"]
    ].assign(
        measured_s=seconds,
        predicted_s=predicted if tested is None else tested,
        in_sample_s=predicted,
        shape_class=[
            "(hidden, intermediate, experts, top_k) " + "/".join(f"{x:.0f}" for x in shape)
            for shape in shapes
        ],
        judged=judged,
    )
    return Entry(
        op="moe",
        key=dtype,
        values=values,
        source=one_source(rows),
        residuals=residuals,
        range={
            name: (rows[name].min(), rows[name].max())
            for name in ("m", *SHAPE, "tensor_parallel_size", "expert_parallel_size")
        },
        note=f"m <= {JUDGED_M}, expert parallel up to {JUDGED_EP}"
        + ("; 5-fold cross-validation grouped by shape" if tested is not None else ""),
    )


def _usable(rows: pd.DataFrame, dtype: str) -> pd.DataFrame:
    """Gated experts that fit on a GPU, of the kernel vLLM runs; the fastest of several."""
    width = rows["intermediate"] / rows["tensor_parallel_size"]
    experts = rows["num_experts"] / rows["expert_parallel_size"]
    weights = 3.0 * experts * rows["hidden"] * width * BYTES[dtype]
    shapes = np.array(
        [shape not in LEFT_OUT for shape in rows[SHAPE].itertuples(index=False, name=None)],
        dtype=np.bool_,
    )
    wanted: NDArray[np.bool_] = shapes & (
        (weights <= LARGEST_WEIGHTS) & (width >= SMALLEST_WIDTH) & (width % 16 == 0)
    ).to_numpy(dtype=np.bool_)
    if dtype in OTHER_KERNELS:
        other = rows["backend"].str.contains(OTHER_KERNELS[dtype]).to_numpy(dtype=np.bool_)
        if (wanted & ~other).any():
            wanted &= ~other
    return rows[wanted].reset_index(drop=True)


OPERATION = Operation("moe", read, fit)
