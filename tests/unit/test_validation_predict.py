"""What the simulated client sees: the same numbers as a run's own summary, and as brute force."""

from dataclasses import replace

import numpy as np
import pytest

from simulator import load_experiment, run
from simulator.config.resolve import resolve_pool
from simulator.runner import simulate
from simulator.studies.validation import predict
from simulator.studies.validation.case import case_of
from simulator.studies.validation.client import client_metrics
from simulator.studies.validation.lengths import Histograms
from simulator.studies.validation.predict import simulate_case, spread
from simulator.studies.validation.steady import steady_times_s, stretch
from tests.cli.support import GOOD
from tests.validation_rows import ML_ENERGY, POINT
from workloads.laws.histogram import HistogramLength
from workloads.lengths import LognormalLength

LATENCIES = [f"{m}_{s}_ms" for m in ("ttft", "tpot", "itl", "e2el") for s in ("mean", "median")]
LATENCIES += [f"{m}_p99_ms" for m in ("ttft", "tpot", "itl", "e2el")]


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    path = tmp_path_factory.mktemp("validation") / "good.yaml"
    path.write_text(GOOD)
    return load_experiment(path, ["workload.arrivals={kind: all_at_once}"])


def test_the_client_counts_as_the_summary_does(experiment):
    summary = run(experiment).summary
    values = client_metrics(simulate(experiment).outcome, 2, LATENCIES)
    assert values["duration_s"] == pytest.approx(summary["duration"])
    assert values["output_tps"] == pytest.approx(summary["output_throughput"])
    assert values["output_tps_per_gpu"] == pytest.approx(summary["output_throughput"] / 2)
    assert values["total_tps"] == pytest.approx(summary["total_token_throughput"])
    assert values["req_per_s"] == pytest.approx(summary["request_throughput"])
    for column in LATENCIES:
        metric, statistic, _ = column.split("_")
        assert values[column] == pytest.approx(summary[f"{statistic}_{metric}_ms"]), column


def test_requests_in_flight_by_littles_law(experiment):
    outcome = simulate(experiment).outcome
    table = outcome.requests
    at = np.linspace(0, outcome.end_s, 20_001)
    inside = [((table["arrival_s"] <= t) & (t < table["finish_s"])).sum() for t in at]
    assert client_metrics(outcome, 1, [])["avg_running"] == pytest.approx(np.mean(inside), rel=1e-2)


@pytest.fixture(scope="module")
def steady():
    case = case_of(ML_ENERGY)
    pool = resolve_pool("points", case.pool)
    return simulate_case(
        replace(
            case, lengths=replace(case.lengths, output=LognormalLength(mu=5.0, sigma=0.8, max=2000))
        ),
        pool,
    )


def test_the_steady_window_lies_between_the_ramps(steady):
    seats, table = 16, steady.requests
    start_s, end_s = steady_times_s(steady, seats)
    assert start_s == np.sort(table["first_token_s"])[seats - 1]
    assert end_s == np.sort(table["finish_s"])[len(table) - seats - 2]
    assert steady_times_s(steady, len(table)) is None


def test_counters_of_a_stretch_match_the_requests(steady):
    start_s, end_s = steady_times_s(steady, 16)
    found = stretch(steady, start_s, end_s)
    assert found.seconds == end_s - start_s
    # every token between two times: those of a request are spread over its gaps
    table = steady.requests
    at = np.clip(np.array([start_s, end_s])[:, None], table["first_token_s"], table["finish_s"])
    gaps = (at[1] - at[0]) / (table["finish_s"] - table["first_token_s"])
    tokens = float((gaps * (table["generated_tokens"] - 1)).sum())
    assert found.output_tokens == pytest.approx(tokens, rel=0.02)
    running = np.clip(table["finish_s"], start_s, end_s)
    running = running - np.clip(table["first_scheduled_s"], start_s, end_s)
    assert found.running == pytest.approx(running.sum() / found.seconds, rel=0.01)
    assert found.running == pytest.approx(16, rel=0.02)


def test_stretches_add_up_to_the_whole(steady):
    middle_s = steady.end_s / 3
    total = stretch(steady, 0.0, steady.end_s)
    parts = [stretch(steady, 0.0, middle_s), stretch(steady, middle_s, steady.end_s)]
    assert sum(part.output_tokens for part in parts) == pytest.approx(total.output_tokens)
    assert total.output_tokens == steady.requests["generated_tokens"].sum()
    weighted = sum(part.running * part.seconds for part in parts)
    assert weighted == pytest.approx(total.running * total.seconds)


def test_a_row_of_ml_energy_is_measured_in_its_window():
    key = ("lm-arena-chat", ML_ENERGY.model, "h100", "1", "16")
    known = Histograms({key: HistogramLength(edges=[2, 100, 2000], counts=[9, 1])})
    made = predict(ML_ENERGY, ["itl_median_ms"], known)
    whole_run = replace(ML_ENERGY, load_mode="all requests at t=0")
    other = predict(whole_run, ["itl_median_ms"], known)
    assert made.values["itl_median_ms"] == other.values["itl_median_ms"]
    assert made.values["output_tps"] > 1.05 * other.values["output_tps"], "no ramps in it"
    assert made.values["avg_running"] == pytest.approx(16, rel=0.01)
    assert (made.gpu, made.model, made.mixture) == ("h100-sxm", "llama-3.1-8b", False)


