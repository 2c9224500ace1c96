"""Peak memory of the engine's dummy run at start-up, by which it sizes the KV cache."""

from __future__ import annotations

from hardware_profiles.dtypes import ACTIVATION_BYTES
from simulator.cost.sharding import Shard

# 16-bit logits and their float32 copy, github.com/vllm-project/vllm/pull/48037. Sorting for top-k
# and top-p would take some 41 bytes (pull/10511), but measured runs leave no room for that
# (docs/model.md).
SAMPLER_BYTES_PER_LOGIT = 6
MOE_CHUNK_TOKENS = 32768  # VLLM_FUSED_MOE_CHUNK_SIZE: more tokens pass through in turns
MLA_WORKSPACE_TOKENS = 65536  # context that MLA expands to keys and values at a time


def activation_bytes(part: Shard, max_num_batched_tokens: int, max_num_seqs: int) -> int:
    """Peak bytes on one GPU of a run of so many tokens and samples.

    The hidden state and the residual of every token live all the time; on top of them comes the
    largest of: a plain MLP (gate and up projections and their product), the experts' workspaces,
    MLA's expanded context, and the sampler, which sees the whole vocabulary of every request even
    under tensor parallelism.
    """
    model = part.architecture
    streams = 2 * max_num_batched_tokens * model.hidden_size * ACTIVATION_BYTES
    samples = min(max_num_seqs, max_num_batched_tokens)
    peaks = [
        samples * model.vocab_size * SAMPLER_BYTES_PER_LOGIT,
        _mlp_bytes(part, max_num_batched_tokens),
        _expert_bytes(part, max_num_batched_tokens),
        _latent_bytes(part),
    ]
    return streams + max(peaks)


def _mlp_bytes(part: Shard, tokens: int) -> int:
    model, experts, tp = part.architecture, part.architecture.experts, part.tensor_parallel_size
    inner = model.intermediate_size if model.num_dense_layers else 0
    if experts:
        inner = max(inner, experts.shared_intermediate_size)
    return 3 * tokens * (inner // tp) * ACTIVATION_BYTES


def _expert_bytes(part: Shard, tokens: int) -> int:
    """vLLM's fused MoE: gate and up share memory with the output; their product; the sum."""
    model, experts = part.architecture, part.architecture.experts
    if experts is None:
        return 0
    inner = part.expert_matrices[1].k
    rows = min(tokens, MOE_CHUNK_TOKENS) * experts.num_experts_per_tok
    values = rows * (max(2 * inner, model.hidden_size) + inner) + tokens * model.hidden_size
    return values * ACTIVATION_BYTES


def _latent_bytes(part: Shard) -> int:
    latent = part.architecture.latent
    if latent is None:
        return 0
    width = part.q_heads * (latent.qk_nope_head_dim + latent.v_head_dim)
    return MLA_WORKSPACE_TOKENS * width * ACTIVATION_BYTES
