"""KV capacity: the budget adds up, agrees with a real start-up log, and says what would fit."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from hardware_profiles.profile import load_gpu
from simulator.cost.architecture import load_architecture
from simulator.cost.memory import KvCapacity, kv_capacity
from simulator.cost.sharding import shard
from simulator.errors import InputError

GPU = load_gpu("h100-sxm")
LLAMA_8B = load_architecture("llama-3.1-8b")
LLAMA_70B = load_architecture("llama-3.3-70b")
GIB = 2**30


def capacity(model: Any = LLAMA_8B, **changes: Any) -> KvCapacity:
    settings: dict[str, Any] = {
        "tensor_parallel_size": 1,
        "weight_dtype": "bf16",
        "kv_cache_dtype": "auto",
        "gpu_memory_utilization": 0.92,
        "max_num_batched_tokens": 8192,
        "max_num_seqs": 256,
        "block_size": 16,
    }
    return kv_capacity(model, GPU, **(settings | changes))


def test_the_lines_of_the_budget_add_up() -> None:
    result = capacity()
    lines = result.lines
    assert list(lines) == [
        "total",
        "utilisation",
        "weights",
        "activations",
        "CUDA graphs",
        "other",
        "KV",
        "unused",
    ]
    spent = ("weights", "activations", "CUDA graphs", "other", "KV")
    assert lines["utilisation"] == sum(lines[name] for name in spent)
    block_bytes = 16 * result.bytes_per_token_per_gpu
    assert lines["KV"] == result.num_gpu_blocks * block_bytes + lines["unused"]
    assert 0 <= lines["unused"] < block_bytes
    assert lines["utilisation"] == pytest.approx(0.92 * lines["total"], rel=1e-9)
    assert result.usable_tokens == 16 * (result.num_gpu_blocks - 1)


def test_agrees_with_a_start_up_log_of_vllm() -> None:
    # vLLM 0.31.0, Llama-3.1-8B on an 80 GB GPU, defaults for it: 15.0 GiB of weights,
    # 460,496 tokens of KV cache.
    result = capacity(max_num_batched_tokens=2048)
    assert result.lines["weights"] / GIB == pytest.approx(15.0, abs=0.1)
    assert result.usable_tokens == pytest.approx(460_496, rel=0.04)


def test_bytes_per_token_of_a_shard() -> None:
    assert capacity(LLAMA_70B, tensor_parallel_size=4).bytes_per_token_per_gpu == 327_680 // 4
    assert capacity(kv_cache_dtype="bf16").bytes_per_token_per_gpu == 131_072
    assert capacity(kv_cache_dtype="fp8").bytes_per_token_per_gpu == 65_536
    assert capacity(kv_cache_dtype="fp8").num_gpu_blocks >= 2 * capacity().num_gpu_blocks


def test_kv_heads_are_replicated_where_there_are_too_few() -> None:
    few = dataclasses.replace(LLAMA_8B, num_key_value_heads=2)
    per_gpu = [shard(few, size).kv_bytes_per_token("bf16") for size in (1, 2, 4, 8)]
    assert [size // per_gpu[-1] for size in per_gpu] == [2, 1, 1, 1]
    widths = [shard(few, size).layer_matrices[0].n for size in (1, 2, 4, 8)]
    assert widths == [(32 + 4) * 128, (16 + 2) * 128, (8 + 2) * 128, (4 + 2) * 128]


def test_weights_are_split_and_halved_by_fp8() -> None:
    whole = shard(LLAMA_70B, 1)
    assert whole.weight_bytes("bf16") == pytest.approx(2 * LLAMA_70B.parameters, rel=1e-3)
    assert 0.5 < whole.weight_bytes("fp8") / whole.weight_bytes("bf16") < 0.53
    for size in (2, 4, 8):
        share = shard(LLAMA_70B, size).weight_bytes("bf16")
        assert share == pytest.approx(whole.weight_bytes("bf16") / size, rel=1e-3)


def test_more_memory_means_more_blocks() -> None:
    blocks = [capacity(gpu_memory_utilization=u).num_gpu_blocks for u in (0.5, 0.8, 0.92, 1.0)]
    assert blocks == sorted(set(blocks))
    assert capacity(max_num_batched_tokens=65536).num_gpu_blocks < capacity().num_gpu_blocks
    assert capacity(max_num_seqs=4096).num_gpu_blocks < capacity().num_gpu_blocks


def test_a_model_too_large_says_what_would_fit() -> None:
    with pytest.raises(InputError) as caught:
        capacity(LLAMA_70B)
    message = str(caught.value)
    assert "short by 6" in message  # 131.4 GiB of weights, 72.9 GiB to use
    assert "GiB per GPU; fits with tensor_parallel_size 2 or with weight_dtype fp8" in message
    # and the advice is true
    assert capacity(LLAMA_70B, tensor_parallel_size=2).num_gpu_blocks >= 2
    assert capacity(LLAMA_70B, weight_dtype="fp8").num_gpu_blocks >= 2


def test_a_model_that_needs_both_or_fits_nowhere() -> None:
    wide = dataclasses.replace(LLAMA_70B, name="wide", num_hidden_layers=480)
    with pytest.raises(InputError, match="fits with tensor_parallel_size 8 and weight_dtype fp8"):
        capacity(wide, tensor_parallel_size=4)
    assert capacity(wide, tensor_parallel_size=8, weight_dtype="fp8").num_gpu_blocks >= 2
    huge = dataclasses.replace(LLAMA_70B, name="huge", num_hidden_layers=2000)
    with pytest.raises(InputError, match="no tensor_parallel_size fits"):
        capacity(huge, tensor_parallel_size=8)


@pytest.mark.parametrize(
    ("changes", "size", "reason"),
    [
        ({}, 3, "must be one of 1, 2, 4, 8"),
        ({"num_attention_heads": 20, "num_key_value_heads": 4}, 8, "20 attention heads"),
        ({"num_key_value_heads": 6, "num_attention_heads": 24}, 4, "6 KV heads"),
        ({"intermediate_size": 14338}, 4, "intermediate size of 14338"),
    ],
)
def test_a_split_that_is_impossible_is_refused(
    changes: dict[str, int], size: int, reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        capacity(dataclasses.replace(LLAMA_8B, **changes), tensor_parallel_size=size)


def test_utilisation_outside_its_range_is_refused() -> None:
    for value in (0.0, 1.5):
        with pytest.raises(InputError, match="gpu_memory_utilization"):
            capacity(gpu_memory_utilization=value)
