"""Attention of prefill chunks: quadratic in their tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import model_validator

from hardware_profiles.dtypes import ACTIVATION_BYTES, BYTES
from hardware_profiles.kernels.decode_attention import HeadDims
from hardware_profiles.kernels.interpolation import FloatArray, Knots, check_axes, shares
from hardware_profiles.quantity import Fitted, Part
from hardware_profiles.units import Ratios, Times

if TYPE_CHECKING:
    from hardware_profiles.dtypes import KvDtype
    from hardware_profiles.schema import GpuProfile


class PrefillWindow(Part):
    """What the kernel's sliding-window form costs more, per head_dim.

    `fixed` and `passes` are ratios of those terms. `overhang`: the kernel works in tiles, so that
    every query also computes this many masked keys.
    """

    fixed: Ratios
    passes: Ratios
    overhang: list[float]


class PrefillAttention(Fitted):
    """Prefill attention of one layer, over [head_dim][query heads per KV head][query heads].

    `passes` counts how often q, k, v and the output cross the memory bus; `efficiency` is the
    fraction of peak bf16 FLOP/s reached on the causal query-key pairs.
    """

    head_dim: HeadDims
    group: Knots
    q_heads: Knots
    fixed: Times
    passes: Ratios
    efficiency: Ratios
    window: PrefillWindow | None = None

    @model_validator(mode="after")
    def _shape(self) -> Self:
        axes = (self.head_dim, self.group, self.q_heads)
        check_axes(self.fixed, "fixed", *axes)
        check_axes(self.passes, "passes", *axes)
        check_axes(self.efficiency, "efficiency", *axes)
        if self.window is not None:
            check_axes(self.window.fixed, "window.fixed", self.head_dim)
            check_axes(self.window.passes, "window.passes", self.head_dim)
            if len(self.window.overhang) != len(self.head_dim) or min(self.window.overhang) < 0:
                raise ValueError("window.overhang needs one value of zero or more per head_dim")
        return self


def prefill_attention_s(
    q_heads: int,
    kv_heads: int,
    head_dim: int,
    kv_dtype: KvDtype,
    gpu: GpuProfile,
    window_tokens: int = 0,
) -> FloatArray:
    """Prefill attention of one layer: seconds [fixed, per chunk token, per context, per pair].

    A chunk token moves its q, k, v and output; a context token's keys and values are read once; a
    query-key pair costs 4 q_heads head_dim floating-point operations. With `window_tokens` W, a
    chunk of n tokens that ends at C counts min(C, W + n - 1) tokens of context and
    sum_j min(C - n + j, W) pairs. The table was fitted on whole prompts, where chunk and context
    are the same tokens, so the context's share is taken out of the chunk's. Constants are
    interpolated like those of decode attention; a KV dtype without a table takes that of bf16.
    """
    table = gpu.kernels.prefill_attention.get(kv_dtype, gpu.kernels.prefill_attention["bf16"])
    dims = shares(head_dim, table.head_dim)
    weights = np.multiply.outer(
        np.outer(dims, shares(q_heads / kv_heads, table.group)), shares(q_heads, table.q_heads)
    )
    fixed_s = float(np.sum(weights * table.fixed.si))
    passes = float(np.sum(weights * table.passes.si))
    slowness = float(np.sum(weights / table.efficiency.si))

    bandwidth = gpu.hardware.memory_bandwidth.si
    token_s = passes * 2.0 * (q_heads + kv_heads) * head_dim * ACTIVATION_BYTES / bandwidth
    context_s = 2.0 * kv_heads * head_dim * BYTES[kv_dtype] / bandwidth
    pair_s = slowness * 4.0 * q_heads * head_dim / gpu.hardware.peak_bf16.si
    if window_tokens and table.window is not None:
        fixed_s *= float(dims @ table.window.fixed.si)
        token_s *= float(dims @ table.window.passes.si)
        token_s += float(dims @ np.array(table.window.overhang)) * pair_s
    return np.array([fixed_s, max(token_s - context_s, 0.0), context_s, pair_s])
