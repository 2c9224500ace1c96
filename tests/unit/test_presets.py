"""Presets and what a pool resolves to; figures from vllm_schedules/SPEC.md, sections 10 and 11."""

from typing import Any

import pytest

from hardware_profiles.profile import GpuProfile, load_gpu
from simulator.config import resolve
from simulator.config.experiment import EngineSettings, PoolSettings
from simulator.config.presets import GIB, PRESETS
from simulator.config.resolve import ResolvedPool, resolve_pool
from simulator.errors import InputError


def _pool(**changes: Any) -> ResolvedPool:
    engine = EngineSettings(**changes.pop("engine", {}))
    data = {"model": "llama-3.1-8b", "gpu": "h100-sxm", **changes}
    return resolve_pool("main", PoolSettings(**data, engine=engine))


def _problems(**changes: Any) -> list[str]:
    with pytest.raises(InputError) as caught:
        _pool(**changes)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("preset", "gpu", "memory_gib", "budget", "seqs"),
    [
        ("vllm-0.33", "b200", 180, 16384, 1024),
        ("vllm-0.33", "h100-sxm", 79.6, 8192, 1024),
        ("vllm-0.33", "h200-sxm", 141, 8192, 1024),
        ("vllm-0.33", "a100-sxm-80gb", 79.3, 2048, 256),
        ("vllm-0.33", "l40s", 44.5, 2048, 256),
        ("vllm-0.11", "b200", 180, 8192, 1024),
        ("vllm-0.11", "h100-sxm", 79.6, 8192, 1024),
        ("vllm-0.11", "NVIDIA A100-SXM4-80GB", 79.3, 2048, 256),
    ],
)
def test_default_budgets_by_device(
    preset: str, gpu: str, memory_gib: float, budget: int, seqs: int
) -> None:
    row = PRESETS[preset].budget(gpu, memory_gib * GIB)
    assert (row.max_num_batched_tokens, row.max_num_seqs) == (budget, seqs)


def test_vllm_033() -> None:
    engine = _pool(engine={"preset": "vllm-0.33"}).engine
    assert engine.scheduler_reserve_full_isl
    assert engine.long_prefill_spares_lone_request
    assert (engine.max_num_batched_tokens, engine.max_num_seqs) == (8192, 1024)
    assert (engine.watermark, engine.block_size, engine.enable_chunked_prefill) == (0.0, 16, True)
    assert (engine.prefill_schedule_interval, engine.max_num_active_seqs) == (1, None)
    assert engine.async_scheduling


def test_vllm_011_checks_only_the_first_chunk() -> None:
    engine = _pool(engine={"preset": "vllm-0.11"}).engine
    assert not engine.scheduler_reserve_full_isl
    assert not engine.long_prefill_spares_lone_request
    assert not engine.async_scheduling


def test_the_older_preset_uses_less_memory() -> None:
    old, new = (_pool(engine={"preset": name}).memory for name in ("vllm-0.11", "vllm-0.33"))
    assert old is not None
    assert new is not None
    total = new.lines["total"]
    assert old.lines["utilisation"] == pytest.approx(0.90 * total, abs=1)
    assert new.lines["utilisation"] == pytest.approx(0.92 * total, abs=1)
    assert old.num_gpu_blocks < new.num_gpu_blocks


@pytest.mark.parametrize("preset", list(PRESETS))
def test_prefixes_are_cached_unless_something_is_in_the_way(preset: str) -> None:
    assert _pool(engine={"preset": preset}).engine.enable_prefix_caching
    off = _pool(engine={"preset": preset, "enable_prefix_caching": False})
    assert not off.engine.enable_prefix_caching
    compression = {"preset": preset, "kv_compression": {"budget_tokens": 1000}}
    for changes, words in (
        ({"engine": {"preset": preset, "batching": "static"}}, "has no part in static"),
        ({"engine": compression}, "is off: compressed KV"),
        ({"model": "gpt-oss-20b", "engine": {"preset": preset}}, "is not modelled for models"),
    ):
        pool = _pool(**changes)
        assert not pool.engine.enable_prefix_caching
        [note] = [note for note in pool.notes if "caches prefixes by default" in note]
        assert words in note
        assert not any("caches prefixes" in note for note in off.notes)


