"""Number formats of weights and KV cache, and what a setting means for a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from hardware_profiles.dtypes import Dtype, KvDtype

WeightDtype = Literal["auto", "bf16", "fp8", "fp8_block", "int4", "mxfp4", "nvfp4"]
KvCacheDtype = Literal["auto", "bf16", "fp8"]
Part = Literal["attention", "mlp", "experts", "plain"]

DTYPES: tuple[Dtype, ...] = get_args(Dtype)
WEIGHT_DTYPES: tuple[WeightDtype, ...] = get_args(WeightDtype)
KV_CACHE_DTYPES: tuple[KvCacheDtype, ...] = get_args(KvCacheDtype)


@dataclass(frozen=True)
class Formats:
    """Number format of the matrices of each part of a layer.

    `mlp` is a dense MLP or the experts that every token visits, `experts` the routed ones. Router,
    embeddings, output head, norms and biases are "plain": 16 bit in every checkpoint.
    """

    attention: Dtype = "bf16"
    mlp: Dtype = "bf16"
    experts: Dtype = "bf16"

    def of(self, part: Part) -> Dtype:
        """The format of one part."""
        return "bf16" if part == "plain" else getattr(self, part)

    @property
    def all(self) -> tuple[Dtype, ...]:
        """Every format in use, once, in the order of `DTYPES`."""
        used = {self.attention, self.mlp, self.experts}
        return tuple(dtype for dtype in DTYPES if dtype in used)


def everything(dtype: Dtype) -> Formats:
    """All matrices of the layers in one format."""
    return Formats(dtype, dtype, dtype)


def formats(
    own: Formats, weight_dtype: WeightDtype, *, has_experts: bool, has_latent: bool = False
) -> Formats:
    """What `weight_dtype` makes of a model whose checkpoint has the formats `own`.

    `auto` is the checkpoint itself, and so is a format it already has (gpt-oss in mxfp4 keeps its
    attention in 16 bit). Otherwise every matrix of the layers gets the format, with two exceptions
    that published checkpoints share: mxfp4 exists for experts alone, and nvfp4 leaves multi-head
    latent attention in 16 bit.
    """
    if weight_dtype == "auto" or (weight_dtype != "bf16" and weight_dtype in own.all):
        return own
    if weight_dtype == "mxfp4" and has_experts:
        return Formats(experts="mxfp4")
    if weight_dtype == "nvfp4" and has_latent:
        return Formats(mlp="nvfp4", experts="nvfp4")
    return everything(weight_dtype)


def resolve_kv_dtype(kv_cache_dtype: KvCacheDtype | KvDtype) -> KvDtype:
    """`auto` is the model's own 16-bit type, also where the weights are fp8 (as in vLLM)."""
    return "bf16" if kv_cache_dtype == "auto" else kv_cache_dtype
