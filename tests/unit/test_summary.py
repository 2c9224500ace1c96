import json
from dataclasses import replace

import numpy as np
import pytest
from fake_record import TOKEN_S, fake_record

from simulator.exports.vllm_json import vllm_bench_result, write_json
from simulator.metrics.latency import METRICS, query_table
from simulator.metrics.record import LATENCY_PARTS, RunRecord
from simulator.metrics.summary import summarise
from simulator.result import Result

VLLM_KEYS = {
    "duration",
    "completed",
    "failed",
    "num_prompts",
    "total_input_tokens",
    "total_output_tokens",
    "request_throughput",
    "request_goodput",
    "output_throughput",
    "total_token_throughput",
    "max_output_tokens_per_s",
    "max_concurrent_requests",
} | {
    f"{statistic}_{name}_ms"
    for statistic in ("mean", "median", "std", "p50", "p90", "p95", "p99")
    for name in ("ttft", "tpot", "itl", "e2el")
}


def summary_of(record: RunRecord) -> dict:
    return summarise(record, query_table(record.requests))


@pytest.fixture(scope="module")
def record() -> RunRecord:
    return fake_record(2_000, load=0.8)


@pytest.fixture(scope="module")
def summary(record) -> dict:
    return summary_of(record)


def test_keys_are_those_of_vllm_and_more(summary):
    assert set(summary) >= VLLM_KEYS
    for name in METRICS:
        for statistic in ("mean", "median", "std", "p50", "p90", "p95", "p99"):
            assert summary[f"{statistic}_{name}_ms"] > 0
        for statistic in ("mean", "p50", "p90", "p95"):
            assert summary[f"{statistic}_{name}_ci95_ms"] > 0


def test_latencies_follow_their_definitions(record, summary):
    requests = record.requests
    e2el = requests["finish_s"] - requests["arrival_s"]
    ttft = requests["first_token_s"] - requests["arrival_s"]
    tpot = (e2el - ttft) / (requests["generated_tokens"] - 1)
    for name, values in (("ttft", ttft), ("e2el", e2el), ("tpot", tpot), ("tta", e2el)):
        assert summary[f"mean_{name}_ms"] == pytest.approx(1e3 * values.mean())
        assert summary[f"std_{name}_ms"] == pytest.approx(1e3 * np.std(values.to_numpy()))
        assert summary[f"p95_{name}_ms"] == pytest.approx(1e3 * np.percentile(values, 95))
        assert summary[f"median_{name}_ms"] == summary[f"p50_{name}_ms"]
    ttfo = requests["first_answer_s"] - requests["arrival_s"]
    assert summary["mean_ttfo_ms"] == pytest.approx(1e3 * ttfo.mean())
    # every gap of the record is within 0.8 and 1.4 times TOKEN_S
    assert 800 * TOKEN_S < summary["p50_itl_ms"] < 1400 * TOKEN_S


def test_the_parts_of_latency_add_up(summary):
    parts = sum(summary[f"mean_{part}"] for part in LATENCY_PARTS)
    assert parts == pytest.approx(summary["mean_e2el_ms"] / 1e3, rel=1e-9)


def test_throughput_when_everything_is_measured(record, summary):
    assert summary["duration"] == record.end_s
    assert summary["request_throughput"] == pytest.approx(2_000 / record.end_s)
    assert summary["output_throughput"] == pytest.approx(
        summary["total_output_tokens"] / summary["duration"], rel=1e-3
    )
    assert summary["request_goodput"] == pytest.approx(
        summary["slo_attainment"] * summary["request_throughput"]
    )
    assert (
        summary["total_thinking_tokens"] + summary["total_answer_tokens"]
        == summary["total_output_tokens"]
    )


def test_throughput_of_an_overloaded_window_is_what_came_out_in_it():
    """Requests that arrived in the window but finished long after it must not count as served."""
    record = fake_record(2_000, load=1.6, window_s=(60.0, 260.0))
    summary = summary_of(record)
    assert summary["verdict"] == "OVERLOADED"
    assert summary["completed"] == summary["num_prompts"]  # the drain serves them in the end
    assert summary["request_throughput"] < 1.15 * record.capacity_rps
    assert summary["request_throughput"] < 0.75 * summary["offered_rps"]


def test_costs_by_hand():
    record = fake_record(500, num_gpus=4, price_usd_per_gpu_hour=3.0, window_s=(10.0, 100.0))
    summary = summary_of(record)
    assert summary["gpu_hours"] == pytest.approx(4 * record.end_s / 3600)
    assert summary["cost_usd"] == pytest.approx(12 * record.end_s / 3600)
    assert summary["window_cost_usd"] == pytest.approx(12 * 90 / 3600)
    assert summary["cost_usd_per_million_output_tokens"] == pytest.approx(
        0.3 / record.window_output_tokens * 1e6
    )
    served = summary["request_throughput"] * 90
    assert summary["cost_usd_per_completed_query"] == pytest.approx(0.3 / served)


