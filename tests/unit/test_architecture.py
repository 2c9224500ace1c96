"""Model shapes read from config.json: published counts, aliases, and clear refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from simulator.cost.architecture import list_models, load_architecture, read_architecture
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
    ("name", "billions", "kv_bytes", "context"),
    [
        ("llama-3.1-8b", 8.03, 131_072, 131_072),
        ("llama-3.3-70b", 70.55, 327_680, 131_072),
        ("qwen3-32b", 32.76, 262_144, 40_960),
    ],
)
def test_published_sizes(name: str, billions: float, kv_bytes: int, context: int) -> None:
    model = load_architecture(name)
    assert round(model.parameters / 1e9, 2) == billions
    assert model.kv_bytes_per_token() == kv_bytes
    assert model.kv_bytes_per_token(bytes_per_element=1) * 2 == kv_bytes
    assert model.max_position_embeddings == context


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


@pytest.mark.parametrize("row", list_models(), ids=lambda row: row.name)
def test_every_alias_leads_to_its_model(row: Any) -> None:
    for alias in (row.name, *row.aliases):
        assert load_architecture(alias.upper()).name == row.name
    model = load_architecture(row.name)
    assert (row.parameters, row.layers) == (model.parameters, model.num_hidden_layers)


def test_distilled_reasoning_models_are_in_the_catalogue() -> None:
    for alias in ("r1-distill-llama-70b", "deepseek-ai/DeepSeek-R1-Distill-Llama-70B"):
        assert load_architecture(alias) is load_architecture("llama-3.3-70b")
    for alias in ("r1-distill-llama-8b", "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"):
        assert load_architecture(alias) is load_architecture("meta-llama/Llama-3.1-8B-Instruct")


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
        ({"model_type": "mixtral", "num_local_experts": 8}, "num_local_experts", "experts"),
        ({"model_type": "deepseek_v3", "kv_lora_rank": 512}, "kv_lora_rank", "MLA"),
        ({"sliding_window": 4096}, "sliding_window", "window"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "layer_types", "sliding"),
        ({"quantization_config": {"quant_method": "awq"}}, "quantization_config", "awq"),
        ({"model_type": "gpt2"}, "model_type", "llama, mistral, qwen2, qwen3"),
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
