"""Parts of an iteration: experts, latent attention, windows, host time; what they add up to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hardware_profiles.profile import GpuProfile, load_gpu
from simulator.cost.catalogue import load_architecture
from simulator.cost.cost_table import CostTable
from simulator.cost.iteration_time import IterationCosts, iteration_costs
from simulator.cost.terms import Batch, window_pairs
from simulator.errors import InputError

GPU = load_gpu("h100-sxm")
LLAMA_8B = load_architecture("llama-3.1-8b")
QWEN_MOE = load_architecture("qwen3-30b-a3b")
QWEN_235B = load_architecture("qwen3-235b-a22b")
R1 = load_architecture("deepseek-r1")
GPT_OSS = load_architecture("gpt-oss-20b")
BANDWIDTH = 3.35e12


def costs_of(model: Any = LLAMA_8B, gpu: GpuProfile = GPU, **changes: Any) -> IterationCosts:
    settings: dict[str, Any] = {
        "tensor_parallel_size": 1,
        "weight_dtype": "auto",
        "kv_cache_dtype": "auto",
        "max_num_batched_tokens": 8192,
        "max_num_seqs": 512,
    }
    return iteration_costs(model, gpu, **(settings | changes))


def table(model: Any = LLAMA_8B, gpu: GpuProfile = GPU, **changes: Any) -> CostTable:
    return costs_of(model, gpu, **changes).table()


# --- experts ---------------------------------------------------------------------------------


def test_one_token_reads_only_the_experts_it_visits() -> None:
    costs = costs_of(QWEN_MOE)
    active_bytes = 2 * QWEN_MOE.active_parameters
    one = Batch(decodes=1, context_tokens=1)
    sampler = GPU.engines["vllm-0.33"].sampler_traffic.si * QWEN_MOE.vocab_size
    moved = costs.work().bytes_moved.at(one, 0) - sampler
    assert moved == pytest.approx(active_bytes, rel=0.03)
    assert costs.work().flops.at(one, 0) == pytest.approx(active_bytes, rel=0.01)
    assert table(QWEN_MOE).iteration_s(1, 1) > moved / BANDWIDTH
    # a large batch visits them all
    experts = next(c for c in costs.components if c.name == "experts")
    many = experts.bytes_moved.at(Batch(decodes=512, context_tokens=512), 0)
    weights = 2 * 48 * 128 * 3 * 2048 * 768
    assert weights < many < 1.1 * weights


def test_experts_make_small_batches_cheap_and_do_not_shrink_large_ones() -> None:
    dense, experts = table(load_architecture("qwen3-32b")), table(QWEN_MOE)
    assert experts.iteration_s(1, 500) < 0.3 * dense.iteration_s(1, 500)
    times = [experts.iteration_s(batch, batch * 500) for batch in (1, 8, 64, 512)]
    assert times == sorted(times)
    assert times[1] > 1.5 * times[0]  # where a dense model would hardly notice


def test_expert_parallelism_spreads_whole_experts() -> None:
    h200 = load_gpu("h200-sxm")
    settings: dict[str, Any] = {"tensor_parallel_size": 8}
    sliced = costs_of(QWEN_235B, h200, **settings)
    spread = costs_of(QWEN_235B, h200, **settings, enable_expert_parallel=True)
    assert spread.part.expert_parallel_size == 8

    def of(costs: IterationCosts, name: str) -> Any:
        return next(c for c in costs.components if c.name == name)

    batch = Batch(decodes=512, context_tokens=512)
    # the busiest GPU has more than an eighth of the work
    share = of(spread, "experts").flops.at(batch, 0) / of(sliced, "experts").flops.at(batch, 0)
    assert 1.05 < share < 2
    for name in ("qkv_proj", "all-reduce", "lm_head"):
        assert of(spread, name).seconds.at(batch, 0) == of(sliced, name).seconds.at(batch, 0)


def test_mxfp4_experts_are_faster_than_16_bit_ones() -> None:
    small = Batch(decodes=16, context_tokens=16_000, window_tokens=16 * 128)
    own, wide = costs_of(GPT_OSS), costs_of(GPT_OSS, weight_dtype="bf16")

    def seconds(costs: IterationCosts, name: str) -> float:
        return next(c for c in costs.components if c.name == name).seconds.at(small, 128)

    assert seconds(own, "experts") < 0.6 * seconds(wide, "experts")
    assert seconds(own, "qkv_proj") == seconds(wide, "qkv_proj")


# --- latent attention ------------------------------------------------------------------------


def test_latent_attention_reads_one_vector_per_token_on_every_gpu() -> None:
    for size in (4, 8):
        costs = costs_of(R1, load_gpu("b200-sxm"), tensor_parallel_size=size)
        work = costs.work()
        assert work.bytes_moved.context[64] == 61 * 1152
        # each head multiplies it twice: against the query and into the output
        assert work.flops.context[64] == 61 * 128 // size * 2 * (576 + 512)
        names = {component.name for component in costs.components}
        assert {"qkv_a_proj", "q_b_proj", "shared_down_proj", "experts", "gate_up_proj"} <= names
        assert "kv_b_proj" not in names  # inside the attention kernels


def test_latent_attention_decodes_above_its_memory_floor() -> None:
    costs = costs_of(R1, load_gpu("h200-sxm"), tensor_parallel_size=8).table()
    floor_s = 61 * 1152 / 4.8e12
    assert np.all(costs.decode_context_s[1:] > floor_s)
    assert costs.decode_context_s[64] < 3 * floor_s
    fp8 = costs_of(R1, load_gpu("h200-sxm"), tensor_parallel_size=8, kv_cache_dtype="fp8").table()
    assert np.all(fp8.decode_context_s[1:] < costs.decode_context_s[1:])


def test_operations_of_a_671b_model_are_those_of_its_active_parameters() -> None:
    costs = costs_of(R1, load_gpu("h200-sxm"), tensor_parallel_size=8)
    flops = costs.work().flops.at(Batch(64, 64), 0) / 64
    # some of it is not split over the GPUs: projections into the latents and the routers
    shared = 61 * 7168 * 2112 + 58 * 7168 * 256
    expected = 2 * ((R1.active_parameters - shared) / 8 + shared)
    assert flops == pytest.approx(expected, rel=0.02)


# --- sliding windows -------------------------------------------------------------------------


def test_windowed_layers_stop_paying_for_context() -> None:
    costs = table(GPT_OSS)
    assert costs.window_tokens == 128
    near = costs.iteration_s(32, 32 * 100)
    edge = costs.iteration_s(32, 32 * 128)
    far = costs.iteration_s(32, 32 * 1000)
    assert (edge - near) / 28 > (far - edge) / 872 > 0
    # beyond the window only half the layers read more
    slope = (far - edge) / (32 * 872)
    floor = 12 * 2 * 8 * 64 * 2 / BANDWIDTH
    assert floor < slope < 3 * floor


def test_unequal_contexts_count_their_own_window() -> None:
    costs = table(GPT_OSS)
    even = costs.iteration_s(2, 200, decode_window_tokens=200)
    uneven = costs.iteration_s(2, 200, decode_window_tokens=128 + 10)
    assert uneven < even
    assert even - uneven == pytest.approx(62 * costs.decode_window_s[2], rel=1e-9)


@pytest.mark.parametrize(("new", "context"), [(5, 5), (200, 200), (7, 500), (300, 350), (1, 1)])
def test_window_pairs_are_counted_one_by_one(new: int, context: int) -> None:
    pairs = sum(min(context - new + j, 128) for j in range(1, new + 1))
    assert window_pairs(new, context, 128) == pairs


def test_chunks_of_a_windowed_model_visit_its_pairs() -> None:
    costs = table(GPT_OSS)
    p = costs.prefill_s
    chunk = costs.iteration_s(0, 0, [(100, 1000)]) - costs.iteration_s(0, 0, [(100, 600)])
    # the windowed layers saw as much of both contexts
    assert chunk == pytest.approx(400 * p[2] + 100 * 400 * p[3], rel=1e-9)
    short = costs.iteration_s(0, 0, [(100, 200)]) - costs.iteration_s(0, 0, [(100, 100)])
    seen, pairs = 100, window_pairs(100, 200, 128) - window_pairs(100, 100, 128)
    expected = 100 * p[2] + 10_000 * p[3] + seen * p[4] + pairs * p[5]
    assert short == pytest.approx(expected, rel=1e-9)


# --- host ------------------------------------------------------------------------------------


def host_of(gpu: GpuProfile, **milliseconds: float) -> GpuProfile:
    """The profile with these constants of asynchronous scheduling, per iteration or request."""
    engine = gpu.engines["vllm-0.33"]
    changed = {
        name: getattr(engine.async_, name).model_copy(update={"value": value, "unit": "ms"})
        for name, value in milliseconds.items()
    }
    async_ = engine.async_.model_copy(update=changed)
    return gpu.model_copy(
        update={"engines": {"vllm-0.33": engine.model_copy(update={"async_": async_})}}
    )


def test_asynchronous_scheduling_hides_host_time_behind_the_gpu() -> None:
    nothing = host_of(
        GPU,
        iteration=0.0,
        request=0.0,
        logit=0.0,
        overlapped_iteration=0.0,
        overlapped_request=0.0,
    )
    alone = table(gpu=nothing, async_scheduling=True)
    assert np.all(alone.floor_s == 0)
    gpu_s = alone.iteration_s(8, 4000)
    exposed = table(gpu=host_of(nothing, iteration=1.0, request=0.01), async_scheduling=True)
    assert exposed.iteration_s(8, 4000) == pytest.approx(gpu_s + 1.08e-3, rel=1e-9)
    small = host_of(nothing, overlapped_iteration=1.0, overlapped_request=0.01)
    assert table(gpu=small, async_scheduling=True).iteration_s(8, 4000) == gpu_s
    large = host_of(nothing, iteration=1.0, overlapped_iteration=50.0, overlapped_request=0.5)
    assert table(gpu=large, async_scheduling=True).iteration_s(8, 4000) == pytest.approx(55e-3)
    # without asynchronous scheduling other constants hold, and nothing hides
    sync = GPU.engines["vllm-0.33"].sync
    request_s = sync.request.si + LLAMA_8B.vocab_size * sync.logit.si
    expected = gpu_s + sync.iteration.si + 8 * request_s
    assert table(gpu=large).iteration_s(8, 4000) == pytest.approx(expected, rel=1e-9)


def test_an_engine_the_profile_does_not_know_is_refused() -> None:
    with pytest.raises(InputError, match=r"has no engine 'vllm-9', only vllm-0\.11"):
        table(engine_generation="vllm-9")


# --- components ------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["llama-3.1-8b", "qwen3-30b-a3b", "gpt-oss-20b", "gemma-3-27b"])
def test_components_add_up_to_the_iteration(model: str) -> None:
    costs = costs_of(load_architecture(model))
    window = costs.window_tokens
    batch = Batch(16, 16_000, 16 * min(1000, window), ((100, 300), (50, 50)))
    total = sum(component.seconds.at(batch, window) for component in costs.components)
    whole = costs.table().iteration_s(16, 16_000, batch.chunks, batch.window_tokens)
    assert whole == pytest.approx(total, rel=1e-12)
    for component in costs.components:
        if component.kind == "kernel" and component.seconds.at(batch, window):
            memory_s = component.bytes_moved.at(batch, window) / BANDWIDTH
            roofline_s = max(memory_s, component.compute_s(batch, window))
            assert 0 < roofline_s < 1.2 * component.seconds.at(batch, window), component.name


def test_scales_multiply_components_by_name() -> None:
    costs = costs_of()
    plain, scaled = costs.table(), costs.table({"decode attention": 1.1, "lm_head": 2.0})
    assert np.array_equal(scaled.decode_context_s, 1.1 * plain.decode_context_s)
    assert np.array_equal(scaled.token_s, plain.token_s)
    assert scaled.seq_s[8] > plain.seq_s[8]
    host = costs.table({"host": 2.0})
    assert np.array_equal(host.floor_s, 2 * plain.floor_s)
    with pytest.raises(KeyError):
        costs.table({"no such part": 2.0})


def test_work_is_that_of_the_weights_and_the_cache() -> None:
    work = costs_of().work()
    one, context = Batch(1, 1), Batch(1, 100_001)
    sampler = GPU.engines["vllm-0.33"].sampler_traffic.si * 128256
    weights = 2 * (LLAMA_8B.parameters - LLAMA_8B.embedding_parameters)
    assert work.bytes_moved.at(one, 0) == pytest.approx(weights + sampler, rel=0.01)
    assert work.flops.at(one, 0) == pytest.approx(2 * LLAMA_8B.active_parameters, rel=0.01)
    read = work.bytes_moved.at(context, 0) - work.bytes_moved.at(one, 0)
    assert read == pytest.approx(100_000 * 131_072, rel=1e-9)
    prompt = Batch(0, 0, 0, ((4096, 4096),))
    linear = 2 * LLAMA_8B.linear_parameters * 4096
    attention = 32 * 4 * 32 * 128 * 4096 * 4097 / 2
    head = 2 * LLAMA_8B.embedding_parameters
    assert work.flops.at(prompt, 0) == pytest.approx(linear + attention + head, rel=1e-3)


def test_what_limits_a_part() -> None:
    costs = costs_of()
    bound = {c.name: c for c in costs.components}

    def limits(name: str, batch: Batch) -> str:
        return bound[name].bound(batch, 0, BANDWIDTH)

    decode, prompt = Batch(64, 64_000), Batch(0, 0, 0, ((8192, 8192),))
    assert limits("gate_up_proj", decode) == "memory"
    assert limits("gate_up_proj", prompt) == "compute"
    assert limits("decode attention", decode) == "memory"
    assert limits("prefill attention", prompt) == "compute"
    assert limits("elementwise", Batch(1, 100)) == "launch"
    assert limits("host", decode) == "host"
    assert limits("all-reduce", decode) == "network"


# --- chunks next to decodes ------------------------------------------------------------------


def test_decodes_next_to_chunks_read_their_context_once_for_each_head_on_older_gpus() -> None:
    model = load_architecture("qwen3-14b")  # 40 query heads, 8 KV heads
    for name, slowdown in (("a100-sxm-80gb", 5), ("h100-sxm", 1)):
        costs = costs_of(model, load_gpu(name))
        plain, chunks = costs.table(), [(100, 100)]
        assert np.allclose(plain.mixed_context_s, (slowdown - 1) * plain.decode_context_s)
        longer = plain.iteration_s(8, 90_000, chunks) - plain.iteration_s(8, 80_000, chunks)
        alone = plain.iteration_s(8, 90_000) - plain.iteration_s(8, 80_000)
        assert longer == pytest.approx(slowdown * alone, rel=1e-6)
        batch = Batch(8, 80_000, 0, ((100, 100),))
        whole = sum(component.seconds.at(batch, 0) for component in costs.components)
        assert whole == pytest.approx(plain.iteration_s(8, 80_000, chunks), rel=1e-12)
    sinks = costs_of(GPT_OSS, load_gpu("a100-sxm-80gb")).table()
    assert np.all(sinks.mixed_context_s == 0)
