"""From the words of a row to a pool and its traffic."""

import json
from dataclasses import replace

import numpy as np
import pytest

from simulator import InputError
from simulator.config.resolve import resolve_pool
from simulator.studies.validation.case import case_of
from simulator.studies.validation.lengths import TASKS, lognormal_with_mean, read_histograms
from simulator.studies.validation.load import Unsupported
from simulator.studies.validation.prefixes import repeated
from simulator.studies.validation.server import ServerText, read_server_text
from tests.validation_rows import ML_ENERGY, POINT
from workloads.arrivals import AllAtOnceArrivals, ClosedLoopArrivals, PoissonArrivals
from workloads.laws.histogram import HistogramLength
from workloads.laws.lognormal import LognormalLength
from workloads.lengths import ConstantLength, UniformLength


def engine_of(**changes):
    case = case_of(replace(POINT, **changes))
    return resolve_pool("points", case.pool).engine


def reason(**changes):
    with pytest.raises(Unsupported) as caught:
        case_of(replace(POINT, **changes))
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("vllm serve m -tp 8 --enable-expert-parallel", {"expert_parallel": True}),
        (
            "vllm serve m --async-scheduling -pp 2",
            {"async_scheduling": True, "pipeline_parallel": 2},
        ),
        (
            "async_scheduling=True; max-model-len=20480; api-server-count 3",
            {"async_scheduling": True, "max_model_len": 20480},
        ),
        (
            "vllm serve m --max-model-len 32768 --max-num-batched-tokens 16384",
            {"max_model_len": 32768, "max_num_batched_tokens": 16384},
        ),
        ("vllm serve m -tp 8 --gpu-memory-utilization 0.85", {"gpu_memory_utilization": 0.85}),
        ("trtllm-serve m --max_seq_len=40960 --enable_chunked_prefill", {"max_model_len": 40960}),
        (
            "python3 -m sglang.launch_server --model-path m --tp-size 8 --enable-dp-attention "
            "--context-length=32768 --kv-cache-dtype fp8_e4m3",
            {"attention_dp": True, "max_model_len": 32768, "fp8_kv": True},
        ),
        (
            "TP1 x 8 DP replicas, FP8 weights+KV, max batch 2048 (512 Interactive), "
            "max_num_tokens 1536 (256 Interactive) per configs",
            {
                "tensor_parallel": 1,
                "copies": 8,
                "fp8_kv": True,
                "max_num_seqs": 2048,
                "max_num_batched_tokens": 1536,
            },
        ),
        (
            "TP8, FP8+KV FP8 (config: max batch 64, max_num_tokens 2560)",
            {
                "tensor_parallel": 8,
                "fp8_kv": True,
                "max_num_seqs": 64,
                "max_num_batched_tokens": 2560,
            },
        ),
        (
            '{"kv_cache": {"num_gpu_blocks": 2588, "num_cpu_blocks": null, "block_size": 16}}',
            {"num_gpu_blocks": 2588, "block_size": 16},
        ),
        ('{"kv_cache": [1]}', {}),
        (
            'max-model-len=51200; compilation-config \'{"cudagraph_mode":"PIECEWISE"}\'',
            {"max_model_len": 51200, "piecewise": True},
        ),
        ("vllm serve m --speculative-config '{}'", {"speculative": True}),
        ("vllm serve m --enable-prefix-caching", {"prefix_caching": True}),
        ("vllm serve m --no-enable-prefix-caching", {"prefix_caching": False}),
        ("", {}),
    ],
)
def test_settings_are_found_in_free_text(text, expected):
    assert read_server_text(replace(POINT, key_settings=text)) == ServerText(**expected)


def test_interactive_limits_hold_for_interactive_load():
    text = "TP1 x 8 DP replicas, max batch 2048 (512 Interactive), "
    text += "max_num_tokens 1536 (256 Interactive)"
    point = replace(
        POINT, key_settings=text, load_mode="open loop Poisson (LoadGen Interactive SLO)"
    )
    found = read_server_text(point)
    assert (found.max_num_seqs, found.max_num_batched_tokens) == (512, 256)


@pytest.mark.parametrize(
    ("version", "preset", "asynchronous"),
    [
        ("0.10.2", "vllm-0.11", False),
        ("0.13.0", "vllm-0.11", False),
        ("0.14.0", "vllm-0.33", True),
        ("vLLM 0.10.0, RHEL 9.6", "vllm-0.11", False),
        ("0.19.0", "vllm-0.33", True),
    ],
)
def test_the_version_decides_the_preset_and_its_scheduling(version, preset, asynchronous):
    case = case_of(replace(POINT, engine_version=version))
    assert case.pool.engine.preset == preset
    assert resolve_pool("points", case.pool).engine.async_scheduling is asynchronous
    assert case.assumed == ()


