"""What one GPU holds of a model under tensor and expert parallelism (arXiv 1909.08053, vLLM)."""

from __future__ import annotations

from dataclasses import dataclass

from hardware_profiles.dtypes import BYTES, KvDtype
from simulator.cost.architecture import Architecture
from simulator.cost.number_formats import Formats, KvCacheDtype, Part, resolve_kv_dtype
from simulator.errors import InputError

TENSOR_PARALLEL_SIZES = (1, 2, 4, 8)
VOCAB_PADDING = 64  # vLLM pads the vocabulary to a multiple of this before splitting it
BLOCK = 128  # side of the blocks that share a scale in fp8_block
MXFP4_GROUP = 32  # elements that share a scale in mxfp4; vLLM splits experts into whole groups


@dataclass(frozen=True)
class Matrix:
    """A weight matrix on one GPU, Y[m, n] = X[m, k] W[k, n], in each of `layers` layers.

    `copies` is how many of them a layer has (its experts). `in_attention`: it is multiplied inside
    the attention kernels (MLA's kv_b_proj).
    """

    name: str
    n: int
    k: int
    part: Part
    layers: int
    copies: int = 1
    in_attention: bool = False

    @property
    def parameters(self) -> int:
        """Weights in all layers of this GPU."""
        return self.layers * self.copies * self.n * self.k


@dataclass(frozen=True)
class Shard:
    """One GPU's share of a model.

    `layer_matrices` multiply every token, `expert_matrices` those that the router sends. Query
    heads are split; KV heads are split or, where there are more GPUs than KV heads, replicated, and
    the latent cache of MLA is replicated whole.
    """

    architecture: Architecture
    tensor_parallel_size: int
    expert_parallel_size: int  # 1, or all of the GPUs
    q_heads: int
    kv_heads: int
    layer_matrices: tuple[Matrix, ...]
    expert_matrices: tuple[Matrix, ...]
    lm_head: Matrix

    def weight_bytes(self, formats: Formats) -> int:
        """Bytes of weights on this GPU, scales included.

        Formats apply to the layers' matrices; embeddings, output head, routers, norms and biases
        (the last two counted whole on every GPU) stay in 16 bit.
        """
        model = self.architecture
        matrices = (*self.layer_matrices, *self.expert_matrices)
        linear = sum(BYTES[formats.of(m.part)] * m.parameters for m in matrices)
        tables = self.lm_head.parameters * (1 if model.tie_word_embeddings else 2)
        return int(linear + 2 * (tables + self._vectors() + self._absorbed()))

    @property
    def cached_width(self) -> int:
        """Values that one token keeps in the cache of one layer on this GPU."""
        model = self.architecture
        return model.latent.cached_width if model.latent else 2 * self.kv_heads * model.head_dim

    def kv_bytes_per_token(self, kv_cache_dtype: KvCacheDtype | KvDtype) -> int:
        """Bytes of keys and values one token keeps on this GPU while all layers see it."""
        elements = self.architecture.num_hidden_layers * self.cached_width
        return int(elements * BYTES[resolve_kv_dtype(kv_cache_dtype)])

    def _vectors(self) -> int:
        model, experts = self.architecture, self.architecture.experts
        if experts is None or not experts.bias:
            return model.vector_parameters
        # the experts' own biases are many enough to matter, and are split
        per_expert = 2 * experts.intermediate_size + model.hidden_size
        biases = model.num_expert_layers * experts.num_experts * per_expert
        return model.vector_parameters - biases + biases // self.tensor_parallel_size

    def _absorbed(self) -> int:
        """MLA: a second, 16-bit copy of kv_b_proj, absorbed into query and output (vLLM)."""
        return sum(m.parameters for m in self.layer_matrices if m.in_attention)


