"""Iteration times against physics, against measured kernels, and against a real engine."""

from __future__ import annotations

import copy
import dataclasses
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from hardware_profiles.kernels.collectives import all_gather_s, all_reduce_s
from hardware_profiles.kernels.decode_attention import decode_attention_s
from hardware_profiles.kernels.gemm import gemm_s
from hardware_profiles.kernels.prefill_attention import prefill_attention_s
from hardware_profiles.profile import GpuProfile, load_gpu, read_profile
from simulator.cost.catalogue import load_architecture
from simulator.cost.cuda_graphs import capture_sizes, pad_to_graph
from simulator.cost.iteration_time import CostTable, tabulate
from simulator.errors import InputError

GPU = load_gpu("h100-sxm")
LLAMA_8B = load_architecture("llama-3.1-8b")
LLAMA_70B = load_architecture("llama-3.3-70b")
BANDWIDTH = 3.35e12
MEASURED = Path(__file__).parents[3] / "shared" / "data" / "kernels"


def table(model: Any = LLAMA_8B, gpu: GpuProfile = GPU, **changes: Any) -> CostTable:
    settings: dict[str, Any] = {
        "tensor_parallel_size": 1,
        "weight_dtype": "auto",
        "kv_cache_dtype": "auto",
        "max_num_batched_tokens": 8192,
        "max_num_seqs": 512,
    }
    return tabulate(model, gpu, **(settings | changes))


def measured(name: str) -> pd.DataFrame:
    if not (MEASURED / name).is_file():
        pytest.skip(f"needs the measured kernel table ../shared/data/kernels/{name}")
    frame = pd.read_csv(MEASURED / name)
    return frame[frame["system"] == "h100_sxm"]


# --- shape -----------------------------------------------------------------------------------


def test_tables_have_the_length_of_the_limits_and_start_at_zero() -> None:
    costs = table(max_num_batched_tokens=2048, max_num_seqs=96)
    assert costs.token_s.shape == (2049,)
    assert costs.prefill_s.shape == (6,)
    for per_request in (
        costs.seq_s,
        costs.decode_fixed_s,
        costs.decode_context_s,
        costs.decode_window_s,
        costs.floor_s,
    ):
        assert per_request.shape == (97,)
        assert per_request[0] == 0
    for values in (costs.token_s, costs.seq_s, costs.decode_context_s, costs.prefill_s):
        assert values.dtype == np.float64
        assert np.all(np.isfinite(values))
    assert np.all(costs.token_s[1:] > 0)
    assert np.all(costs.decode_context_s[1:] > 0)
    assert np.all(costs.decode_fixed_s >= 0)
    assert np.all(costs.prefill_s >= 0)


def test_affine_in_the_context() -> None:
    costs = table()
    times = [costs.iteration_s(64, context) for context in (10_000, 20_000, 30_000)]
    assert times[2] - times[1] == pytest.approx(times[1] - times[0], rel=1e-9)


def test_a_prompt_in_chunks_visits_the_same_query_key_pairs() -> None:
    fixed, per_token, per_context, per_pair, *windowed = table().prefill_s
    assert windowed == [0, 0]
    whole = 3000 * (3000 - 2999 / 2)
    parts = 1000 * (1000 - 999 / 2) + 2000 * (3000 - 1999 / 2)
    assert parts == whole
    costs = table()
    chunk = costs.iteration_s(0, 0, [(2000, 3000)]) - costs.iteration_s(0, 0, [(2000, 2000)])
    assert chunk == pytest.approx(1000 * per_context + 2000 * 1000 * per_pair, rel=1e-9)
    assert min(fixed, per_token) >= 0


# --- CUDA graphs -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seqs", "largest", "count"), [(256, 512, 51), (64, 512, 19), (1024, 1024, 83)]
)
def test_capture_sizes_are_those_of_vllm(seqs: int, largest: int, count: int) -> None:
    sizes = capture_sizes(seqs, 8192, largest)
    assert len(sizes) == count
    assert list(sizes[:5]) == [1, 2, 4, 8, 16]
    assert sizes[-1] == min(2 * seqs, largest)


def test_the_limits_themselves_are_captured() -> None:
    assert 100 in capture_sizes(100, 8192)
    assert list(capture_sizes(8, 12)) == [1, 2, 4, 8, 12]


