"""Bytes that one attention layer moves on one GPU, and the operations it does."""

from __future__ import annotations

from dataclasses import dataclass

from hardware_profiles.dtypes import ACTIVATION_BYTES, BYTES, KvDtype
from simulator.cost.sharding import Shard


@dataclass(frozen=True)
class AttentionWork:
    """Work of one layer by what it is proportional to.

    Decodes: `call_bytes` once, `request_flops` per request, `context_bytes` and `context_flops` per
    token of context. Chunks: `chunk_bytes` per token of the chunk, `seen_bytes` and `seen_flops`
    per token of context, `pair_flops` per query-key pair.
    """

    call_bytes: float
    request_flops: float
    context_bytes: float
    context_flops: float
    chunk_bytes: float
    seen_bytes: float
    seen_flops: float
    pair_flops: float


def attention_work(part: Shard, kv_dtype: KvDtype) -> AttentionWork:
    """The work of one attention layer of this shard."""
    model, heads = part.architecture, part.q_heads
    cached_bytes = part.cached_width * BYTES[kv_dtype]
    if model.latent is None:
        per_pair = 4.0 * heads * model.head_dim
        return AttentionWork(
            call_bytes=0.0,
            request_flops=0.0,
            context_bytes=cached_bytes,
            context_flops=per_pair,
            chunk_bytes=ACTIVATION_BYTES * 2.0 * (heads + part.kv_heads) * model.head_dim,
            seen_bytes=cached_bytes,
            seen_flops=0.0,
            pair_flops=per_pair,
        )
    # Decodes work on the latents themselves, with kv_b_proj absorbed into query and output; chunks
    # on keys and values of every head, expanded from the latents of their whole context.
    latent = model.latent
    expanded = heads * (latent.qk_nope_head_dim + latent.v_head_dim)
    kv_b = float(expanded * latent.kv_lora_rank)
    return AttentionWork(
        call_bytes=ACTIVATION_BYTES * kv_b,
        request_flops=2.0 * kv_b,
        context_bytes=cached_bytes,
        context_flops=2.0 * heads * (latent.cached_width + latent.kv_lora_rank),
        chunk_bytes=ACTIVATION_BYTES * heads * float(latent.qk_head_dim + latent.v_head_dim),
        seen_bytes=cached_bytes + 2.0 * ACTIVATION_BYTES * expanded,
        seen_flops=2.0 * kv_b,
        pair_flops=2.0 * heads * (latent.qk_head_dim + latent.v_head_dim),
    )
