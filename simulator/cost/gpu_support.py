"""What a GPU, as its profile describes it, cannot run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hardware_profiles.kernels.gemm import STAND_INS
from simulator.cost.architecture import Architecture
from simulator.cost.number_formats import (
    KV_CACHE_DTYPES,
    WEIGHT_DTYPES,
    Formats,
    KvCacheDtype,
    WeightDtype,
)
from simulator.errors import InputError

if TYPE_CHECKING:
    from hardware_profiles.profile import GpuProfile


def check_gpu(
    architecture: Architecture,
    gpu: GpuProfile,
    weight_dtype: WeightDtype,
    kv_cache_dtype: KvCacheDtype,
) -> None:
    """Refuse what the GPU has no arithmetic or no measured kernel for; InputError, all reasons."""
    reasons = weight_refusals(architecture, gpu, weight_dtype)
    reasons += kv_cache_refusals(gpu, kv_cache_dtype)
    reasons += kernel_refusals(architecture, gpu, weight_dtype)
    if reasons:
        raise InputError("\n".join(reasons))


def weight_refusals(
    architecture: Architecture | None, gpu: GpuProfile, weight_dtype: WeightDtype
) -> list[str]:
    """Why the GPU cannot take the weights in this format; `architecture` None: whatever the model.

    Formats of 4 bits are fine everywhere: where the GPU can't multiply them, kernels unpack them to
    16 bit on their way in (Marlin).
    """
    if weight_dtype not in WEIGHT_DTYPES:
        known = ", ".join(WEIGHT_DTYPES)
        return [f"weight_dtype must be one of {known}, not {weight_dtype!r}"]
    if weight_dtype == "mxfp4" and architecture is not None and architecture.experts is None:
        return [f"weight_dtype mxfp4 is a format of experts, and {architecture.name} has none"]
    fp8 = gpu.hardware.peak_fp8 is not None and gpu.is_measured("gemm", "fp8")
    formats = architecture.formats_as(weight_dtype) if architecture else Formats()
    return [
        f"weight_dtype {dtype}: {gpu.name} has no fp8 matrix units in its profile; take a bf16 or"
        " int4 checkpoint, or another GPU"
        for dtype in formats.all
        if dtype.startswith("fp8") and not fp8
    ]


def kv_cache_refusals(gpu: GpuProfile, kv_cache_dtype: KvCacheDtype) -> list[str]:
    """Why the GPU cannot keep keys and values in this format."""
    if kv_cache_dtype not in KV_CACHE_DTYPES:
        known = ", ".join(KV_CACHE_DTYPES)
        return [f"kv_cache_dtype must be one of {known}, not {kv_cache_dtype!r}"]
    if kv_cache_dtype == "fp8" and not (
        gpu.hardware.peak_fp8 and gpu.is_measured("decode_attention", "fp8")
    ):
        return [f"kv_cache_dtype fp8: {gpu.name} has no fp8 attention in its profile"]
    return []


def kernel_refusals(
    architecture: Architecture, gpu: GpuProfile, weight_dtype: WeightDtype
) -> list[str]:
    """Kinds of layers the model has and the profile has no measurement of."""
    reasons = []
    if architecture.latent and not gpu.kernels.mla_decode:
        reasons.append("multi-head latent attention (MLA)")
    if architecture.experts and not weight_refusals(architecture, gpu, weight_dtype):
        dtype = architecture.formats_as(weight_dtype).experts
        names = (dtype, *STAND_INS.get(dtype, ()))
        if not any(gpu.is_measured("moe", name) for name in names):
            reasons.append(f"mixture of experts in {dtype}")
    if reasons:
        what = " and no ".join(reasons)
        return [f"{architecture.name}: the profile of {gpu.name} has no {what}"]
    return []
