"""KV capacity: the budget adds up, agrees with a real start-up log, and says what would fit."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from hardware_profiles.profile import GpuProfile, load_gpu
from simulator.cost.activations import activation_bytes
from simulator.cost.catalogue import load_architecture
from simulator.cost.kv_groups import kv_groups
from simulator.cost.memory import KvCapacity, kv_capacity
from simulator.cost.sharding import shard
from simulator.errors import InputError

GPU = load_gpu("h100-sxm")
LLAMA_8B = load_architecture("llama-3.1-8b")
MIXTRAL = load_architecture("mixtral-8x7b")
LLAMA_70B = load_architecture("llama-3.3-70b")
GIB = 2**30


def capacity(model: Any = LLAMA_8B, gpu: GpuProfile = GPU, **changes: Any) -> KvCapacity:
    settings: dict[str, Any] = {
        "tensor_parallel_size": 1,
        "weight_dtype": "bf16",
        "kv_cache_dtype": "auto",
        "gpu_memory_utilization": 0.92,
        "max_num_batched_tokens": 8192,
        "max_num_seqs": 256,
        "block_size": 16,
    }
    return kv_capacity(model, gpu, **(settings | changes))


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


def test_sampler_counts_where_it_is_the_peak() -> None:
    lines = capacity(max_num_batched_tokens=1024, max_num_seqs=1024).lines
    assert lines["activations"] == 1024 * 2 * 4096 * 2 + 6 * 1024 * 128256
    lines = capacity(max_num_batched_tokens=8192, max_num_seqs=64).lines
    assert lines["activations"] == 8192 * (2 * 4096 + 3 * 14336) * 2


def test_experts_need_workspaces() -> None:
    lines = capacity(MIXTRAL, tensor_parallel_size=2).lines
    rows, inner = 8192 * 2, 7168
    workspace = rows * (2 * inner + inner) + 8192 * 4096
    assert lines["activations"] == 2 * (2 * 8192 * 4096 + workspace)
    spread = capacity(MIXTRAL, tensor_parallel_size=2, enable_expert_parallel=True).lines
    assert spread["activations"] > lines["activations"]  # whole experts are wider than slices
    assert spread["weights"] == lines["weights"]


def test_latent_attention_expands_its_context() -> None:
    r1 = load_architecture("deepseek-r1")
    expanded = 65536 * 128 * (128 + 128) * 2
    streams = 2 * 8192 * 7168 * 2
    assert activation_bytes(shard(r1, 1), 8192, 256) == streams + expanded
    # an eighth of the heads expand to less than the experts' workspaces
    workspace = 2 * (8192 * 8 * (7168 + 256) + 8192 * 7168)
    assert activation_bytes(shard(r1, 8), 8192, 256) == streams + workspace


def test_windowed_layers_share_blocks_with_the_others() -> None:
    gpt_oss = load_architecture("gpt-oss-20b")
    result = capacity(gpt_oss)
    groups = result.groups
    assert (groups.layers, groups.full, groups.window, groups.window_tokens) == (12, 1, 1, 128)
    # one block: 16 tokens of 12 layers
    assert result.bytes_per_token_per_gpu == 24 * 2048
    assert result.lines["KV"] // (16 * 12 * 2048) == result.num_gpu_blocks
    assert result.usable_tokens == (result.num_gpu_blocks - 1) // 2 * 16
    assert groups.blocks(100, 16) == 7 + 7
    assert groups.blocks(10_000, 16) == 625 + 8
    for usable in (3, 15, 16, 17, 633):
        longest = groups.longest_request(usable, 16)
        assert longest is not None
        assert groups.blocks(longest, 16) <= usable < groups.blocks(longest + 1, 16)


@pytest.mark.parametrize(
    ("full", "window", "groups"),
    [
        (10, 52, (10, 1, 6)),  # Gemma 3 27B: 52 layers in six groups, eight of them padding
        (0, 32, (32, 0, 1)),
        (32, 0, (32, 1, 0)),
        (20, 24, (24, 1, 1)),  # close in number: one group each
        (20, 30, (20, 1, 2)),
    ],
)
def test_groups_have_as_many_layers_as_the_rarer_kind(
    full: int, window: int, groups: tuple[int, int, int]
) -> None:
    model = dataclasses.replace(
        LLAMA_8B,
        num_hidden_layers=full + window,
        num_window_layers=window,
        sliding_window=1024 if window else 0,
    )
    found = kv_groups(model)
    assert (found.layers, found.full, found.window) == groups


def test_windows_alone_limit_no_request() -> None:
    model = dataclasses.replace(LLAMA_8B, num_window_layers=32, sliding_window=4096)
    assert kv_groups(model).longest_request(1000, 16) is None
    assert kv_groups(model).longest_request(200, 16) == 3200


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
    assert (
        "GiB per GPU; fits with tensor_parallel_size 2 or with weight_dtype fp8 or with"
        " weight_dtype int4 or on b200-sxm" in message
    )
    # and the advice is true
    assert capacity(LLAMA_70B, tensor_parallel_size=2).num_gpu_blocks >= 2
    assert capacity(LLAMA_70B, weight_dtype="fp8").num_gpu_blocks >= 2
    assert capacity(LLAMA_70B, weight_dtype="int4").num_gpu_blocks >= 2
    assert capacity(LLAMA_70B, gpu=load_gpu("b200-sxm")).num_gpu_blocks >= 2


def test_the_shortage_is_what_is_missing() -> None:
    with pytest.raises(InputError, match=r"short by (\d+\.\d) GiB") as caught:
        capacity(LLAMA_70B, gpu_memory_utilization=0.5)
    found = re.search(r"short by ([\d.]+) GiB", str(caught.value))
    assert found is not None
    lines = capacity(tensor_parallel_size=1, gpu_memory_utilization=0.5).lines
    room = lines["utilisation"] - lines["CUDA graphs"] - lines["other"]
    weights = shard(LLAMA_70B, 1).weight_bytes(LLAMA_70B.formats)
    activations = activation_bytes(shard(LLAMA_70B, 1), 8192, 256)
    missing = weights + activations + 2 * 16 * 327_680 - room
    assert float(found[1]) == pytest.approx(missing / GIB, abs=0.11)


def test_a_model_that_needs_both_or_fits_nowhere() -> None:
    wide = dataclasses.replace(LLAMA_70B, name="wide", num_hidden_layers=480)
    with pytest.raises(InputError, match="fits with tensor_parallel_size 8 and weight_dtype fp8"):
        capacity(wide, tensor_parallel_size=4)
    assert capacity(wide, tensor_parallel_size=8, weight_dtype="fp8").num_gpu_blocks >= 2
    huge = dataclasses.replace(LLAMA_70B, name="huge", num_hidden_layers=8000)
    with pytest.raises(InputError, match="no setting of one node makes it fit"):
        capacity(huge, tensor_parallel_size=8)


def test_fp8_on_a_gpu_without_it_is_refused_and_not_advised() -> None:
    a100 = load_gpu("a100-sxm-80gb")
    with pytest.raises(InputError, match="fp8: a100-sxm-80gb has no fp8 matrix units"):
        capacity(LLAMA_70B, gpu=a100, weight_dtype="fp8")
    with pytest.raises(InputError) as caught:
        capacity(LLAMA_70B, gpu=a100)
    assert "fp8" not in str(caught.value)
    assert "weight_dtype int4" in str(caught.value)
    with pytest.raises(InputError, match="weight_dtype must be one of auto, bf16"):
        capacity(weight_dtype="int8")


def test_utilisation_outside_its_range_is_refused() -> None:
    for value in (0.0, 1.5):
        with pytest.raises(InputError, match="gpu_memory_utilization"):
            capacity(gpu_memory_utilization=value)
