"""Seconds that single GPU kernels take, vectorised; the formulas are in docs/model.md."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from simulator.cost.sharding import BYTES, WeightDtype
from simulator.errors import InputError

if TYPE_CHECKING:
    from hardware_profiles.profile import GpuProfile

FloatArray = NDArray[np.float64]
ACTIVATION_BYTES = 2  # activations stay in 16 bit whatever the weights are


def gemm_s(m: FloatArray, n: int, k: int, dtype: WeightDtype, gpu: GpuProfile) -> FloatArray:
    """Time of Y[m, n] = X[m, k] W[k, n]: its roofline over the efficiency reached at (m, n, k).

    Bytes are weights and inputs in `dtype` and outputs in 16 bit; the efficiency is interpolated
    (log of it, over log m, log n, log k) and held constant outside the profile's knots.
    """
    peak = gpu.hardware.peak_bf16 if dtype == "bf16" else gpu.hardware.peak_fp8
    if peak is None:
        raise InputError(f"{gpu.name} has no fp8 matrix units in its profile")
    element = BYTES[dtype]
    memory_s = (element * (m * k + float(k) * n) + ACTIVATION_BYTES * m * n) / (
        gpu.hardware.memory_bandwidth.si
    )
    compute_s = 2.0 * m * n * k / peak.si
    table = gpu.kernels.gemm[dtype]
    log_efficiency = np.log(table.efficiency.si)
    axes = (_place(m, table.m), _place(_one(n), table.n), _place(_one(k), table.k))
    total = np.zeros_like(m)
    for corner in product((0, 1), repeat=3):
        weight: FloatArray | float = 1.0
        index = []
        for (lower, fraction), side in zip(axes, corner, strict=True):
            weight = weight * (fraction if side else 1.0 - fraction)
            index.append(lower + side)
        total += weight * log_efficiency[tuple(index)]
    roofline: FloatArray = np.maximum(memory_s, compute_s)
    return roofline / np.exp(total)


def decode_attention_s(
    requests: FloatArray, kv_heads: int, head_dim: int, kv_dtype: WeightDtype, gpu: GpuProfile
) -> tuple[FloatArray, FloatArray]:
    """Decode attention of one layer: (fixed seconds, seconds per token of summed context).

    Both depend on requests x KV heads, the independent pieces the kernel spreads over the GPU.
    """
    table = gpu.kernels.decode_attention[kv_dtype]
    work = requests * kv_heads
    fixed_s = _interpolate(work, table.work, table.fixed.si)
    efficiency = _interpolate(work, table.work, table.efficiency.si)
    bytes_per_token = 2.0 * kv_heads * head_dim * BYTES[kv_dtype]
    return fixed_s, bytes_per_token / (efficiency * gpu.hardware.memory_bandwidth.si)


def prefill_attention_s(
    q_heads: int, kv_heads: int, head_dim: int, kv_dtype: WeightDtype, gpu: GpuProfile
) -> FloatArray:
    """Prefill attention of one layer: seconds [fixed, per chunk token, per context, per pair].

    A chunk token moves its q, k, v and output; a context token's keys and values are read once; a
    query-key pair costs 4 q_heads head_dim floating-point operations. The table was fitted on
    whole prompts, where chunk and context are the same tokens, so the context's share is taken
    out of the chunk's.
    """
    table = gpu.kernels.prefill_attention[kv_dtype]
    heads = _one(q_heads)
    fixed_s = _interpolate(heads, table.q_heads, table.fixed.si)[0]
    passes = _interpolate(heads, table.q_heads, table.passes.si)[0]
    efficiency = _interpolate(heads, table.q_heads, table.efficiency.si)[0]
    bandwidth = gpu.hardware.memory_bandwidth.si
    token_s = passes * 2.0 * (q_heads + kv_heads) * head_dim * ACTIVATION_BYTES / bandwidth
    context_s = 2.0 * kv_heads * head_dim * BYTES[kv_dtype] / bandwidth
    pair_s = 4.0 * q_heads * head_dim / (efficiency * gpu.hardware.peak_bf16.si)
    return np.array([fixed_s, max(token_s - context_s, 0.0), context_s, pair_s])


def all_reduce_s(
    message_bytes: FloatArray, tensor_parallel_size: int, gpu: GpuProfile
) -> FloatArray:
    """All-reduce of `message_bytes` on each GPU; zero for one GPU."""
    return _collective_s("all_reduce", message_bytes, tensor_parallel_size, gpu)


def all_gather_s(
    message_bytes: FloatArray, tensor_parallel_size: int, gpu: GpuProfile
) -> FloatArray:
    """All-gather whose result is `message_bytes` long; zero for one GPU."""
    return _collective_s("all_gather", message_bytes, tensor_parallel_size, gpu)


def elementwise_s(bytes_moved: FloatArray, launches: int, gpu: GpuProfile) -> FloatArray:
    """`launches` memory-bound kernels that together move `bytes_moved`."""
    kernel = gpu.kernels.elementwise
    bandwidth = kernel.efficiency.si * gpu.hardware.memory_bandwidth.si
    return launches * kernel.launch.si + bytes_moved / bandwidth


def _collective_s(
    kind: str, message_bytes: FloatArray, tensor_parallel_size: int, gpu: GpuProfile
) -> FloatArray:
    if tensor_parallel_size == 1:
        return np.zeros_like(message_bytes)
    table = gpu.kernels.all_reduce if kind == "all_reduce" else gpu.kernels.all_gather
    link = table.get(tensor_parallel_size)
    if link is None:
        raise InputError(
            f"the profile of {gpu.name} has no {kind} for tensor_parallel_size"
            f" {tensor_parallel_size}"
        )
    small = message_bytes <= link.small_message.si
    latency = np.where(small, link.small_latency.si, link.large_latency.si)
    bandwidth = np.where(small, link.small_bandwidth.si, link.large_bandwidth.si)
    return latency + message_bytes / bandwidth


def _one(value: int) -> FloatArray:
    return np.array([float(value)])


def _place(values: FloatArray, knots: list[float]) -> tuple[NDArray[np.intp], FloatArray]:
    """Index of the knot below each value, and how far (in log) it lies towards the next one."""
    grid = np.log(np.array(knots))
    logs = np.log(np.clip(values, knots[0], knots[-1]))
    lower = np.clip(np.searchsorted(grid, logs, side="right") - 1, 0, len(knots) - 2)
    return lower, (logs - grid[lower]) / (grid[lower + 1] - grid[lower])


def _interpolate(values: FloatArray, knots: list[float], table: FloatArray) -> FloatArray:
    """Linear over log of the knots, held constant outside them."""
    result: FloatArray = np.interp(np.log(values), np.log(np.array(knots)), table)
    return result
