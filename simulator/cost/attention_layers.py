"""Attention of all layers: what decodes and chunks cost, move and compute."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hardware_profiles.dtypes import KvDtype
from hardware_profiles.kernels.decode_attention import decode_attention_s
from hardware_profiles.kernels.mla import mla_decode_s, mla_prefill_s
from hardware_profiles.kernels.prefill_attention import prefill_attention_s
from simulator.cost.attention_work import attention_work
from simulator.cost.component import Component, table_fit
from simulator.cost.number_formats import Formats
from simulator.cost.sharding import Shard
from simulator.cost.terms import FloatArray, Terms, TermsBuilder

if TYPE_CHECKING:
    from hardware_profiles.profile import GpuProfile


@dataclass(frozen=True)
class _Kind:
    """Seconds of one attention layer of a kind; `window` is 0 for layers that see everything."""

    prefix: str
    layers: int
    window: int
    decode_fixed_s: FloatArray  # [requests]
    decode_context_s: FloatArray  # [requests]
    prefill_s: FloatArray  # [fixed, chunk token, context token, pair]


def attention_components(
    part: Shard,
    gpu: GpuProfile,
    formats: Formats,
    kv_dtype: KvDtype,
    decodes: FloatArray,
    terms: TermsBuilder,
) -> list[Component]:
    """Decode and prefill attention by kind of layer, and the calls they share.

    `decodes` [requests] are the numbers of decoding requests with CUDA-graph padding. Decodes and
    chunks of one iteration go through the kernel in one call: what every call costs at least
    belongs to the iteration, only the excess to the decodes or the chunks.
    """
    components, calls_s = [], 0.0
    for kind in _kinds(part, gpu, formats, kv_dtype, decodes):
        call_s = min(float(kind.decode_fixed_s.min()), float(kind.prefill_s[0]))
        calls_s += kind.layers * call_s
        components += _components(kind, call_s, part, gpu, kv_dtype, decodes, terms)
    call = Component(
        "attention call",
        seconds=terms(token=calls_s),
        bytes_moved=terms(),
        flops=terms(),
        kind="launch",
        fit=table_fit(gpu, _operations(part)[0], kv_dtype),
    )
    return [call, *components]


def _operations(part: Shard) -> tuple[str, str]:
    """The profile's tables for decodes and for chunks."""
    if part.architecture.latent is not None:
        return "mla_decode", "mla_prefill"
    return "decode_attention", "prefill_attention"


def _kinds(
    part: Shard, gpu: GpuProfile, formats: Formats, kv_dtype: KvDtype, decodes: FloatArray
) -> Iterator[_Kind]:
    model = part.architecture
    if model.latent is not None:
        fixed_s, context_s = mla_decode_s(decodes, part.q_heads, kv_dtype, gpu)
        prefill_s = mla_prefill_s(part.q_heads, kv_dtype, gpu, formats.attention)
        yield _Kind("", model.num_hidden_layers, 0, fixed_s, context_s, prefill_s)
        return
    heads = (part.q_heads, part.kv_heads, model.head_dim, kv_dtype, gpu)
    for prefix, layers, window in (
        ("", model.num_full_layers, 0),
        ("window ", model.num_window_layers, model.sliding_window),
    ):
        if layers:
            fixed_s, context_s = decode_attention_s(decodes, *heads, window_tokens=window)
            prefill_s = prefill_attention_s(*heads, window_tokens=window)
            yield _Kind(prefix, layers, window, fixed_s, context_s, prefill_s)


def _components(
    kind: _Kind,
    call_s: float,
    part: Shard,
    gpu: GpuProfile,
    kv_dtype: KvDtype,
    decodes: FloatArray,
    terms: TermsBuilder,
) -> list[Component]:
    operations, work, layers = _operations(part), attention_work(part, kv_dtype), kind.layers
    shape = {"q_heads": part.q_heads, "kv_heads": part.kv_heads, "heads": part.q_heads}
    shape["head_dim"] = part.architecture.head_dim

    def over_decodes(
        fixed: FloatArray | float, context: FloatArray | float, slowdown: float = 1.0
    ) -> Terms:
        if kind.window:
            return terms(decode=layers * fixed, window=layers * context)
        mixed = layers * context * (slowdown - 1.0)
        return terms(decode=layers * fixed, context=layers * context, mixed=mixed)

    def over_chunks(fixed: float, token: float, context: float, pair: float) -> Terms:
        ends = (0.0, 0.0, context, pair) if kind.window else (context, pair)
        return terms(prefill=layers * np.array([fixed, token, *ends]))

    fixed_s, token_s, context_s, pair_s = kind.prefill_s
    return [
        Component(
            f"{kind.prefix}decode attention",
            seconds=over_decodes(
                kind.decode_fixed_s - call_s, kind.decode_context_s, _mixed_slowdown(part, gpu)
            ),
            bytes_moved=over_decodes(work.call_bytes, work.context_bytes),
            flops=over_decodes(decodes * work.request_flops, work.context_flops),
            peak_flops=gpu.hardware.peak_bf16.si,
            fit=table_fit(gpu, operations[0], kv_dtype),
            shape=shape,
        ),
        Component(
            f"{kind.prefix}prefill attention",
            seconds=over_chunks(fixed_s - call_s, token_s, context_s, pair_s),
            bytes_moved=over_chunks(0.0, work.chunk_bytes, work.seen_bytes, 0.0),
            flops=over_chunks(0.0, 0.0, work.seen_flops, work.pair_flops),
            peak_flops=gpu.hardware.peak_bf16.si,
            fit=table_fit(gpu, operations[1], kv_dtype),
            shape=shape,
        ),
    ]


def _mixed_slowdown(part: Shard, gpu: GpuProfile) -> float:
    """How much slower decodes are in a call that has chunks too.

    FlashAttention 2 packs the query heads of a KV head only where all queries have one token;
    otherwise it reads the keys and values once for each of them. Models with sinks and MLA take
    other kernels there.
    """
    model = part.architecture
    if gpu.mixed_decode is None or model.latent or model.attention_sinks:
        return 1.0
    factor = gpu.mixed_decode.factor
    return part.q_heads / part.kv_heads if factor == "group" else factor
