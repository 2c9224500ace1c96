"""From a Hugging Face `config.json` to an `Architecture`, or all the reasons why not."""

from __future__ import annotations

from simulator.cost.architecture import Architecture, LatentAttention
from simulator.cost.hf_config import HfConfig, parse_hf_config
from simulator.cost.layer_kinds import ANY_EXPERTS, EXPERT_KEYS, read_experts, read_windows
from simulator.cost.quantization import read_quantization
from simulator.errors import InputError

DENSE_TYPES = ("llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text")
LATENT_TYPES = ("deepseek_v2", "deepseek_v3", "kimi_k2")
MODEL_TYPES = (*DENSE_TYPES, *EXPERT_KEYS)
# The attention kernels of MLA are measured with these sizes.
MEASURED_LATENT = {
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
}
# Defaults of Hugging Face's Gemma3TextConfig, on which published configs rely.
GEMMA3_DEFAULTS = {
    "vocab_size": 262208,
    "max_position_embeddings": 131072,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "sliding_window": 4096,
}


def read_architecture(text: str, *, name: str, file: str) -> Architecture:
    """Build an architecture from the text of a `config.json`; `file` is used in messages.

    Raises InputError with every missing or wrong key, or with what can't be costed.
    """
    config = parse_hf_config(text, file)
    _unwrap(config)
    _refuse_unsupported(config)
    if config.problems:  # the keys of an unsupported architecture mean something else
        raise InputError(config.problems)
    model_type = str(config.data["model_type"])
    latent = _latent(config) if model_type in LATENT_TYPES else None
    heads, kv_heads, head_dim = _heads(config, model_type, latent)
    layers, longest = config.positive("num_hidden_layers"), _longest(config, model_type)
    window, num_window_layers = read_windows(config, model_type, layers, longest)
    attention_bias = config.flag("attention_bias")
    gemma = model_type.startswith("gemma")
    architecture = Architecture(
        name=name,
        model_type=model_type,
        hidden_size=config.positive("hidden_size"),
        intermediate_size=config.positive("intermediate_size"),
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        vocab_size=config.positive("vocab_size"),
        max_position_embeddings=longest,
        tie_word_embeddings=config.flag("tie_word_embeddings", default=gemma),
        qkv_bias=attention_bias or model_type == "qwen2",
        o_bias=attention_bias and model_type != "glm4_moe",
        mlp_bias=config.flag("mlp_bias"),
        qk_norm_width=_qk_norm_width(config, model_type, heads, kv_heads, head_dim),
        norms_per_layer=4 if gemma else 2,
        attention_sinks=model_type == "gpt_oss",
        sliding_window=window,
        num_window_layers=num_window_layers,
        latent=latent,
        experts=read_experts(config, model_type, layers),
        formats=read_quantization(config),
    )
    if config.problems:
        raise InputError(config.problems)
    return architecture


def _unwrap(config: HfConfig) -> None:
    """Take the language model out of a multi-modal Gemma 3; its images are not costed."""
    inner = config.data.get("text_config")
    if config.data.get("model_type") == "gemma3" and isinstance(inner, dict):
        outer = {"quantization_config": config.data.get("quantization_config")}
        config.data = {**outer, **inner, "model_type": "gemma3_text"}
    if config.data.get("model_type") == "gemma3_text":
        config.data = GEMMA3_DEFAULTS | config.data


def _refuse_unsupported(config: HfConfig) -> None:
    """Note every property this cost model has no formula for yet."""
    model_type = config.data.get("model_type")
    if model_type is None:
        config.complain("model_type", "this key is needed to cost the model and is missing")
    elif model_type not in MODEL_TYPES:
        known = ", ".join(MODEL_TYPES)
        config.complain("model_type", f"{model_type!r} is not costed yet (only {known})")
    if model_type not in EXPERT_KEYS:
        for key in ANY_EXPERTS:
            if isinstance(config.data.get(key), int) and config.data[key] > 1:
                message = f"experts are not costed yet in {model_type} models"
                config.complain(key, message)
    if config.data.get("kv_lora_rank") and model_type not in LATENT_TYPES:
        message = f"multi-head latent attention (MLA) is not costed yet in {model_type} models"
        config.complain("kv_lora_rank", message)
    if config.data.get("index_topk"):
        config.complain("index_topk", "sparse attention (DSA) is not costed yet")


def _latent(config: HfConfig) -> LatentAttention:
    for key, size in MEASURED_LATENT.items():
        if config.data.get(key) not in (None, size):
            message = f"latent attention (MLA) is costed for {size} only, as DeepSeek-V3 has it"
            config.complain(key, message)
    return LatentAttention(
        q_lora_rank=config.natural("q_lora_rank"),
        kv_lora_rank=config.positive("kv_lora_rank"),
        qk_nope_head_dim=config.positive("qk_nope_head_dim"),
        qk_rope_head_dim=config.positive("qk_rope_head_dim"),
        v_head_dim=config.positive("v_head_dim"),
    )


def _heads(
    config: HfConfig, model_type: str, latent: LatentAttention | None
) -> tuple[int, int, int]:
    """Query heads, KV heads and the width of a head."""
    heads, hidden = config.positive("num_attention_heads"), config.positive("hidden_size")
    if latent is not None:
        return heads, heads, latent.qk_head_dim
    # Only Llama configs may leave the KV heads out; theirs are then as many as the query heads.
    kv_heads = config.positive("num_key_value_heads", heads if model_type == "llama" else None)
    if heads % kv_heads:
        config.complain("num_key_value_heads", f"{kv_heads} does not divide {heads} query heads")
    if config.data.get("head_dim") is None and hidden % heads:
        config.complain("hidden_size", f"not a multiple of {heads} heads, and no head_dim is given")
    return heads, kv_heads, config.positive("head_dim", max(1, hidden // heads))


def _longest(config: HfConfig, model_type: str) -> int:
    if model_type == "gemma3_text":  # its positions are stated after RoPE scaling, as vLLM knows
        return config.positive("max_position_embeddings")
    return config.max_context_tokens()


def _qk_norm_width(
    config: HfConfig, model_type: str, heads: int, kv_heads: int, head_dim: int
) -> int:
    """Weights that normalise queries and keys: per head dimension, or (MiniMax) over all heads."""
    if model_type == "minimax_m2":
        return (heads + kv_heads) * head_dim if config.flag("use_qk_norm", default=True) else 0
    if model_type == "glm4_moe" and not config.flag("use_qk_norm"):
        return 0
    return 2 * head_dim if model_type in ("qwen3", "qwen3_moe", "gemma3_text", "glm4_moe") else 0
