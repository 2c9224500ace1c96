"""Attention of decoding requests: affine in the tokens of context they hold together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Self

import numpy as np
from pydantic import Field, model_validator

from hardware_profiles.dtypes import BYTES
from hardware_profiles.kernels.interpolation import (
    FloatArray,
    Knots,
    check_axes,
    interpolate,
    shares,
)
from hardware_profiles.quantity import Fitted, Part
from hardware_profiles.units import Ratios, Times

if TYPE_CHECKING:
    from hardware_profiles.dtypes import KvDtype
    from hardware_profiles.schema import GpuProfile

HeadDims = Annotated[list[float], Field(min_length=1)]


class DecodeWindow(Part):
    """What the kernel's sliding-window form costs more, per head_dim: ratios of both terms."""

    fixed: Ratios
    context: Ratios


class DecodeAttention(Fitted):
    """Decode attention of one layer: a fixed time and the fraction of memory bandwidth reached.

    Axes [head_dim][group][work]: `group` is query heads per KV head, `work` requests x KV heads on
    one GPU, the pieces the kernel spreads over it.
    """

    head_dim: HeadDims
    group: Knots
    work: Knots
    fixed: Times
    efficiency: Ratios
    window: DecodeWindow | None = None

    @model_validator(mode="after")
    def _shape(self) -> Self:
        check_axes(self.fixed, "fixed", self.head_dim, self.group, self.work)
        check_axes(self.efficiency, "efficiency", self.head_dim, self.group, self.work)
        if self.window is not None:
            check_axes(self.window.fixed, "window.fixed", self.head_dim)
            check_axes(self.window.context, "window.context", self.head_dim)
        return self


def decode_attention_s(
    requests: FloatArray,
    q_heads: int,
    kv_heads: int,
    head_dim: int,
    kv_dtype: KvDtype,
    gpu: GpuProfile,
    window_tokens: int = 0,
) -> tuple[FloatArray, FloatArray]:
    """Decode attention of one layer on one GPU: (fixed seconds, seconds per token of context).

    Both are arrays over `requests`, and the second counts the tokens of all requests together.
    With `window_tokens` those are tokens inside the windows, the sum of min(context, window).
    Fixed time and seconds per byte are interpolated linearly in the logarithm of requests x KV
    heads, of query heads per KV head and of head_dim, and constant outside the knots. A KV dtype
    without a table reads its own bytes at the speed of 16-bit ones (`GpuProfile.is_measured`).
    """
    table = gpu.kernels.decode_attention.get(kv_dtype, gpu.kernels.decode_attention["bf16"])
    dims = shares(head_dim, table.head_dim)
    corners = np.outer(dims, shares(q_heads / kv_heads, table.group))
    work = requests * kv_heads
    fixed_s = interpolate(work, table.work, np.tensordot(corners, table.fixed.si))
    slowness = interpolate(work, table.work, np.tensordot(corners, 1.0 / table.efficiency.si))
    token_bytes = 2.0 * kv_heads * head_dim * BYTES[kv_dtype]
    token_s = slowness * token_bytes / gpu.hardware.memory_bandwidth.si
    if window_tokens and table.window is not None:
        fixed_s = fixed_s * (dims @ table.window.fixed.si)
        token_s = token_s * (dims @ table.window.context.si)
    return fixed_s, token_s