def shard(
    architecture: Architecture,
    tensor_parallel_size: int,
    enable_expert_parallel: bool = False,
    formats: Formats | None = None,
) -> Shard:
    """Split a model over `tensor_parallel_size` GPUs (1, 2, 4 or 8).

    With `enable_expert_parallel` the GPUs hold whole experts instead of slices of every expert;
    attention, shared experts and dense layers stay tensor parallel. `formats` default to the
    checkpoint's. Raises InputError with every reason why the model can't be split this way.
    """
    tp, model = tensor_parallel_size, architecture
    formats = formats or model.formats
    if tp not in TENSOR_PARALLEL_SIZES:
        raise InputError(f"tensor_parallel_size must be one of 1, 2, 4, 8, not {tp}")
    if enable_expert_parallel and model.experts is None:
        raise InputError(f"enable_expert_parallel: {model.name} has no experts")
    ep = tp if enable_expert_parallel else 1
    reasons = _refusals(model, tp, ep, formats)
    if reasons:
        raise InputError(
            f"tensor_parallel_size {tp} cannot split {model.name}: it has {', '.join(reasons)}"
        )
    q_heads = model.num_attention_heads // tp
    kv_heads = max(1, model.num_key_value_heads // tp)
    vocab = -(-model.vocab_size // VOCAB_PADDING) * VOCAB_PADDING
    return Shard(
        architecture=model,
        tensor_parallel_size=tp,
        expert_parallel_size=ep,
        q_heads=q_heads,
        kv_heads=kv_heads,
        layer_matrices=(*_attention(model, q_heads, kv_heads), *_mlps(model, tp)),
        expert_matrices=_experts(model, tp, ep, formats),
        lm_head=Matrix("lm_head", vocab // tp, model.hidden_size, "plain", 1),
    )


def _attention(model: Architecture, q_heads: int, kv_heads: int) -> list[Matrix]:
    """Projections of one GPU's heads; those into MLA's latents are whole on every GPU."""
    hidden, latent, layers = model.hidden_size, model.latent, model.num_hidden_layers

    def matrix(name: str, n: int, k: int) -> Matrix:
        return Matrix(name, n, k, "attention", layers)

    if latent is None:
        return [
            matrix("qkv_proj", (q_heads + 2 * kv_heads) * model.head_dim, hidden),
            matrix("o_proj", hidden, q_heads * model.head_dim),
        ]
    rank, queries = latent.q_lora_rank, q_heads * latent.qk_head_dim
    query = [matrix("q_b_proj", queries, rank)] if rank else [matrix("q_proj", queries, hidden)]
    return [
        matrix("qkv_a_proj", rank + latent.cached_width, hidden),
        *query,
        Matrix(
            "kv_b_proj",
            q_heads * (latent.qk_nope_head_dim + latent.v_head_dim),
            latent.kv_lora_rank,
            "attention",
            layers,
            in_attention=True,
        ),
        matrix("o_proj", hidden, q_heads * latent.v_head_dim),
    ]


def _mlps(model: Architecture, tp: int) -> list[Matrix]:
    """Plain MLPs, routers and the experts that every token visits."""
    hidden, experts, found = model.hidden_size, model.experts, []
    if model.num_dense_layers:
        inner, layers = model.intermediate_size // tp, model.num_dense_layers
        found += [
            Matrix("gate_up_proj", 2 * inner, hidden, "mlp", layers),
            Matrix("down_proj", hidden, inner, "mlp", layers),
        ]
    if experts:
        layers = model.num_expert_layers
        found.append(Matrix("router", experts.num_experts, hidden, "plain", layers))
        if experts.shared_intermediate_size:
            inner = experts.shared_intermediate_size // tp
            found += [
                Matrix("shared_gate_up_proj", 2 * inner, hidden, "mlp", layers),
                Matrix("shared_down_proj", hidden, inner, "mlp", layers),
            ]
    return found


def _experts(model: Architecture, tp: int, ep: int, formats: Formats) -> tuple[Matrix, ...]:
    experts = model.experts
    if experts is None:
        return ()
    inner = expert_width(experts.intermediate_size, tp // ep, formats)
    layers, copies = model.num_expert_layers, -(-experts.num_experts // ep)
    return (
        Matrix("expert_gate_up_proj", 2 * inner, model.hidden_size, "experts", layers, copies),
        Matrix("expert_down_proj", model.hidden_size, inner, "experts", layers, copies),
    )


def expert_width(intermediate_size: int, parts: int, formats: Formats) -> int:
    """Inner size of an expert's slice; mxfp4 is split at its groups, the last slice padded."""
    if formats.experts == "mxfp4" and parts > 1:
        groups = -(-intermediate_size // MXFP4_GROUP)
        return -(-groups // parts) * MXFP4_GROUP
    return intermediate_size // parts


def _refusals(model: Architecture, tp: int, ep: int, formats: Formats) -> list[str]:
    """What of the model `tp` GPUs can't share evenly."""
    reasons = []
    if model.num_attention_heads % tp:
        reasons.append(f"{model.num_attention_heads} attention heads")
    kv_heads = model.num_key_value_heads
    if kv_heads % tp and tp % kv_heads:
        reasons.append(f"{kv_heads} KV heads")
    experts = model.experts
    if model.num_dense_layers:
        reasons += _uneven("an intermediate size", model.intermediate_size, tp, formats.mlp)
    if experts:
        if experts.shared_intermediate_size:
            size = experts.shared_intermediate_size
            reasons += _uneven("a shared expert's size", size, tp, formats.mlp)
        if ep == 1 and formats.experts != "mxfp4":
            size = experts.intermediate_size
            rest = _uneven("an expert's intermediate size", size, tp, formats.experts)
            reasons += [f"{reason} (enable_expert_parallel would do)" for reason in rest]
        if experts.num_experts < ep:
            reasons.append(f"{experts.num_experts} experts")
    return reasons


def _uneven(what: str, size: int, tp: int, dtype: str) -> list[str]:
    if size % tp:
        return [f"{what} of {size}"]
    if dtype == "fp8_block" and tp > 1 and size // tp % BLOCK:
        return [f"{what} of {size}, not whole {BLOCK}-wide fp8 blocks for each GPU"]
    return []
