"""Multi-head latent attention (DeepSeek-V2/V3): one latent vector per token instead of heads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import model_validator

from hardware_profiles.dtypes import ACTIVATION_BYTES, BYTES
from hardware_profiles.kernels.interpolation import (
    FloatArray,
    Knots,
    check_axes,
    interpolate,
    shares,
)
from hardware_profiles.quantity import Fitted
from hardware_profiles.units import Ratios, Times
from simulator.errors import InputError

if TYPE_CHECKING:
    from hardware_profiles.dtypes import Dtype, KvDtype
    from hardware_profiles.schema import GpuProfile

# DeepSeek-V3 (arXiv 2412.19437): ranks of the latent vectors, head dimensions.
KV_RANK, ROPE_DIM, NOPE_DIM, VALUE_DIM = 512, 64, 128, 128
LATENT = KV_RANK + ROPE_DIM  # elements of KV cache per token and layer, the same for every head
PAIR_FLOPS = 2.0 * (NOPE_DIM + ROPE_DIM + VALUE_DIM)  # of one head, query and key
UP_DIM = NOPE_DIM + VALUE_DIM  # key and value of one head, made from the latent vector
UP_EFFICIENCY = 0.7  # of peak FLOP/s: a GEMM over thousands of context tokens


class MlaDecode(Fitted):
    """Decode over [heads][requests]: fixed time, fraction of memory bandwidth on latent vectors."""

    heads: Knots
    requests: Knots
    fixed: Times
    efficiency: Ratios

    @model_validator(mode="after")
    def _shape(self) -> Self:
        check_axes(self.fixed, "fixed", self.heads, self.requests)
        check_axes(self.efficiency, "efficiency", self.heads, self.requests)
        return self


class MlaPrefill(Fitted):
    """Prefill over [heads]: fixed time, time per chunk token, fraction of peak on the pairs.

    `quantized_token` comes on top of `token` where weights are fp8 blocks: the module's GEMMs
    gain less from them than GEMMs of other layers do.
    """

    heads: Knots
    fixed: Times
    token: Times
    quantized_token: Times
    efficiency: Ratios

    @model_validator(mode="after")
    def _shape(self) -> Self:
        check_axes(self.fixed, "fixed", self.heads)
        check_axes(self.token, "token", self.heads)
        check_axes(self.quantized_token, "quantized_token", self.heads)
        check_axes(self.efficiency, "efficiency", self.heads)
        return self


def mla_decode_s(
    requests: FloatArray, heads: int, kv_dtype: KvDtype, gpu: GpuProfile
) -> tuple[FloatArray, FloatArray]:
    """Decode attention of one layer: (fixed seconds, seconds per token of summed context).

    `heads` are those of one GPU; every GPU reads the whole latent cache. Includes what vLLM's
    attention does besides the three GEMMs into the latent vectors, out of the query's, and of the
    output: the absorbed up-projections (batched GEMMs per head), norms, rotary embedding, cache
    write. Constants are interpolated linearly in log heads and log requests. InputError where the
    profile has no MLA kernel.
    """
    table = gpu.kernels.mla_decode.get(kv_dtype, gpu.kernels.mla_decode.get("bf16"))
    if table is None:
        raise InputError(f"the profile of {gpu.name} has no measured MLA decode attention")
    weights = shares(heads, table.heads)
    fixed_s = interpolate(requests, table.requests, weights @ table.fixed.si)
    slowness = interpolate(requests, table.requests, weights @ (1.0 / table.efficiency.si))
    token_bytes = LATENT * BYTES[kv_dtype]
    return fixed_s, slowness * token_bytes / gpu.hardware.memory_bandwidth.si


def mla_prefill_s(
    heads: int, kv_dtype: KvDtype, gpu: GpuProfile, weight_dtype: Dtype = "bf16"
) -> FloatArray:
    """Prefill attention of one layer: seconds [fixed, per chunk token, per context, per pair].

    Keys and values of every head are made from the latent vectors first. For the chunk that is in
    the measured time per token, with norms, rotary embedding and cache write. For cached context,
    which no table measures, it is computed: each token's latent vector read, 2 x 512 x 256
    operations per head at `UP_EFFICIENCY`, the result written and read, but no more than a token
    of the chunk, which has all that too. The chunk's own tokens are in the context, so their share
    is taken out of the time per token. `weight_dtype` is that of the projections.
    """
    table = gpu.kernels.mla_prefill.get(kv_dtype, gpu.kernels.mla_prefill.get("bf16"))
    if table is None:
        raise InputError(f"the profile of {gpu.name} has no measured MLA prefill attention")
    weights = shares(heads, table.heads)
    hardware = gpu.hardware
    moved = LATENT * BYTES[kv_dtype] + 2.0 * heads * UP_DIM * ACTIVATION_BYTES
    operations = 2.0 * KV_RANK * heads * UP_DIM
    context_s = moved / hardware.memory_bandwidth.si + operations / (
        UP_EFFICIENCY * hardware.peak_bf16.si
    )
    token_s = float(weights @ table.token.si)
    if weight_dtype in ("fp8", "fp8_block"):
        token_s += float(weights @ table.quantized_token.si)
    context_s = min(context_s, token_s)
    slowness = float(weights @ (1.0 / table.efficiency.si))
    pair_s = slowness * PAIR_FLOPS * heads / hardware.peak_bf16.si
    return np.array([float(weights @ table.fixed.si), token_s - context_s, context_s, pair_s])
