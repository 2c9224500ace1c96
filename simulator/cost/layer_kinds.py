"""Which layers of a Hugging Face config have a sliding window, and which a mixture of experts."""

from __future__ import annotations

from simulator.cost.architecture import Experts
from simulator.cost.hf_config import HfConfig

# model type -> keys of the number of experts and of the inner size of one
EXPERT_KEYS = {
    "mixtral": ("num_local_experts", "intermediate_size"),
    "gpt_oss": ("num_local_experts", "intermediate_size"),
    "minimax_m2": ("num_local_experts", "intermediate_size"),
    "qwen3_moe": ("num_experts", "moe_intermediate_size"),
    "glm4_moe": ("n_routed_experts", "moe_intermediate_size"),
    "deepseek_v2": ("n_routed_experts", "moe_intermediate_size"),
    "deepseek_v3": ("n_routed_experts", "moe_intermediate_size"),
    "kimi_k2": ("n_routed_experts", "moe_intermediate_size"),
}
# Keys that number the experts; 0, 1 or null mean a dense model.
ANY_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
FULL, SLIDING = "full_attention", "sliding_attention"


def read_experts(config: HfConfig, model_type: str, layers: int) -> Experts | None:
    """The mixture of experts of this config; None for a dense model."""
    if model_type not in EXPERT_KEYS:
        return None
    number_key, size_key = EXPERT_KEYS[model_type]
    number = config.positive(number_key)
    visited, size = config.positive("num_experts_per_tok"), config.positive(size_key)
    if visited > number:
        config.complain("num_experts_per_tok", f"{visited} is more than the {number} experts")
    return Experts(
        num_experts=number,
        num_experts_per_tok=visited,
        intermediate_size=size,
        shared_intermediate_size=config.natural("n_shared_experts") * size,
        num_dense_layers=_num_dense_layers(config, layers),
        bias=model_type == "gpt_oss",
        score_correction=model_type in ("deepseek_v3", "kimi_k2", "glm4_moe", "minimax_m2"),
    )


def _num_dense_layers(config: HfConfig, layers: int) -> int:
    first, frequency = config.natural("first_k_dense_replace"), config.positive("moe_layer_freq", 1)
    step, listed = config.positive("decoder_sparse_step", 1), config.data.get("mlp_only_layers")
    excepted = set(listed) if isinstance(listed, list) else set()
    sparse = [
        i
        for i in range(min(layers, 10_000))
        if i >= first and i % frequency == 0 and (i + 1) % step == 0 and i not in excepted
    ]
    if not sparse:
        config.complain("num_hidden_layers", "none of the layers has experts")
    return layers - len(sparse)


def read_windows(config: HfConfig, model_type: str, layers: int, longest: int) -> tuple[int, int]:
    """(window in tokens, layers that have it); (0, 0) where no layer's view is limited."""
    kinds = _listed_kinds(config, layers)
    if kinds is None:
        kinds = _kinds_by_family(config, model_type, layers)
    count = kinds.count(SLIDING)
    if not count:
        return 0, 0
    window = config.positive("sliding_window")
    return (window, count) if window < longest else (0, 0)


def _listed_kinds(config: HfConfig, layers: int) -> list[str] | None:
    """The `layer_types` of the config, if it has them and they can be costed."""
    listed = config.data.get("layer_types")
    if listed is None:
        return None
    kinds = [str(kind) for kind in listed] if isinstance(listed, list) else [str(listed)]
    others = sorted(set(kinds) - {FULL, SLIDING})
    if others:
        config.complain("layer_types", f"layers of {', '.join(others)} are not costed yet")
        return []
    if len(kinds) != layers:
        config.complain("layer_types", f"lists {len(kinds)} layers, the model has {layers}")
    return kinds


def _kinds_by_family(config: HfConfig, model_type: str, layers: int) -> list[str]:
    """Kinds of layers by the habits of each model type, for configs that don't list them."""
    every = range(min(layers, 10_000))
    if not config.data.get("sliding_window"):
        return [FULL]
    if model_type in ("mistral", "mixtral"):
        return [SLIDING for _ in every]
    if model_type.startswith("qwen"):
        # Qwen states a window, but uses it only where it says so, and only in the later layers
        if not config.flag("use_sliding_window"):
            return [FULL]
        first = config.natural("max_window_layers", 28)
        return [SLIDING if i >= first else FULL for i in every]
    if model_type == "gemma3_text":
        period = config.positive("sliding_window_pattern", 6)
        return [FULL if (i + 1) % period == 0 else SLIDING for i in every]
    if model_type in ("gemma2", "gpt_oss"):
        return [SLIDING if i % 2 == 0 else FULL for i in every]
    config.complain("sliding_window", f"a sliding window is not costed yet in {model_type} models")
    return [FULL]
