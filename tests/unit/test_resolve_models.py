"""From a pool's model settings to its engine: number formats, experts, sliding windows."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.config.costs import iteration_costs_of
from simulator.config.experiment import EngineSettings, PoolSettings
from simulator.config.resolve import ResolvedPool, resolve_pool
from simulator.errors import InputError


def resolve(engine: dict[str, Any] | None = None, **changes: Any) -> ResolvedPool:
    settings: dict[str, Any] = {"model": "llama-3.1-8b", "gpu": "h100-sxm"}
    pool = PoolSettings(**(settings | changes), engine=EngineSettings(**(engine or {})))
    return resolve_pool("main", pool)


def problems(**changes: Any) -> list[str]:
    with pytest.raises(InputError) as caught:
        resolve(**changes)
    return [str(problem) for problem in caught.value.problems]


def test_weights_are_those_of_the_checkpoint_unless_said_otherwise() -> None:
    wide, own = resolve(model="Qwen/Qwen3-32B"), resolve(model="Qwen/Qwen3-32B-FP8")
    assert wide.memory is not None
    assert own.memory is not None
    assert own.memory.lines["weights"] < 0.55 * wide.memory.lines["weights"]
    assert resolve(model="Qwen/Qwen3-32B-FP8", weight_dtype="bf16").memory == wide.memory
    assert resolve(model="Qwen/Qwen3-32B", weight_dtype="fp8_block").memory == own.memory
    names = {c.name: c for c in iteration_costs_of(own).components}
    assert names["gate_up_proj"].peak_flops == own.gpu.hardware.peak_fp8.si  # type: ignore[union-attr]
    assert names["lm_head"].peak_flops == own.gpu.hardware.peak_bf16.si


def test_experts_may_be_spread_over_the_gpus() -> None:
    model = {"model": "Qwen/Qwen3-30B-A3B", "tensor_parallel_size": 4}
    spread = resolve(**model, enable_expert_parallel=True)
    assert iteration_costs_of(spread).part.expert_parallel_size == 4
    assert iteration_costs_of(resolve(**model)).part.expert_parallel_size == 1
    assert problems(tensor_parallel_size=2, enable_expert_parallel=True) == [
        "pools.main.enable_expert_parallel: enable_expert_parallel: llama-3.1-8b has no experts"
    ]
    [problem] = problems(model="Qwen/Qwen3-30B-A3B-FP8", tensor_parallel_size=4)
    assert problem.startswith("pools.main.tensor_parallel_size: tensor_parallel_size 4 cannot")
    assert "enable_expert_parallel would do" in problem


def test_fp8_where_the_gpu_has_none_is_refused_whoever_asks_for_it() -> None:
    [problem] = problems(gpu="a100-sxm-80gb", model="Qwen/Qwen3-8B-FP8")
    assert problem.startswith("pools.main.weight_dtype: weight_dtype fp8_block: a100-sxm-80gb has")
    [problem] = problems(gpu="a100-sxm-80gb", weight_dtype="fp8")
    assert problem.startswith("pools.main.weight_dtype: weight_dtype fp8: a100-sxm-80gb has no fp8")
    assert resolve(gpu="a100-sxm-80gb", model="Qwen/Qwen3-8B-AWQ").memory is not None


def test_kinds_of_layers_the_gpu_has_no_measurement_of_are_refused() -> None:
    found = problems(
        gpu="a100-sxm-80gb", model="deepseek-r1", weight_dtype="int4", tensor_parallel_size=8
    )
    assert found == [
        "pools.main.gpu: deepseek-r1: the profile of a100-sxm-80gb has no multi-head latent"
        " attention (MLA)"
    ]


def test_windowed_layers_reach_the_engine() -> None:
    pool = resolve(model="gpt-oss-20b")
    engine = pool.engine
    assert (engine.window_tokens, engine.kv_groups_full, engine.kv_groups_window) == (128, 1, 1)
    assert iteration_costs_of(pool).table().window_tokens == 128
    plain = resolve().engine
    assert (plain.window_tokens, plain.kv_groups_full, plain.kv_groups_window) == (0, 1, 0)


def test_the_longest_request_counts_blocks_of_both_kinds() -> None:
    # 20 usable blocks: 8 for the window, 12 for the whole context
    engine = resolve({"num_gpu_blocks": 21, "max_num_batched_tokens": 512}, model="gpt-oss-20b")
    assert engine.engine.max_model_len == 12 * 16


def test_each_engine_generation_has_its_own_constants() -> None:
    old, new = resolve({"preset": "vllm-0.11"}), resolve({"preset": "vllm-0.33"})
    generations = [pool.gpu.engines[pool.settings.engine.preset] for pool in (old, new)]
    for pool, generation in zip((old, new), generations, strict=True):
        host = generation.async_ if pool.engine.async_scheduling else generation.sync
        component = next(c for c in iteration_costs_of(pool).components if c.name == "host")
        request_s = host.request.si + pool.architecture.vocab_size * host.logit.si
        exposed_s = host.iteration.si + 8 * request_s
        assert component.seconds.request[8] == pytest.approx(exposed_s)
        assert pool.memory is not None
        assert pool.memory.lines["other"] == int(generation.kv_reserve.si)