def test_a_window_that_never_comes_leaves_its_columns_empty():
    made = predict(replace(ML_ENERGY, num_prompts=16), ["itl_median_ms"])
    assert "output_tps" not in made.values
    assert made.values["itl_median_ms"] > 0


def test_status_and_reason():
    assert predict(POINT, []).status in ("ok", "approximate")
    approximate = predict(replace(POINT, engine="SGLang"), [])
    assert approximate.status == "approximate"
    assert approximate.reason.startswith("SGLang simulated with vLLM's rules")
    unsupported = predict(replace(POINT, model="Nobody-7B"), [])
    assert (unsupported.status, dict(unsupported.values)) == ("unsupported", {})
    assert unsupported.reason == "model not catalogued: Nobody-7B"
    long = replace(POINT, isl_nominal="200000", isl_mean=200000.0)
    assert predict(long, []).reason.startswith("every request is refused")


GPT_OSS = replace(POINT, model="openai/gpt-oss-20b", weights="MXFP4")
OFF = " --no-enable-prefix-caching"


def scarce(share):
    """A server that leaves little for KV cache."""
    return f"vllm serve m --gpu-memory-utilization {share}"


def test_a_cache_that_is_missing_makes_a_result_approximate_where_it_matters():
    """It can only find what a preempted request or an equal prompt has left."""
    text = "prefix caching, which is not modelled for this model"

    def is_said(point, **changes):
        made = predict(replace(point, **changes), [])
        assert made.values
        return text in made.reason

    little = scarce(0.185)
    assert predict(replace(GPT_OSS, key_settings=little), []).status == "approximate"
    assert is_said(GPT_OSS, key_settings=little)
    assert is_said(GPT_OSS, key_settings=little, engine_version="0.33.0")
    assert not is_said(GPT_OSS, key_settings=little + OFF)
    assert not is_said(GPT_OSS)
    assert is_said(GPT_OSS, unclear="50 unique x repeats")
    assert not is_said(GPT_OSS, unclear="50 unique x repeats", key_settings=OFF)
    assert not is_said(POINT, key_settings=scarce(0.215))


def test_a_prompt_short_of_kv_cache_costs_nothing_where_prefixes_are_cached():
    """vLLM 0.11 admits by the first chunk: without a cache it computes chunks over and over."""
    prompt = {"isl_nominal": "6000", "isl_mean": 6000.0, "num_prompts": 24}
    budget = {"max_num_batched_tokens": 512}

    def recomputed(text):
        case = case_of(replace(POINT, key_settings=text, **prompt, **budget))
        outcome = simulate_case(case, resolve_pool("points", case.pool))
        computed = outcome.states["prefill_tokens"].sum()
        return computed / outcome.requests["prompt_tokens"].sum() - 1

    assert recomputed(scarce(0.235)) < 0.001
    assert recomputed(scarce(0.235) + OFF) > 0.1


def test_repeated_prompts_hit_the_cache():
    """Of 100 requests with 25 prompts, 75 compute no more than the last, unfilled block."""

    def computed(**changes):
        case = case_of(replace(POINT, max_num_seqs=8, **changes))
        outcome = simulate_case(case, resolve_pool("points", case.pool))
        table = outcome.requests
        left = table["prompt_tokens"] - table["cached_tokens"]
        return np.sort(left).tolist()

    assert computed(unclear="25 unique x repeats") == [500 % 16] * 75 + [500] * 25
    assert computed() == [500] * 100
    assert computed(unclear="25 unique x repeats", key_settings=OFF) == [500] * 100


def test_repeated_prompts_have_the_lengths_of_one_list():
    spread_out = {"isl_nominal": "800", "unclear": "25 unique x repeats; range-ratio 0.5"}
    case = case_of(replace(POINT, isl_mean=None, **spread_out))
    prompts = simulate_case(case, resolve_pool("points", case.pool)).requests["prompt_tokens"]
    np.testing.assert_array_equal(prompts, np.tile(prompts[:25], 4))
    assert len(np.unique(prompts)) > 20


def test_replicas_share_the_load():
    one = predict(replace(POINT, num_prompts=50), [])
    four = predict(replace(POINT, gpus=4, num_prompts=200), [])
    assert four.values["output_tps"] == pytest.approx(4 * one.values["output_tps"], rel=0.02)
    assert four.values["output_tps_per_gpu"] == four.values["output_tps"] / 4


def test_lengths_follow_their_law_as_closely_as_their_number_allows():
    law = LognormalLength(mu=6.0, sigma=1.0, max=4096)
    lengths = spread(law, 1000, "answer")
    assert lengths.mean() == pytest.approx(law.mean(), rel=2e-3)
    assert not (np.diff(lengths) >= 0).all(), "in no order"
    above = [(lengths > k).mean() for k in (100, 400, 2000)]
    np.testing.assert_allclose(above, law.survival([100, 400, 2000]), atol=1e-3)
    np.testing.assert_array_equal(lengths, spread(law, 1000, "answer"))
    assert not np.array_equal(lengths, spread(law, 1000, "prompt"))