def test_a_prefix_cache_that_cannot_be_is_refused() -> None:
    [problem] = _problems(model="gpt-oss-20b", engine={"enable_prefix_caching": True})
    assert problem.startswith("pools.main.engine.enable_prefix_caching: is not modelled for")


def test_swapping_needs_somewhere_to_swap_to() -> None:
    [problem] = _problems(engine={"preemption": "swap"})
    assert problem.startswith("pools.main.engine.host_kv_gib: preemption swap needs host memory")
    engine = _pool(engine={"preemption": "swap", "host_kv_gib": 16.0}).engine
    per_token = 16 * 2**30 / engine.host_kv_tokens
    # llama-3.1-8b: 32 layers x 8 heads x 128 x keys and values in bf16, over PCIe at 64 GB/s.
    assert per_token == pytest.approx(131_072, rel=1e-3)
    assert engine.host_token_s == pytest.approx(131_072 / 64e9)


def test_compression_is_told_its_budget_and_cost() -> None:
    compression = {"budget_frac": 0.5, "interval_iterations": 64, "passes": 2.0}
    engine = _pool(engine={"kv_compression": compression}).engine
    assert (engine.kv_budget_tokens, engine.kv_budget_frac) == (0, 0.5)
    assert engine.kv_compression_interval == 64
    assert engine.kv_compression_token_s == pytest.approx(2 * 131_072 / 3350e9)


FIELDS: dict[str, Any] = {
    "max_num_seqs": 17,
    "max_num_batched_tokens": 333,
    "max_model_len": 4096,
    "num_gpu_blocks": 5000,
    "block_size": 32,
    "watermark": 0.1,
    "scheduler_reserve_full_isl": False,
    "long_prefill_token_threshold": 100,
    "long_prefill_token_threshold_adaptive": True,
    "max_num_active_seqs": 5,
    "prefill_schedule_interval": 4,
    "stepping": "iteration",
    "async_scheduling": None,  # set to what the preset does not do
}


@pytest.mark.parametrize("preset", list(PRESETS))
@pytest.mark.parametrize("field", list(FIELDS))
def test_any_field_overrides_the_preset(preset: str, field: str) -> None:
    value = FIELDS[field]
    if value is None:
        value = not PRESETS[preset].fields[field]
    engine = _pool(engine={"preset": preset, field: value}).engine
    assert getattr(engine, field) == value


def test_default_model_length_is_lowered_to_the_cache_and_said() -> None:
    pool = _pool(engine={"num_gpu_blocks": 101})
    assert pool.engine.max_model_len == 1600
    note = "max_model_len is 1600 tokens, of the 131072 the model could take"
    assert note in pool.notes
    assert pool.memory is None
    # Said of an experiment with everything written out, too.
    assert note in _pool(engine={"num_gpu_blocks": 101, "max_model_len": 1600}).notes
    assert not any("max_model_len" in note for note in _pool().notes)


def test_figures_that_are_only_examples_are_said() -> None:
    uncalibrated = "the profile of h100-pcie is not calibrated"
    example = "per GPU-hour is an example price; set price_usd_per_gpu_hour"
    price = load_gpu("h100-sxm").price.si
    for given in (None, price):  # a resolved experiment has the price written out
        notes = " ".join(_pool(price_usd_per_gpu_hour=given).notes)
        assert f"${price:g} {example}" in notes
    assert example not in " ".join(_pool(price_usd_per_gpu_hour=9.5).notes)
    assert uncalibrated in " ".join(_pool(gpu="h100-pcie").notes)
    assert "calibrated" not in " ".join(_pool().notes)


def test_more_active_seqs_than_seqs_is_refused() -> None:
    [problem] = _problems(engine={"max_num_seqs": 8, "max_num_active_seqs": 9})
    assert problem == "pools.main.engine.max_num_active_seqs: 9 is above max_num_seqs 8"