def test_async_scheduling_where_the_row_says_so():
    assert engine_of(key_settings="vllm serve m --async-scheduling").async_scheduling
    assert not engine_of(
        engine_version="0.33.0", key_settings="async_scheduling=False"
    ).async_scheduling


OFF = "vllm serve m --no-enable-prefix-caching"


def test_prefixes_are_cached_unless_the_row_says_otherwise():
    assert engine_of().enable_prefix_caching
    assert engine_of(engine_version="0.33.0").enable_prefix_caching
    assert engine_of(key_settings="vllm serve m --enable-prefix-caching").enable_prefix_caching
    assert not engine_of(key_settings=OFF).enable_prefix_caching
    assert not case_of(POINT).cache_missing
    assert not engine_of().scheduler_reserve_full_isl, "as vLLM 0.11 admits"


def test_whole_sequences_stand_in_for_a_cache_that_is_not_modelled():
    """gpt-oss has two groups of KV layers."""
    gpt_oss = {"model": "openai/gpt-oss-20b", "weights": "MXFP4"}
    engine = engine_of(**gpt_oss)
    assert engine.scheduler_reserve_full_isl
    assert not engine.enable_prefix_caching
    assert case_of(replace(POINT, **gpt_oss)).cache_missing
    asked = {**gpt_oss, "key_settings": "vllm serve m --enable-prefix-caching"}
    assert case_of(replace(POINT, **asked)).cache_missing
    assert not engine_of(**asked).enable_prefix_caching
    off = {**gpt_oss, "key_settings": OFF}
    assert not case_of(replace(POINT, **off)).cache_missing
    assert not engine_of(**off).scheduler_reserve_full_isl


UNIQUE = "num_prompts = 32 unique x repeats from sweeps.yaml; mean input length not published"


@pytest.mark.parametrize(
    ("unclear", "num_prompts", "repeats"),
    [
        (UNIQUE, 128, 4),
        (UNIQUE, 32, 1),
        (UNIQUE, 130, 1),
        (UNIQUE, 16, 1),
        ("repeats not resolved from sweeps.yaml ([]); unique prompts 32", 128, 1),
        ("0 unique x repeats", 128, 1),
        ("", 128, 1),
    ],
)
def test_prompts_are_repeated_where_the_row_says_so(unclear, num_prompts, repeats):
    point = replace(ML_ENERGY, unclear=unclear, num_prompts=num_prompts)
    assert case_of(point).repeats == repeats


def test_repeats_are_of_the_requests_that_the_histogram_counts(histograms):
    point = replace(ML_ENERGY, unclear="num_prompts = 20 unique x repeats", num_prompts=None)
    assert case_of(point, histograms).repeats == 2


def test_repeated_prompts_are_the_same_list_over_and_over():
    prompts = repeated(np.array([7, 5, 9]), 2)
    one = [[(0, 7)], [(1, 5)], [(2, 9)]]
    assert [prompts.of(i) for i in range(6)] == one + one
    assert (prompts.output_id == -1).all(), "nobody quotes an answer"


def test_an_unknown_version_is_an_assumption_an_old_one_is_refused():
    case = case_of(replace(POINT, engine_version="image of 2026-03"))
    assert case.pool.engine.preset == "vllm-0.33"
    assert case.assumed == ("vLLM image of 2026-03 as vllm-0.33",)
    assert "older than the rules" in reason(engine_version="0.6.3")


def test_other_engines_are_simulated_with_vllms_rules_and_say_so():
    for engine in ("SGLang", "TensorRT-LLM", "NIM (TensorRT-LLM)"):
        assert case_of(replace(POINT, engine=engine)).assumed[0] == (
            f"{engine} simulated with vLLM's rules"
        )
    assert "no rules" in reason(engine="TGI")


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"pd_config": "1P3D each TP2"}, "disaggregation"),
        ({"engine": "SGLang (PD disaggregated)"}, "disaggregation"),
        ({"model": "org/Nobody-Knows-7B"}, "model not catalogued: org/Nobody-Knows-7B"),
        ({"hardware": "TPU-v6"}, "GPU not catalogued: TPU-v6"),
        ({"weights": "TERNARY"}, "weights in TERNARY"),
        ({"pp": 2}, "pipeline"),
        ({"key_settings": "vllm serve m -pp 2"}, "pipeline"),
        ({"key_settings": "vllm serve m --speculative-config x"}, "speculative"),
        ({"ep": 4, "dp": 4, "gpus": 4}, "attention DP"),
        (
            {"key_settings": "launch_server --enable-dp-attention", "tp": 2, "gpus": 2},
            "attention DP",
        ),
        ({"gpus": 3, "tp": 2}, "3 GPUs do not make replicas of 2"),
        ({"tp": 64, "gpus": 64}, "tensor_parallel_size"),
        ({"model": "meta-llama/Llama-3.1-70B-Instruct"}, "does not fit"),
        ({"load_mode": "closed loop"}, "concurrency"),
        ({"load_mode": "open loop Poisson", "request_rate": float("inf")}, "request rate"),
        ({"load_mode": "by hand"}, "load mode: by hand"),
        ({"isl_nominal": "", "isl_mean": None}, "prompt length"),
        ({"osl_nominal": "natural EOS", "osl_mean": None}, "output length"),
    ],
)
def test_what_cannot_be_simulated_is_refused_with_the_reason(changes, word):
    assert word in reason(**changes)