def test_padding_is_inside_the_tables() -> None:
    costs = table(max_num_seqs=256)
    assert np.all(costs.token_s[249:256] == costs.token_s[256])
    assert np.all(costs.token_s[497:512] == costs.token_s[512])
    assert costs.token_s[513] != costs.token_s[520]  # no graph above the largest size
    assert np.all(costs.decode_context_s[33:40] == costs.decode_context_s[40])
    blackwell = table(gpu=load_gpu("b200-sxm"))
    assert np.all(blackwell.token_s[1009:1024] == blackwell.token_s[1024])
    padded = pad_to_graph(np.array([0.0, 3, 9, 512, 700]), capture_sizes(256, 8192))
    assert list(padded) == [0, 4, 16, 512, 700]


# --- physics ---------------------------------------------------------------------------------


def test_one_decode_is_between_the_weight_read_floor_and_twice_it() -> None:
    floor_s = 2 * LLAMA_8B.parameters / BANDWIDTH  # 4.8 ms
    assert floor_s < table().iteration_s(1, 100) < 2 * floor_s


def test_batch_of_8_is_near_what_vllm_does() -> None:
    # vLLM on one H100, Llama-3.1-8B, 8 running requests: median inter-token latency 7.32 ms
    costs = table(engine_generation="vllm-0.11", async_scheduling=True)
    assert costs.iteration_s(8, 8 * 500) == pytest.approx(7.32e-3, rel=0.15)


@pytest.mark.parametrize("dtype", ["bf16", "fp8"])
def test_context_costs_at_least_the_reading_of_its_keys_and_values(dtype: str) -> None:
    costs = table(kv_cache_dtype=dtype)
    floor = LLAMA_8B.kv_bytes_per_token(2 if dtype == "bf16" else 1) / BANDWIDTH
    assert np.all(costs.decode_context_s[1:] > floor)
    assert costs.decode_context_s[256] < 1.5 * floor


def test_a_long_prompt_is_bound_by_arithmetic() -> None:
    linear = 2 * LLAMA_8B.linear_parameters * 8192
    attention = 4 * 4096 * 32 * 8192 * 8193 / 2
    floor_s = (linear + attention) / 989e12
    assert floor_s < table().iteration_s(0, 0, [(8192, 8192)]) < 2 * floor_s


def test_larger_batches_cost_more_and_share_the_weights() -> None:
    costs = table()
    times = [costs.iteration_s(batch, batch * 600) for batch in (1, 8, 32, 128, 512)]
    assert times == sorted(times)
    assert times[2] < 2 * times[0]  # 32 times the tokens


def test_tensor_parallelism_helps_but_not_linearly() -> None:
    times = [table(LLAMA_70B, tensor_parallel_size=tp).iteration_s(8, 8000) for tp in (2, 4, 8)]
    assert times[0] > times[1] > times[2] > times[0] / 4
    share_floor_s = 2 * LLAMA_70B.parameters / 8 / BANDWIDTH
    assert times[2] > share_floor_s


def test_fp8_weights_and_kv_cache_are_faster_but_above_their_floor() -> None:
    costs = table(weight_dtype="fp8")
    floor_s = (LLAMA_8B.linear_parameters + 2 * 128256 * 4096) / BANDWIDTH
    assert floor_s < costs.iteration_s(1, 100) < table().iteration_s(1, 100)
    ratio = table(kv_cache_dtype="fp8").decode_context_s[1:] / table().decode_context_s[1:]
    assert np.all((ratio > 0.5) & (ratio < 0.75))


def test_one_gpu_needs_no_collectives() -> None:
    message = np.array([1e3, 1e6, 1e9])
    assert np.all(all_reduce_s(message, 1, GPU) == 0)
    assert np.all(all_gather_s(message, 1, GPU) == 0)
    for tp in (2, 4, 8):
        times = all_reduce_s(np.logspace(3, 8, 6), tp, GPU)
        assert np.all(np.diff(times) > 0)


# --- refusals --------------------------------------------------------------------------------


def without_fp8() -> GpuProfile:
    text = (files("hardware_profiles") / "gpus" / "h100-sxm.yaml").read_text(encoding="utf-8")
    data = copy.deepcopy(yaml.safe_load(text))
    del data["hardware"]["peak_fp8"]
    for kernel in ("gemm", "decode_attention", "prefill_attention"):
        del data["kernels"][kernel]["fp8"]
    return read_profile(yaml.safe_dump(data | {"name": "old"}), "old.yaml")


def test_fp8_is_refused_where_the_gpu_has_none() -> None:
    gpu = without_fp8()
    assert table(gpu=gpu).token_s[1] == table().token_s[1]
    with pytest.raises(InputError) as caught:
        table(gpu=gpu, weight_dtype="fp8", kv_cache_dtype="fp8")
    assert "weight_dtype fp8: old has no fp8 matrix units" in str(caught.value)
    assert "kv_cache_dtype fp8: old has no fp8 attention" in str(caught.value)