def test_memory_decides_the_default_model_length() -> None:
    """A 70B model in bf16 on two GPUs leaves room for far less than its 131,072 positions."""
    pool = _pool(model="llama-3.3-70b", tensor_parallel_size=2)
    assert pool.memory is not None
    assert pool.engine.max_model_len == pool.memory.usable_tokens < 131072


def test_explicit_model_length_that_cannot_fit_names_the_largest() -> None:
    [problem] = _problems(engine={"num_gpu_blocks": 101, "max_model_len": 1601})
    assert problem.startswith("pools.main.engine.max_model_len: ")
    assert "1600" in problem
    assert _pool(engine={"num_gpu_blocks": 101, "max_model_len": 1600}).engine.max_model_len == 1600


def test_without_chunks_the_default_budget_holds_a_whole_prompt() -> None:
    engine = {"enable_chunked_prefill": False, "max_model_len": 20000}
    assert _pool(engine=engine).engine.max_num_batched_tokens == 20000
    engine = {"enable_chunked_prefill": False, "max_model_len": 4000}
    assert _pool(engine=engine).engine.max_num_batched_tokens == 8192


def test_without_chunks_a_given_budget_must_hold_a_whole_prompt() -> None:
    engine = {
        "enable_chunked_prefill": False,
        "max_model_len": 4096,
        "max_num_batched_tokens": 4095,
    }
    [problem] = _problems(engine=engine)
    assert problem.startswith("pools.main.engine.max_num_batched_tokens: 4095 is below")


def test_default_budgets_bound_each_other() -> None:
    # The default token budget is no more than all seats could fill.
    engine = _pool(engine={"max_num_seqs": 2, "max_model_len": 512}).engine
    assert engine.max_num_batched_tokens == 1024
    # The default number of seats is no more than the token budget.
    engine = _pool(engine={"max_num_batched_tokens": 100}).engine
    assert engine.max_num_seqs == 100


def test_a_given_budget_below_the_given_seats_is_refused() -> None:
    [problem] = _problems(engine={"max_num_batched_tokens": 10, "max_num_seqs": 20})
    assert problem.startswith("pools.main.engine.max_num_batched_tokens: 10 is below")


def test_everything_wrong_with_a_pool_at_once() -> None:
    assert [
        line.split(": ")[0]
        for line in _problems(model="llama-9", gpu="h9", engine={"enable_prefix_caching": True})
    ] == ["pools.main.model", "pools.main.gpu"]
    found = _problems(
        model="llama-3.3-70b",
        engine={"max_num_batched_tokens": 10, "max_num_seqs": 20, "max_model_len": 10**6},
    )
    assert [line.split(": ")[0] for line in found] == ["pools.main.engine.max_model_len"]


def test_too_large_a_model_says_what_would_fit() -> None:
    [problem] = _problems(model="llama-3.3-70b")
    assert problem.startswith("pools.main.model: llama-3.3-70b does not fit on h100-sxm")
    assert "GiB" in problem
    assert "tensor_parallel_size 2" in problem


def test_price_comes_from_the_profile_unless_given() -> None:
    assert _pool().price_usd_per_gpu_hour == load_gpu("h100-sxm").price.si
    assert _pool(price_usd_per_gpu_hour=9.5).price_usd_per_gpu_hour == 9.5
    assert _pool(price_usd_per_gpu_hour=0.0).price_usd_per_gpu_hour == 0.0


def test_number_formats_the_gpu_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    full = load_gpu("h100-sxm")
    kernels = full.kernels.model_copy(
        update={
            name: {"bf16": getattr(full.kernels, name)["bf16"]}
            for name in ("gemm", "decode_attention", "prefill_attention")
        }
        | {"all_reduce": {}}
    )
    poor = full.model_copy(update={"kernels": kernels})

    def load(_: str) -> GpuProfile:
        return poor

    monkeypatch.setattr(resolve, "load_gpu", load)
    found = _problems(weight_dtype="fp8", kv_cache_dtype="fp8", tensor_parallel_size=2)
    assert [line.split(": ")[0] for line in found] == [
        "pools.main.weight_dtype",
        "pools.main.kv_cache_dtype",
        "pools.main.tensor_parallel_size",
    ]
