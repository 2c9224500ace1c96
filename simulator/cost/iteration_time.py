"""What one iteration (engine step) of a replica costs, tabulated so that spans stay exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from simulator.cost.architecture import Architecture
from simulator.cost.cuda_graphs import capture_sizes, pad_to_graph
from simulator.cost.kernels import (
    ACTIVATION_BYTES,
    FloatArray,
    all_gather_s,
    all_reduce_s,
    decode_attention_s,
    elementwise_s,
    gemm_s,
    prefill_attention_s,
)
from simulator.cost.sharding import (
    BYTES,
    KvCacheDtype,
    Shard,
    WeightDtype,
    check_dtypes,
    resolve_kv_dtype,
    shard,
)

if TYPE_CHECKING:
    from hardware_profiles.profile import GpuProfile


@dataclass(frozen=True)
class CostTable:
    """Iteration costs of one replica, all float64 seconds.

    An iteration of m tokens and b requests, d of them decoding with S tokens of context in all
    (after the step), and prefill chunks of n_i tokens reaching context C_i, takes

        token_s[m] + seq_s[b] + [d > 0] (decode_fixed_s[d] + decode_context_s[d] S)
        + [chunks] (p[0] + sum_i (p[1] n_i + p[2] C_i + p[3] n_i (C_i - (n_i - 1) / 2)))

    with p = prefill_s. It is affine in S for fixed m, b and d. CUDA-graph padding is inside the
    tables; index 0 is never used by an iteration and holds 0.
    """

    token_s: FloatArray  # [max_num_batched_tokens + 1]
    seq_s: FloatArray  # [max_num_seqs + 1]
    decode_fixed_s: FloatArray  # [max_num_seqs + 1]
    decode_context_s: FloatArray  # [max_num_seqs + 1]
    prefill_s: FloatArray  # [4]

    def iteration_s(
        self,
        decodes: int,
        decode_context_tokens: int,
        chunks: Sequence[tuple[int, int]] = (),
    ) -> float:
        """Seconds of one iteration; `chunks` are (new tokens, context after them) pairs."""
        tokens = decodes + sum(new for new, _ in chunks)
        total = self.token_s[tokens] + self.seq_s[decodes + len(chunks)]
        if decodes:
            total += self.decode_fixed_s[decodes]
            total += self.decode_context_s[decodes] * decode_context_tokens
        if chunks:
            fixed, per_token, per_context, per_pair = self.prefill_s
            total += fixed
            for new, context in chunks:
                pairs = new * (context - (new - 1) / 2)
                total += per_token * new + per_context * context + per_pair * pairs
        return float(total)


def tabulate(
    architecture: Architecture,
    gpu: GpuProfile,
    *,
    tensor_parallel_size: int,
    weight_dtype: WeightDtype,
    kv_cache_dtype: KvCacheDtype,
    max_num_batched_tokens: int,
    max_num_seqs: int,
) -> CostTable:
    """Tabulate the iteration time of a model on `tensor_parallel_size` GPUs (docs/model.md).

    `max_num_batched_tokens` and `max_num_seqs` are the scheduler's limits, hence the lengths of
    the tables. Raises InputError if the model can't be split or the GPU lacks the number format.
    """
    check_dtypes(gpu, weight_dtype, kv_cache_dtype)
    part = shard(architecture, tensor_parallel_size)
    kv_dtype = resolve_kv_dtype(kv_cache_dtype)
    sizes = capture_sizes(max_num_seqs, max_num_batched_tokens)
    tokens = np.arange(1, max_num_batched_tokens + 1)
    requests = np.arange(1, max_num_seqs + 1)
    layers = architecture.num_hidden_layers

    decodes = pad_to_graph(requests, sizes).astype(np.float64)
    fixed_s, context_s = decode_attention_s(
        decodes, part.kv_heads, architecture.head_dim, kv_dtype, gpu
    )
    prefill_s = prefill_attention_s(
        part.q_heads, part.kv_heads, architecture.head_dim, kv_dtype, gpu
    )
    # Decodes and chunks of one iteration share one kernel call: what every call costs at least
    # belongs to the iteration, only the excess to the decodes or the chunks.
    call_s = min(float(fixed_s.min()), float(prefill_s[0]))
    prefill_s[0] -= call_s

    padded = pad_to_graph(tokens, sizes).astype(np.float64)
    per_token = token_components(part, gpu, weight_dtype, kv_dtype, padded)
    per_token["attention call"] = np.full_like(padded, layers * call_s)
    per_request = request_components(part, gpu, requests.astype(np.float64))
    prefill_s = layers * prefill_s
    return CostTable(
        token_s=_from_one(sum(per_token.values(), np.zeros(len(tokens)))),
        seq_s=_from_one(sum(per_request.values(), np.zeros(len(requests)))),
        decode_fixed_s=_from_one(layers * (fixed_s - call_s)),
        decode_context_s=_from_one(layers * context_s),
        prefill_s=prefill_s,
    )


def token_components(
    part: Shard, gpu: GpuProfile, weight_dtype: WeightDtype, kv_dtype: WeightDtype, m: FloatArray
) -> dict[str, FloatArray]:
    """Seconds of an iteration that depend on its m tokens alone, by component, all layers."""
    model, tp = part.architecture, part.tensor_parallel_size
    layers, hidden, head = model.num_hidden_layers, model.hidden_size, model.head_dim
    q_width, kv_width = part.q_heads * head, part.kv_heads * head
    inner = model.intermediate_size // tp
    components = {
        matrix.name: layers * gemm_s(m, matrix.n, matrix.k, weight_dtype, gpu)
        for matrix in part.layer_matrices
    }
    # Per layer and token: two norms that also add the residual (read two vectors, write two),
    # rotary embedding in place, the copy into the KV cache, and SiLU(gate) * up.
    values = 2 * 4 * hidden + 2 * (q_width + kv_width) + 2 * kv_width + 3 * inner
    launches = 5
    if model.qk_norm:
        values, launches = values + 2 * (q_width + kv_width), launches + 1
    moved = ACTIVATION_BYTES * values + 2 * kv_width * BYTES[kv_dtype]
    embedding_and_last_norm = elementwise_s(m * (6 * hidden * ACTIVATION_BYTES), 2, gpu)
    components["elementwise"] = (
        layers * elementwise_s(m * moved, launches, gpu) + embedding_and_last_norm
    )
    # After attention, after the MLP, and once for the embedding split over the vocabulary.
    message = m * (hidden * ACTIVATION_BYTES)
    components["all-reduce"] = (2 * layers + 1) * all_reduce_s(message, tp, gpu)
    components["host"] = np.full_like(m, gpu.host.iteration.si)
    return components


def request_components(part: Shard, gpu: GpuProfile, b: FloatArray) -> dict[str, FloatArray]:
    """Seconds of an iteration that depend on its b requests alone, by component."""
    head = part.lm_head
    logits = b * (head.n * part.tensor_parallel_size)
    sampling = gpu.kernels.sampling.traffic.si
    return {
        # vLLM keeps the output head in 16 bit in fp8 checkpoints too
        "lm_head": gemm_s(b, head.n, head.k, "bf16", gpu),
        "all-gather": all_gather_s(logits * ACTIVATION_BYTES, part.tensor_parallel_size, gpu),
        "sampling": elementwise_s(logits * sampling, 0, gpu),
        "host per request": b * gpu.host.request.si,
    }


def _from_one(values: FloatArray) -> NDArray[np.float64]:
    """Prepend the entry for 0 tokens or requests.

    The tables stay writable: Numba compiles a function anew for read-only arrays.
    """
    return np.concatenate(([0.0], values))
