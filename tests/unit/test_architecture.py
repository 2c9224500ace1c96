"""Model shapes read from config.json: what they say, and clear refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from simulator.cost.catalogue import load_architecture
from simulator.cost.read_config import read_architecture
from simulator.errors import InputError

# A small Qwen2.5: tied embeddings, biased qkv, a stated but unused window.
QWEN25_05B: dict[str, Any] = {
    "model_type": "qwen2",
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
    "max_position_embeddings": 32768,
    "tie_word_embeddings": True,
    "sliding_window": 32768,
    "use_sliding_window": False,
}
MISTRAL_7B_V03: dict[str, Any] = {
    "model_type": "mistral",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 32768,
    "max_position_embeddings": 32768,
    "sliding_window": None,
}


def read(config: dict[str, Any]) -> Any:
    return read_architecture(json.dumps(config, indent=1), name="model", file="config.json")


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (QWEN25_05B, 494_032_768),
        (MISTRAL_7B_V03, 7_248_023_552),
        # Qwen3-0.6B: head_dim is not hidden / heads, queries and keys are normalised
        (
            QWEN25_05B
            | {
                "model_type": "qwen3",
                "hidden_size": 1024,
                "intermediate_size": 3072,
                "num_hidden_layers": 28,
                "num_attention_heads": 16,
                "num_key_value_heads": 8,
                "head_dim": 128,
            },
            596_049_920,
        ),
    ],
)
def test_exact_parameter_counts_of_other_families(config: dict[str, Any], parameters: int) -> None:
    assert read(config).parameters == parameters


def test_a_path_to_the_file_or_to_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "my-mistral"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(MISTRAL_7B_V03))
    from_folder, from_file = load_architecture(folder), load_architecture(folder / "config.json")
    assert from_folder == from_file
    assert from_folder.name == "my-mistral"
    renamed = tmp_path / "seven.json"
    renamed.write_text(json.dumps(MISTRAL_7B_V03))
    assert load_architecture(renamed).name == "seven"


def test_all_missing_and_wrong_keys_are_named_with_their_lines() -> None:
    config = MISTRAL_7B_V03 | {"hidden_size": "big", "tie_word_embeddings": 3}
    for key in ("vocab_size", "num_hidden_layers", "num_key_value_heads"):
        del config[key]
    with pytest.raises(InputError) as caught:
        read(config)
    problems = {problem.field: problem for problem in caught.value.problems}
    assert problems.keys() == {
        "hidden_size",
        "tie_word_embeddings",
        "vocab_size",
        "num_hidden_layers",
        "num_key_value_heads",
    }
    assert "missing" in problems["vocab_size"].message
    assert problems["hidden_size"].line == 3
    assert problems["hidden_size"].file == "config.json"


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"model_type": "mixtral"}, "num_local_experts", "missing"),
        ({"num_local_experts": 8}, "num_local_experts", "experts are not costed yet in mistral"),
        ({"model_type": "deepseek_v3"}, "kv_lora_rank", "missing"),
        ({"kv_lora_rank": 512}, "kv_lora_rank", "MLA"),
        ({"model_type": "deepseek_v32", "index_topk": 2048}, "index_topk", "sparse attention"),
        ({"model_type": "llama", "sliding_window": 4096}, "sliding_window", "llama"),
        ({"layer_types": ["full_attention", "linear_attention"]}, "layer_types", "linear"),
        ({"layer_types": ["full_attention"] * 31}, "layer_types", "31 layers, the model has 32"),
        ({"layer_types": ["sliding_attention"] * 32}, "sliding_window", "missing"),
        ({"quantization_config": {"quant_method": "aqlm"}}, "quantization_config", "aqlm"),
        ({"quantization_config": "awq"}, "quantization_config", "object"),
        ({"model_type": "gpt2"}, "model_type", "llama, mistral, qwen2, qwen3, gemma2"),
        ({"model_type": None}, "model_type", "missing"),
        ({"num_key_value_heads": 5}, "num_key_value_heads", "divide"),
        ({"num_attention_heads": 24, "num_key_value_heads": 8}, "hidden_size", "head_dim"),
        ({"rope_scaling": {"type": "yarn", "factor": "big"}}, "rope_scaling", "numbers"),
        ({"rope_scaling": {"type": "linear", "factor": 1e308}}, "rope_scaling", "length"),
        ({"rope_scaling": {"type": "linear", "factor": float("nan")}}, "rope_scaling", "length"),
        ({"vocab_size": 10**400}, "vocab_size", "at most"),
        ({"layer_types": [["full_attention"]]}, "layer_types", "not costed"),
    ],
)
def test_what_cannot_be_costed_is_refused_with_the_reason(
    change: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(InputError) as caught:
        read(MISTRAL_7B_V03 | change)
    messages = {problem.field: problem.message for problem in caught.value.problems}
    assert words in messages[field]


def test_rope_scaling_stretches_the_context_as_in_vllm() -> None:
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}
    llama3 = {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192}
    assert read(MISTRAL_7B_V03).max_position_embeddings == 32768
    assert read(MISTRAL_7B_V03 | {"rope_scaling": yarn}).max_position_embeddings == 131072
    assert read(MISTRAL_7B_V03 | {"rope_scaling": llama3}).max_position_embeddings == 32768
    linear = {"type": "linear", "factor": 2}
    assert read(MISTRAL_7B_V03 | {"rope_scaling": linear}).max_position_embeddings == 65536


def test_llama_without_kv_heads_is_multi_head_attention() -> None:
    config = MISTRAL_7B_V03 | {"model_type": "llama"}
    del config["num_key_value_heads"]
    assert read(config).num_key_value_heads == 32


def test_a_window_as_long_as_the_context_limits_nothing() -> None:
    assert read(MISTRAL_7B_V03 | {"sliding_window": 4096}).num_window_layers == 32
    assert read(MISTRAL_7B_V03 | {"sliding_window": 32768}).num_window_layers == 0


def test_windows_by_the_habits_of_each_family() -> None:
    gemma2 = MISTRAL_7B_V03 | {"model_type": "gemma2", "sliding_window": 4096, "head_dim": 256}
    model = read(gemma2)
    assert (model.num_window_layers, model.num_full_layers) == (16, 16)
    assert (model.norms_per_layer, model.tie_word_embeddings) == (4, True)
    gemma3 = gemma2 | {"model_type": "gemma3_text", "num_hidden_layers": 26}
    assert read(gemma3).num_full_layers == 4  # every sixth of 26
    qwen = QWEN25_05B | {"use_sliding_window": True, "sliding_window": 4096}
    assert read(qwen | {"max_window_layers": 20}).num_window_layers == 4
    assert read(qwen).num_window_layers == 0  # max_window_layers is 28 where it is not given
    listed = ["sliding_attention", "full_attention", "full_attention"] * 8
    assert read(qwen | {"layer_types": listed}).num_window_layers == 8


def test_layers_without_experts() -> None:
    experts = {
        "model_type": "qwen3_moe",
        "head_dim": 64,
        "num_experts": 16,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 512,
    }
    model = read(QWEN25_05B | experts)
    assert (model.num_expert_layers, model.num_dense_layers) == (24, 0)
    changed = read(QWEN25_05B | experts | {"decoder_sparse_step": 2, "mlp_only_layers": [1, 2]})
    assert changed.num_expert_layers == 11  # layers 3, 5, ... 23: layer 1 is excepted
    # an exchanged layer trades its experts and router for one plain MLP
    layer = 896 * (16 * 3 * 512 + 16) - 896 * 3 * 4864
    assert model.parameters - changed.parameters == 13 * layer
    with pytest.raises(InputError, match="more than the 16 experts"):
        read(QWEN25_05B | experts | {"num_experts_per_tok": 17})


def test_unknown_names_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown model 'gpt-9'.*llama-3.1-8b"):
        load_architecture("gpt-9")
    with pytest.raises(InputError, match="no such model config file"):
        load_architecture(tmp_path / "absent.json")
    broken = tmp_path / "broken.json"
    broken.write_text('{\n"model_type": "llama",\n}')
    with pytest.raises(InputError) as caught:
        load_architecture(broken)
    assert caught.value.problems[0].line is not None
    assert caught.value.problems[0].file == str(broken)
    broken.write_text("[]")
    with pytest.raises(InputError, match="one JSON object"):
        load_architecture(broken)
    for text in (100_000 * "[", 5000 * "9"):
        broken.write_text(text)
        with pytest.raises(InputError, match="not usable JSON"):
            load_architecture(broken)
    broken.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        load_architecture(broken)