def test_gpus_beyond_one_replica_make_independent_ones():
    pool = case_of(replace(POINT, gpus=8, tp=2)).pool
    assert (pool.replicas, pool.tensor_parallel_size) == (4, 2)


def test_an_unknown_layout_takes_the_smallest_replica_with_room_for_kv():
    point = replace(POINT, gpus=8, tp=None, model="Llama-3.1-70B", max_num_seqs=None)
    case = case_of(point)
    assert (case.pool.replicas, case.pool.tensor_parallel_size) == (2, 4)
    assert case.assumed == ("2 replicas of 4 GPUs",)


def test_the_budget_bounds_the_seats():
    engine = engine_of(max_num_seqs=2048, max_num_batched_tokens=1536)
    assert (engine.max_num_seqs, engine.max_num_batched_tokens) == (1536, 1536)


@pytest.mark.parametrize(
    ("model", "weights", "weight_dtype"),
    [
        ("meta-llama/Llama-3.1-8B", "bfloat16", "auto"),
        ("meta-llama/Llama-3.1-8B", "FP16", "auto"),
        ("meta-llama/Llama-3.1-8B", "FP8 (RedHat FP8; see code dir)", "fp8"),
        ("Qwen/Qwen3-32B-FP8", "FP8", "auto"),
        ("/workspace/Qwen3-32B", "BF16", "auto"),
    ],
)
def test_weights_are_the_checkpoints_own_or_what_the_column_says(model, weights, weight_dtype):
    assert case_of(replace(POINT, model=model, weights=weights)).pool.weight_dtype == weight_dtype


def test_kv_cache_in_fp8():
    fp8 = {"weights": "FP8"}
    assert case_of(replace(POINT, **fp8)).pool.kv_cache_dtype == "auto"
    assert case_of(replace(POINT, engine="TensorRT-LLM", **fp8)).pool.kv_cache_dtype == "fp8"
    assert case_of(replace(POINT, kv_dtype="fp8_e4m3")).pool.kv_cache_dtype == "fp8"


def test_load_modes():
    def arrivals(**changes):
        return case_of(replace(POINT, **changes)).arrivals

    assert arrivals() == AllAtOnceArrivals()
    assert arrivals(load_mode="offline max throughput (all queued)") == AllAtOnceArrivals()
    closed = arrivals(load_mode="closed loop max-concurrency", concurrency=7)
    assert closed == ClosedLoopArrivals(concurrency=7)
    poisson = arrivals(load_mode="open loop Poisson (LoadGen Server)", request_rate=3.5)
    assert poisson == PoissonArrivals(rate_rps=3.5)


def test_fixed_lengths():
    lengths = case_of(POINT).lengths
    assert (lengths.prompt, lengths.output) == (
        ConstantLength(tokens=500),
        ConstantLength(tokens=50),
    )
    assert lengths.fixed


def test_range_ratio_spreads_below_the_nominal_length():
    changes = {"load_mode": "closed loop (random, range-ratio 0.8)", "concurrency": 2}
    lengths = case_of(replace(POINT, isl_mean=None, osl_mean=None, **changes)).lengths
    assert lengths.prompt == UniformLength(min=400, max=500)
    assert lengths.output == UniformLength(min=40, max=50)


def test_range_ratio_0_keeps_the_rows_means():
    point = replace(
        POINT,
        unclear="random-range-ratio 0: actual lengths uniform in [0,nominal]",
        isl_nominal="1000",
        isl_mean=610.1,
        osl_nominal="1000",
        osl_mean=421.0,
    )
    lengths = case_of(point).lengths
    assert lengths.prompt == UniformLength(min=220, max=1000)
    assert lengths.output == UniformLength(min=1, max=841)
    assert lengths.output.mean() == 421


def test_outputs_that_ended_early_are_spread_around_their_mean():
    output = case_of(replace(POINT, osl_nominal="200", osl_mean=134.5)).lengths.output
    assert output == UniformLength(min=69, max=200)
    assert output.mean() == 134.5