def test_nothing_is_dropped_silently():
    record = fake_record(1_000, load=1.5, cut_at_s=120.0)
    requests = record.requests.copy()
    requests.loc[3, ["status", "finish_s", "reason"]] = ["rejected", np.nan, "prompt too long"]
    requests.loc[5, ["status", "finish_s"]] = ["cancelled", np.nan]
    summary = summary_of(replace(record, requests=requests))
    lost = [summary[status] for status in ("rejected", "cancelled", "unfinished")]
    assert lost[:2] == [1, 1]
    assert lost[2] > 100
    assert summary["failed"] == sum(lost)
    assert summary["completed"] + summary["failed"] == summary["num_prompts"]
    assert any(f"{lost[2]} of {summary['num_prompts']} measured" in n for n in summary["notes"])


def test_requests_cut_while_thinking_have_no_answer_to_time(record):
    requests = record.requests.copy()
    cut = requests.index[:40]
    requests.loc[cut, "first_answer_s"] = np.nan
    requests.loc[cut, "finish_reason"] = "length"
    requests.loc[cut, "generated_tokens"] = requests.loc[cut, "thinking_tokens"]
    summary = summary_of(replace(record, requests=requests))
    assert summary["completed"] == 2_000
    assert summary["ttfo_count"] == summary["tta_count"] == 1_960
    assert summary["e2el_count"] == 2_000
    assert any(note.startswith("40 completed requests reached") for note in summary["notes"])
    assert summary["total_answer_tokens"] < record.requests["answer_tokens"].sum()


def test_only_measured_requests_count_towards_latency():
    record = fake_record(1_000, load=1.4, window_s=(0.0, 30.0))
    summary = summary_of(record)
    first = record.requests[record.requests["arrival_s"] < 30.0]
    assert summary["num_prompts"] == len(first) < 200
    assert summary["run_requests"] == 1_000
    assert summary["mean_e2el_ms"] == pytest.approx(
        1e3 * (first["finish_s"] - first["arrival_s"]).mean()
    )


def test_kv_use(record, summary):
    [pool] = record.pools
    assert summary["kv_usage_peak"] == pool.peak_kv_blocks / pool.kv_blocks
    assert 0 < summary["kv_usage_mean"] < summary["kv_usage_peak"]


def test_what_is_not_known_is_null_and_the_file_is_strict_json(tmp_path):
    record = fake_record(30, slo={}, capacity_rps=None, itl_batch_counts=None)
    summary = summary_of(record)
    for key in ("mean_ttft_ci95_ms", "p99_itl_ci95_ms", "request_goodput", "offered_load"):
        assert summary[key] is None
    write_json(summary, tmp_path / "summary.json")
    text = (tmp_path / "summary.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=pytest.fail) == summary


@pytest.mark.parametrize("window", [(1e6, 2e6), (1e6, 1e6)])
def test_a_window_without_requests_is_summed_up_too(window):
    summary = summary_of(fake_record(50, window_s=window, itl_batch_counts=None))
    assert summary["num_prompts"] == 0
    assert summary["verdict"] == "UNKNOWN"
    assert summary["mean_e2el_ms"] is None
    assert summary["max_concurrent_requests"] == 0


def test_a_run_without_a_single_request():
    record = fake_record(50)
    empty = replace(
        record,
        requests=record.requests.iloc[:0],
        timeline=record.timeline.iloc[:0],
        itl_counts=np.zeros_like(record.itl_counts),
        itl_batch_counts=None,
    )
    summary = summary_of(empty)
    assert summary["run_requests"] == 0
    assert summary["mean_itl_ms"] is None


def test_wall_time_stays_out(record):
    assert summary_of(replace(record, wall_s=99.0)) == summary_of(record)


def test_export_in_the_shape_of_vllm(record, summary, tmp_path):
    result = Result(record, {"pools": {"main": {"model": "llama-3.3-70b"}}})
    exported = vllm_bench_result(result)
    assert set(exported) >= VLLM_KEYS
    assert exported["model_id"] == "llama-3.3-70b"
    assert exported["p99_ttft_ms"] == summary["p99_ttft_ms"]
    assert "date" not in exported
    detailed = vllm_bench_result(result, detailed=True)
    assert detailed["input_lens"] == record.requests["prompt_tokens"].tolist()
    assert sum(detailed["output_lens"]) == summary["total_output_tokens"]
    assert 1e3 * np.mean(detailed["ttfts"]) == pytest.approx(summary["mean_ttft_ms"])
    assert set(detailed["errors"]) == {""}
    write_json(detailed, tmp_path / "vllm.json")
    assert json.loads((tmp_path / "vllm.json").read_text(encoding="utf-8")) == detailed


def test_export_says_why_requests_failed():
    record = fake_record(300, load=1.5, cut_at_s=60.0)
    requests = record.requests.copy()
    requests.loc[2, ["status", "finish_s", "reason"]] = ["rejected", np.nan, "prompt too long"]
    exported = vllm_bench_result(Result(replace(record, requests=requests), {}), detailed=True)
    assert exported["errors"][2] == "prompt too long"
    assert exported["errors"].count("unfinished") == exported["failed"] - 1
    assert exported["latencies"][2] == 0.0
    json.dumps(exported, allow_nan=False)
