"""What a decoder-only transformer is made of, and how many weights that takes."""

from __future__ import annotations

from dataclasses import dataclass, field

from simulator.cost.number_formats import Formats, WeightDtype, formats


@dataclass(frozen=True)
class LatentAttention:
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434), in Hugging Face's key names.

    A token caches one latent vector and one rotary key, shared by all heads. `q_lora_rank` 0:
    queries are projected directly.
    """

    q_lora_rank: int
    kv_lora_rank: int
    qk_nope_head_dim: int
    qk_rope_head_dim: int
    v_head_dim: int

    @property
    def qk_head_dim(self) -> int:
        """Width of a query or key of one head."""
        return self.qk_nope_head_dim + self.qk_rope_head_dim

    @property
    def cached_width(self) -> int:
        """Values that one token caches per layer."""
        return self.kv_lora_rank + self.qk_rope_head_dim


@dataclass(frozen=True)
class Experts:
    """Mixture of experts: a router sends each token to `num_experts_per_tok` of `num_experts`.

    `intermediate_size` is that of one expert, `shared_intermediate_size` that of the experts every
    token visits, taken together. The first (or otherwise excepted) `num_dense_layers` layers have a
    plain MLP. `bias`: the router and the experts' projections add one (gpt-oss);
    `score_correction`: the router adds one number per expert to its scores (DeepSeek-V3).
    """

    num_experts: int
    num_experts_per_tok: int
    intermediate_size: int
    shared_intermediate_size: int = 0
    num_dense_layers: int = 0
    bias: bool = False
    score_correction: bool = False


@dataclass(frozen=True)
class Architecture:
    """Shape of a decoder-only transformer with gated MLPs.

    Field names are those of Hugging Face configs. `qkv_bias`, `o_bias` and `mlp_bias` say which
    projections add a bias, `qk_norm_width` how many query and key values are normalised with
    weights of their own (0: none). `num_window_layers` layers see only the last `sliding_window`
    tokens. `num_key_value_heads` and `head_dim` mean nothing where
    `latent` is given. `formats` are the number formats of the published checkpoint.
    """

    name: str
    model_type: str
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    max_position_embeddings: int
    tie_word_embeddings: bool
    qkv_bias: bool = False
    o_bias: bool = False
    mlp_bias: bool = False
    qk_norm_width: int = 0
    norms_per_layer: int = 2
    attention_sinks: bool = False
    sliding_window: int = 0
    num_window_layers: int = 0
    latent: LatentAttention | None = None
    experts: Experts | None = None
    formats: Formats = field(default_factory=Formats)

    @property
    def num_full_layers(self) -> int:
        """Layers whose attention sees the whole context."""
        return self.num_hidden_layers - self.num_window_layers

    @property
    def num_expert_layers(self) -> int:
        """Layers with a mixture of experts."""
        return self.num_hidden_layers - self.experts.num_dense_layers if self.experts else 0

    @property
    def num_dense_layers(self) -> int:
        """Layers with a plain MLP."""
        return self.num_hidden_layers - self.num_expert_layers

    @property
    def qkv_size(self) -> int:
        """Outputs of the fused query, key and value projection."""
        return (self.num_attention_heads + 2 * self.num_key_value_heads) * self.head_dim

    @property
    def attention_parameters(self) -> int:
        """Weights of the matrix products of one layer's attention."""
        hidden, heads, latent = self.hidden_size, self.num_attention_heads, self.latent
        if latent is None:
            return hidden * (self.qkv_size + heads * self.head_dim)
        rank, queries = latent.q_lora_rank, heads * latent.qk_head_dim
        down = hidden * (rank + latent.cached_width)
        up = (rank or hidden) * queries + latent.kv_lora_rank * heads * (
            latent.qk_nope_head_dim + latent.v_head_dim
        )
        return down + up + heads * latent.v_head_dim * hidden

    @property
    def linear_parameters(self) -> int:
        """Weights of all matrix products inside the layers but the routers'."""
        return self._linear(self.experts.num_experts if self.experts else 0)

    @property
    def parameters(self) -> int:
        """All parameters, embeddings and output head included (the published count)."""
        tables = 1 if self.tie_word_embeddings else 2
        return self.linear_parameters + self._rest() + tables * self.embedding_parameters

    @property
    def active_parameters(self) -> int:
        """Parameters that one token is computed with; looking up its embedding counts nothing."""
        experts = self.experts
        visited = experts.num_experts_per_tok if experts else 0
        idle = (experts.num_experts - visited) * self._expert_vectors if experts else 0
        return self._linear(visited) + self._rest() - idle + self.embedding_parameters

    @property
    def embedding_parameters(self) -> int:
        """Weights of the embedding, and of the output head unless they are tied."""
        return self.vocab_size * self.hidden_size

    @property
    def vector_parameters(self) -> int:
        """Norms, biases and the like: everything that is no matrix."""
        experts = self.experts
        norms = self.norms_per_layer * self.hidden_size + self.qk_norm_width
        if self.latent:
            norms += self.latent.q_lora_rank + self.latent.kv_lora_rank
        sinks = self.num_attention_heads if self.attention_sinks else 0
        attention = self.qkv_size * self.qkv_bias + self.hidden_size * self.o_bias
        mlp = 2 * self.intermediate_size + self.hidden_size if self.mlp_bias else 0
        per_layer = norms + sinks + attention
        total = self.num_hidden_layers * per_layer + self.num_dense_layers * mlp + self.hidden_size
        return total + (experts.num_experts * self._expert_vectors if experts else 0)

    @property
    def router_parameters(self) -> int:
        """Weights of all routers."""
        experts = self.experts
        return self.num_expert_layers * self.hidden_size * experts.num_experts if experts else 0

    @property
    def cached_width(self) -> int:
        """Values that one token keeps in the cache of one layer, over the whole model."""
        if self.latent:
            return self.latent.cached_width
        return 2 * self.num_key_value_heads * self.head_dim

    def kv_bytes_per_token(self, bytes_per_element: int = 2) -> int:
        """Bytes of keys and values one token keeps, over all layers and the whole model.

        A layer with a sliding window gives up tokens that have left it.
        """
        return self.num_hidden_layers * self.cached_width * bytes_per_element

    @property
    def _expert_vectors(self) -> int:
        """Biases that belong to one expert, over all layers."""
        if self.experts is None:
            return 0
        bias = 2 * self.experts.intermediate_size + self.hidden_size + 1 if self.experts.bias else 0
        return self.num_expert_layers * (bias + (1 if self.experts.score_correction else 0))

    def formats_as(self, weight_dtype: WeightDtype) -> Formats:
        """Number formats of the weights under a `weight_dtype`; `auto`: the checkpoint's."""
        return formats(
            self.formats,
            weight_dtype,
            has_experts=self.experts is not None,
            has_latent=self.latent is not None,
        )

    def _linear(self, experts_counted: int) -> int:
        total = self.num_hidden_layers * self.attention_parameters
        total += self.num_dense_layers * 3 * self.hidden_size * self.intermediate_size
        if self.experts:
            inner = experts_counted * self.experts.intermediate_size
            inner += self.experts.shared_intermediate_size
            total += self.num_expert_layers * 3 * self.hidden_size * inner
        return total

    def _rest(self) -> int:
        return self.router_parameters + self.vector_parameters
