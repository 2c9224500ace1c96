"""What one GPU holds of a model under tensor parallelism (Megatron-LM, arXiv 1909.08053)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from simulator.cost.architecture import Architecture
from simulator.errors import InputError

if TYPE_CHECKING:
    from hardware_profiles.profile import GpuProfile

WeightDtype = Literal["bf16", "fp8"]
KvCacheDtype = Literal["auto", "bf16", "fp8"]

TENSOR_PARALLEL_SIZES = (1, 2, 4, 8)
BYTES = {"bf16": 2, "fp8": 1}
VOCAB_PADDING = 64  # vLLM pads the vocabulary to a multiple of this before splitting it


@dataclass(frozen=True)
class Matrix:
    """A weight matrix on one GPU: Y[m, n] = X[m, k] W[k, n]."""

    name: str
    n: int
    k: int


@dataclass(frozen=True)
class Shard:
    """One GPU's share of a model.

    `layer_matrices` are those of one layer; query heads are split, KV heads split or (when there
    are more GPUs than KV heads) replicated.
    """

    architecture: Architecture
    tensor_parallel_size: int
    q_heads: int
    kv_heads: int
    layer_matrices: tuple[Matrix, ...]
    lm_head: Matrix

    @property
    def vector_parameters(self) -> int:
        """Norms and biases, which every GPU keeps (biases of split outputs counted whole)."""
        model = self.architecture
        embeddings = model.vocab_size * model.hidden_size
        tables = embeddings if model.tie_word_embeddings else 2 * embeddings
        return model.parameters - model.linear_parameters - tables

    def weight_bytes(self, weight_dtype: WeightDtype) -> int:
        """Bytes of weights on this GPU: fp8 applies to the layers' matrices, the rest is 16 bit."""
        model = self.architecture
        linear = model.num_hidden_layers * sum(m.n * m.k for m in self.layer_matrices)
        head = self.lm_head.n * self.lm_head.k
        tables = head if model.tie_word_embeddings else 2 * head
        return linear * BYTES[weight_dtype] + 2 * (tables + self.vector_parameters)

    def kv_bytes_per_token(self, kv_cache_dtype: KvCacheDtype) -> int:
        """Bytes of keys and values one token keeps on this GPU."""
        model = self.architecture
        elements = 2 * model.num_hidden_layers * self.kv_heads * model.head_dim
        return elements * BYTES[resolve_kv_dtype(kv_cache_dtype)]


def resolve_kv_dtype(kv_cache_dtype: KvCacheDtype) -> WeightDtype:
    """`auto` is the model's own 16-bit type, also where the weights are fp8 (as in vLLM)."""
    return "bf16" if kv_cache_dtype == "auto" else kv_cache_dtype


def shard(architecture: Architecture, tensor_parallel_size: int) -> Shard:
    """Split a model over `tensor_parallel_size` GPUs (1, 2, 4 or 8); InputError if it can't be."""
    tp, model = tensor_parallel_size, architecture
    if tp not in TENSOR_PARALLEL_SIZES:
        raise InputError(f"tensor_parallel_size must be one of 1, 2, 4, 8, not {tp}")
    reasons = []
    if model.num_attention_heads % tp:
        reasons.append(f"{model.num_attention_heads} attention heads")
    if model.intermediate_size % tp:
        reasons.append(f"an intermediate size of {model.intermediate_size}")
    if model.num_key_value_heads % tp and tp % model.num_key_value_heads:
        reasons.append(f"{model.num_key_value_heads} KV heads")
    if reasons:
        raise InputError(
            f"tensor_parallel_size {tp} cannot split {model.name}: it has {', '.join(reasons)}"
        )
    q_heads = model.num_attention_heads // tp
    kv_heads = max(1, model.num_key_value_heads // tp)
    head, hidden, inner = model.head_dim, model.hidden_size, model.intermediate_size // tp
    vocab = -(-model.vocab_size // VOCAB_PADDING) * VOCAB_PADDING
    return Shard(
        architecture=model,
        tensor_parallel_size=tp,
        q_heads=q_heads,
        kv_heads=kv_heads,
        layer_matrices=(
            Matrix("qkv_proj", (q_heads + 2 * kv_heads) * head, hidden),
            Matrix("o_proj", hidden, q_heads * head),
            Matrix("gate_up_proj", 2 * inner, hidden),
            Matrix("down_proj", hidden, inner),
        ),
        lm_head=Matrix("lm_head", vocab // tp, hidden),
    )


def check_dtypes(gpu: GpuProfile, weight_dtype: WeightDtype, kv_cache_dtype: KvCacheDtype) -> None:
    """Refuse fp8 on a GPU whose profile has none, and unknown types; InputError with the reason."""
    problems = []
    if weight_dtype not in BYTES:
        problems.append(f"weight_dtype must be bf16 or fp8, not {weight_dtype!r}")
    if kv_cache_dtype not in ("auto", *BYTES):
        problems.append(f"kv_cache_dtype must be auto, bf16 or fp8, not {kv_cache_dtype!r}")
    if weight_dtype == "fp8" and (gpu.hardware.peak_fp8 is None or "fp8" not in gpu.kernels.gemm):
        problems.append(f"weight_dtype fp8: {gpu.name} has no fp8 matrix units in its profile")
    if kv_cache_dtype == "fp8" and (
        "fp8" not in gpu.kernels.decode_attention or "fp8" not in gpu.kernels.prefill_attention
    ):
        problems.append(f"kv_cache_dtype fp8: {gpu.name} has no fp8 attention in its profile")
    if problems:
        raise InputError("\n".join(problems))
