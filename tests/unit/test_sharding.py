"""What one GPU holds: slices of matrices, experts and KV heads; what cannot be split."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from hardware_profiles.dtypes import BYTES
from simulator.cost.architecture import Architecture
from simulator.cost.catalogue import list_models, load_architecture
from simulator.cost.number_formats import Formats
from simulator.cost.read_config import read_architecture
from simulator.cost.sharding import Matrix, Shard, shard
from simulator.errors import InputError

LLAMA_8B = load_architecture("llama-3.1-8b")
R1 = load_architecture("deepseek-r1")
MIXTRAL = load_architecture("mixtral-8x7b")
GPT_OSS = load_architecture("gpt-oss-20b")
QWEN_MOE = load_architecture("qwen3-30b-a3b")
BF16 = Formats()


def matrices(part: Shard) -> dict[str, Matrix]:
    return {matrix.name: matrix for matrix in (*part.layer_matrices, *part.expert_matrices)}


def shape(part: Shard, name: str) -> tuple[int, int]:
    return matrices(part)[name].n, matrices(part)[name].k


@pytest.mark.parametrize("row", list_models(), ids=lambda row: row.name)
def test_one_gpu_holds_every_weight(row: Any) -> None:
    model = load_architecture(row.name)
    held = sum(matrix.parameters for matrix in matrices(shard(model, 1)).values())
    assert held == model.linear_parameters + model.router_parameters


@pytest.mark.parametrize("size", [2, 4, 8])
@pytest.mark.parametrize("expert_parallel", [False, True])
@pytest.mark.parametrize("model", [R1, MIXTRAL, QWEN_MOE], ids=lambda model: model.name)
def test_gpus_together_hold_every_weight_once(
    model: Architecture, size: int, expert_parallel: bool
) -> None:
    model = dataclasses.replace(model, formats=BF16)
    whole, part = matrices(shard(model, 1)), matrices(shard(model, size, expert_parallel))
    replicated = {"router", "qkv_a_proj"}
    if model.num_key_value_heads < size:
        replicated.add("qkv_proj")  # partly: its KV heads
    for name, matrix in whole.items():
        if name not in replicated:
            assert part[name].parameters * size == matrix.parameters, name
    assert part["router"] == whole["router"]


def test_experts_are_sliced_or_spread() -> None:
    sliced, spread = shard(MIXTRAL, 8), shard(MIXTRAL, 8, enable_expert_parallel=True)
    assert shape(sliced, "expert_gate_up_proj") == (2 * 14336 // 8, 4096)
    assert matrices(sliced)["expert_gate_up_proj"].copies == 8
    assert shape(spread, "expert_gate_up_proj") == (2 * 14336, 4096)
    assert matrices(spread)["expert_gate_up_proj"].copies == 1
    assert shape(spread, "qkv_proj") == shape(sliced, "qkv_proj")


def test_latent_attention_splits_heads_and_replicates_its_cache() -> None:
    part = shard(R1, 8)
    assert shape(part, "qkv_a_proj") == (1536 + 512 + 64, 7168)
    assert shape(part, "q_b_proj") == (16 * 192, 1536)
    assert shape(part, "kv_b_proj") == (16 * 256, 512)
    assert shape(part, "o_proj") == (7168, 16 * 128)
    assert shape(part, "shared_gate_up_proj") == (2 * 2048 // 8, 7168)
    assert matrices(part)["gate_up_proj"].layers == 3
    for size in (1, 8):
        assert shard(R1, size).kv_bytes_per_token("auto") == 61 * 1152
        assert shard(R1, size).kv_bytes_per_token("fp8") == 61 * 576


def test_latent_attention_without_compressed_queries() -> None:
    latent = dataclasses.replace(R1.latent, q_lora_rank=0)  # type: ignore[type-var]
    part = shard(dataclasses.replace(R1, latent=latent), 2)
    assert shape(part, "q_proj") == (64 * 192, 7168)
    assert shape(part, "qkv_a_proj") == (576, 7168)


def test_kv_heads_are_replicated_where_there_are_too_few() -> None:
    few = dataclasses.replace(LLAMA_8B, num_key_value_heads=2)
    per_gpu = [shard(few, size).kv_bytes_per_token("bf16") for size in (1, 2, 4, 8)]
    assert [size // per_gpu[-1] for size in per_gpu] == [2, 1, 1, 1]
    widths = [shard(few, size).layer_matrices[0].n for size in (1, 2, 4, 8)]
    assert widths == [(32 + 4) * 128, (16 + 2) * 128, (8 + 2) * 128, (4 + 2) * 128]


def test_mxfp4_experts_are_cut_at_their_groups() -> None:
    # 90 groups of 32; over 8 GPUs each gets 12 groups, some of them padding (vLLM)
    assert shape(shard(GPT_OSS, 8), "expert_down_proj") == (2880, 384)
    assert shape(shard(GPT_OSS, 2), "expert_down_proj") == (2880, 1440)
    assert shape(shard(GPT_OSS, 8, formats=BF16), "expert_down_proj") == (2880, 360)


@pytest.mark.parametrize("dtype", ["bf16", "fp8", "fp8_block", "int4", "nvfp4"])
def test_weight_bytes_follow_the_format_of_the_layers(dtype: Any) -> None:
    part = shard(LLAMA_8B, 2)
    bytes_ = part.weight_bytes(LLAMA_8B.formats_as(dtype))
    linear = LLAMA_8B.linear_parameters / 2
    tables = 2 * 2 * 128256 * 4096 / 2  # embedding and head, 16 bit
    assert bytes_ == pytest.approx(linear * BYTES[dtype] + tables, rel=1e-3)


def test_16_bit_parts_of_a_quantised_model() -> None:
    own = GPT_OSS.formats
    assert (own.attention, own.experts, own.of("plain")) == ("bf16", "mxfp4", "bf16")
    assert GPT_OSS.formats_as("mxfp4") == own
    assert GPT_OSS.formats_as("bf16").experts == "bf16"
    assert MIXTRAL.formats_as("mxfp4") == Formats(experts="mxfp4")
    assert LLAMA_8B.formats_as("mxfp4") == Formats("mxfp4", "mxfp4", "mxfp4")
    assert R1.formats_as("nvfp4") == Formats(mlp="nvfp4", experts="nvfp4")
    assert R1.formats_as("auto").all == ("fp8_block",)


def test_absorbed_projections_of_latent_attention_are_kept_in_16_bit_too() -> None:
    part = shard(R1, 8)
    kv_b = matrices(part)["kv_b_proj"].parameters
    small = dataclasses.replace(part, layer_matrices=part.layer_matrices[:1])
    dropped = sum(m.parameters for m in part.layer_matrices[1:] if m.name != "router")
    router = matrices(part)["router"].parameters
    spent = part.weight_bytes(R1.formats) - small.weight_bytes(R1.formats)
    expected = dropped * BYTES["fp8_block"] + 2 * (router + kv_b)
    assert spent == pytest.approx(expected, abs=2)


@pytest.mark.parametrize(
    ("model", "size", "expert_parallel", "dtype", "reason"),
    [
        (LLAMA_8B, 3, False, "bf16", "must be one of 1, 2, 4, 8"),
        (LLAMA_8B, 2, True, "bf16", "llama-3.1-8b has no experts"),
        (QWEN_MOE, 4, False, "fp8_block", "768, not whole 128-wide fp8 blocks.*enable_expert"),
        (load_architecture("r1-distill-qwen-7b"), 8, False, "bf16", "28 attention heads"),
        (
            dataclasses.replace(LLAMA_8B, intermediate_size=14338),
            4,
            False,
            "bf16",
            "intermediate size of 14338",
        ),
        (
            dataclasses.replace(LLAMA_8B, num_attention_heads=24, num_key_value_heads=6),
            4,
            False,
            "bf16",
            "6 KV heads",
        ),
    ],
)
def test_a_split_that_is_impossible_is_refused(
    model: Architecture, size: int, expert_parallel: bool, dtype: Any, reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        shard(model, size, expert_parallel, model.formats_as(dtype))


def test_fp8_blocks_fit_where_experts_stay_whole() -> None:
    formats = QWEN_MOE.formats_as("fp8_block")
    assert shape(shard(QWEN_MOE, 4, True, formats), "expert_down_proj") == (2048, 768)
    assert shape(shard(QWEN_MOE, 2, False, formats), "expert_down_proj") == (2048, 384)


# --- number formats of a config.json ---------------------------------------------------------


def formats_of(quantization: Any) -> Formats:
    config = {
        "model_type": "qwen3_moe",
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_hidden_layers": 4,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "vocab_size": 1000,
        "max_position_embeddings": 4096,
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 512,
        "quantization_config": quantization,
    }
    return read_architecture(json.dumps(config), name="model", file="config.json").formats


def compressed(**weights: Any) -> dict[str, Any]:
    group = {"weights": weights, "input_activations": None}
    return {"quant_method": "compressed-tensors", "config_groups": {"group_0": group}}


@pytest.mark.parametrize(
    ("quantization", "dtype"),
    [
        (None, "bf16"),
        ({"quant_method": "fp8", "activation_scheme": "static"}, "fp8"),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8_block"),
        ({"quant_method": "fbgemm_fp8"}, "fp8"),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, "int4"),
        ({"quant_method": "gptq", "bits": 4}, "int4"),
        ({"quant_method": "mxfp4"}, "mxfp4"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "nvfp4"),
        (compressed(num_bits=8, type="float", strategy="channel"), "fp8"),
        (compressed(num_bits=8, type="float", strategy="block"), "fp8_block"),
        (compressed(num_bits=4, type="int", group_size=128), "int4"),
        (compressed(num_bits=4, type="float", group_size=16), "nvfp4"),
        (compressed(num_bits=4, type="float", group_size=32), "mxfp4"),
    ],
)
def test_quantisation_configs(quantization: Any, dtype: Any) -> None:
    assert formats_of(quantization) == Formats(dtype, dtype, dtype)


def test_modules_that_are_not_converted() -> None:
    kept = {"modules_to_not_convert": ["model.layers.*.self_attn", "lm_head"]}
    assert formats_of({"quant_method": "mxfp4"} | kept) == Formats("bf16", "mxfp4", "mxfp4")
    kept = {"ignore": ["lm_head", "re:.*mlp.gate$"]}
    fp8 = compressed(num_bits=8, type="float", strategy="channel") | kept
    assert formats_of(fp8) == Formats("fp8", "fp8", "fp8")


@pytest.mark.parametrize(
    "quantization",
    [
        {"quant_method": "gptq", "bits": 8},
        {"quant_method": "modelopt", "quant_algo": "W4A8"},
        compressed(num_bits=8, type="int"),
        {"quant_method": "compressed-tensors", "config_groups": {}},
        {},
    ],
)
def test_other_quantisations_are_refused(quantization: Any) -> None:
    with pytest.raises(InputError, match="not costed yet"):
        formats_of(quantization)