def test_sharegpt_lengths_have_the_rows_means():
    point = replace(POINT, isl_nominal="", osl_nominal="", isl_mean=215.3, osl_mean=197.0)
    lengths = case_of(replace(point, notes="ShareGPT; section: 1. Engine")).lengths
    assert isinstance(lengths.prompt, LognormalLength)
    assert lengths.prompt.mean() == pytest.approx(215.3, rel=1e-6)
    assert lengths.output.mean() == pytest.approx(197.0, rel=1e-6)
    assert lengths.assumed
    assert lognormal_with_mean(1.0, 1.2, 1024) == ConstantLength(tokens=1)


@pytest.fixture
def histograms(tmp_path):
    entries = {
        "lm-arena-chat|meta-llama/Llama-3.1-8B-Instruct|h100|1|16": [10, 20, 10],
        "lm-arena-chat|meta-llama/Llama-3.1-8B-Instruct|h100|1|64": [1, 1, 1],
        "gpqa|Qwen/Qwen3-8B|h100|1|16": [1, 1, 1],
    }
    path = tmp_path / "h.json"
    hist = {key: {"bins": [2, 100, 300, 4096], "counts": c} for key, c in entries.items()}
    path.write_text(json.dumps({"note": "x", "hist": hist}))
    return read_histograms(path)


def test_an_ml_energy_row_has_its_own_histogram_and_a_steady_window(histograms):
    case = case_of(ML_ENERGY, histograms)
    assert case.steady_seats == 16
    assert case.pool.engine.max_num_seqs == 16
    assert case.pool.engine.max_model_len == 20480
    assert case.arrivals == AllAtOnceArrivals()
    assert case.lengths.prompt == ConstantLength(tokens=TASKS["lm-arena-chat"].prompt_tokens)
    output = case.lengths.output
    assert isinstance(output, HistogramLength)
    assert output.counts == (10, 20, 10)
    assert output.max == 4096
    assert output.mean() == pytest.approx(200.0)
    assert case.assumed == ()
    assert case.num_requests == 128


def test_without_a_histogram_of_its_own_a_row_takes_the_most_similar(histograms):
    case = case_of(replace(ML_ENERGY, max_num_seqs=80), histograms)
    assert case.lengths.output.counts == (1, 1, 1)
    assert case.assumed == ("output lengths spread as in a similar row's histogram",)
    alone = case_of(ML_ENERGY)
    assert alone.lengths.output == ConstantLength(tokens=200)
    assert alone.assumed == ("all outputs of mean length",)


def test_how_many_requests_were_sent(histograms):
    def count(point, known=None):
        case = case_of(point, known)
        return case.num_requests, case.assumed

    assert count(POINT) == (100, ())
    assert count(replace(ML_ENERGY, num_prompts=None), histograms) == (40, ())
    many = replace(ML_ENERGY, num_prompts=None, max_num_seqs=1000)
    assert count(many)[0] == 2 * TASKS["lm-arena-chat"].unique_prompts
    closed = replace(POINT, num_prompts=None, load_mode="closed loop", concurrency=5)
    assert count(closed) == (50, ())
    bench = replace(POINT, num_prompts=None, isl_nominal="128", osl_nominal="2048", isl_mean=128.0)
    bench = replace(bench, osl_mean=2048.0, key_settings="trtllm-bench throughput")
    assert count(bench) == (3000, ())
    assert count(replace(POINT, num_prompts=None))[1] == ("3,000 requests",)
    server = replace(POINT, num_prompts=None, load_mode="open loop Poisson", request_rate=2.0)
    assert count(server) == (1200, ("1,200 requests",))


def test_itl_of_a_client_that_saw_bunches_is_not_compared():
    assert case_of(POINT).itl_comparable
    assert not case_of(replace(POINT, unclear="ITL ~10x TPOT; use TPOT")).itl_comparable


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", 'must be JSON with a mapping under "hist"'),
        ('{"hist": 3}', 'must be JSON with a mapping under "hist"'),
        ('{"hist": {"a|b|c|1": {}}}', "hist.a|b|c|1: the key must be task"),
        ('{"hist": {"a|b|c|1|8": {"bins": [1, 2]}}}', "must hold bins and counts"),
        ('{"hist": {"a|b|c|1|8": {"bins": [2, 1], "counts": [1]}}}', "edges must be ascending"),
    ],
)
def test_bad_histograms(tmp_path, text, message):
    path = tmp_path / "h.json"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_histograms(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(("itl_ms", "comparable"), [(0.02, False), (19.5, True)])
def test_gaps_between_bunches_of_tokens_are_not_compared(itl_ms, comparable):
    measured = {"itl_median_ms": itl_ms, "tpot_median_ms": 20.1}
    assert case_of(replace(POINT, measured=measured)).itl_comparable is comparable