def test_unknown_number_formats_and_splits_are_refused() -> None:
    with pytest.raises(InputError, match="weight_dtype must be one of auto, bf16"):
        table(weight_dtype="int8")
    with pytest.raises(InputError, match="kv_cache_dtype must be one of auto, bf16, fp8"):
        table(kv_cache_dtype="int8")
    odd = dataclasses.replace(LLAMA_8B, num_attention_heads=28, num_key_value_heads=4)
    with pytest.raises(InputError, match="28 attention heads"):
        table(odd, tensor_parallel_size=8)


def test_a_profile_without_collectives_cannot_be_split() -> None:
    alone = GPU.model_copy(update={"kernels": GPU.kernels.model_copy(update={"all_reduce": {}})})
    with pytest.raises(InputError, match="no all_reduce for tensor_parallel_size 2"):
        table(gpu=alone, tensor_parallel_size=2)


# --- measured kernels ------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "bar"), [("bf16", 0.06), ("fp8", 0.12)])
def test_matrix_products_match_the_measured_ones(dtype: Any, bar: float) -> None:
    frame = measured("gemm.csv.gz")
    frame = frame[frame["gemm_dtype"] == {"bf16": "bfloat16", "fp8": "fp8"}[dtype]]
    frame = frame[frame["n"].between(1024, 65536) & frame["k"].between(1024, 51200)]
    # graph sizes up to 512; above, batches fill the kernels' tiles exactly or just miss them
    sizes = [1, 8, 32, 64, 128, 256, 512, 1024, 1025, 2048, 2049, 4096, 4097, 8192]
    frame = frame[frame["m"].isin(sizes)]
    errors = []
    for (n, k), rows in frame.groupby(["n", "k"]):
        predicted = gemm_s(rows["m"].to_numpy(float), int(n), int(k), dtype, GPU)
        errors.append(predicted / (rows["latency_ms"].to_numpy() * 1e-3) - 1)
    error = np.concatenate(errors)
    assert len(error) > 1000
    assert np.abs(error).mean() < bar
    assert abs(error.mean()) < 0.04


def test_attention_matches_the_measured_one() -> None:
    decode = measured("generation_attention_gqa_d128.csv.gz")
    decode = decode[(decode["version"] == "0.25.0") & (decode["kv_cache_dtype"] == "bfloat16")]
    decode = decode[(decode["q_heads"] == 32) & (decode["kv_heads"] == 8)]
    decode = decode[decode["kv_len"] >= 256]
    batch, length = decode["batch_size"].to_numpy(float), decode["kv_len"].to_numpy(float)
    fixed_s, context_s = decode_attention_s(batch, 32, 8, 128, "bf16", GPU)
    error = (fixed_s + context_s * batch * length) / (decode["latency_ms"] * 1e-3) - 1
    assert np.abs(error).mean() < 0.10

    prefill = measured("context_attention_gqa_d128.csv.gz")
    prefill = prefill[(prefill["version"] == "0.25.0") & (prefill["kv_cache_dtype"] == "bfloat16")]
    prefill = prefill[(prefill["q_heads"] == 32) & (prefill["kv_heads"] == 8)]
    tokens = prefill["batch_size"] * prefill["isl"]
    prefill = prefill[(prefill["isl"] >= 256) & (tokens <= 16384)]
    batch, length = prefill["batch_size"].to_numpy(float), prefill["isl"].to_numpy(float)
    cost = prefill_attention_s(32, 8, 128, "bf16", GPU)
    work = np.array([np.ones(len(batch)), batch * length, batch * length])
    pairs = batch * length * (length + 1) / 2
    error = (cost[:3] @ work + cost[3] * pairs) / (prefill["latency_ms"] * 1e-3) - 1
    assert np.abs(error).mean() < 0.06


def test_all_reduce_matches_the_measured_one() -> None:
    frame = measured("custom_allreduce.csv")
    frame = frame[(frame["version"] == "0.31.0") & (frame["kernel_source"] == "vLLM_custom_graph")]
    frame = frame[frame["message_bytes"] <= 2**28]
    for tp, rows in frame.groupby("num_gpus"):
        predicted = all_reduce_s(rows["message_bytes"].to_numpy(float), int(tp), GPU)
        error = predicted / (rows["latency_ms"].to_numpy() * 1e-3) - 1
        assert np.abs(error).mean() < 0.08
