"""Traffic around the window: requests go on coming until the last measured one has left."""

import numpy as np
import pytest

from simulator import InputError, load_experiment, run
from tests.cli.support import GOOD

BASE = ["workload.num_requests=null", "workload.arrivals.rate_rps=20"]


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    return path


def simulate(good, *overrides):
    return run(load_experiment(good, [*BASE, *overrides]), check_integrity=True)


@pytest.mark.parametrize(
    "measure", ["{warmup_s: 5, window_s: 10}", "{warmup_requests: 100, window_requests: 200}"]
)
def test_requests_go_on_until_the_last_measured_one_has_left(good, measure):
    result = simulate(good, f"measure={measure}")
    requests, record = result.requests, result.record
    measured = requests[requests["measured"]]
    assert (measured["status"] == "completed").all()
    assert record.end_s == measured["finish_s"].max() > record.window_s[1]
    assert requests["arrival_s"].max() <= record.end_s
    # The pool is as busy when it ends as it was in the window.
    rates = np.histogram(requests["arrival_s"], bins=5, range=(0, record.end_s))[0]
    assert rates.min() > 0.5 * rates.mean()
    assert not any("running empty" in note for note in record.notes)


def test_background_requests_may_be_under_way_at_the_end(good):
    result = simulate(good, "measure={warmup_s: 5, window_s: 10}")
    background = result.requests[~result.requests["measured"]]
    assert set(background["status"]) == {"completed", "unfinished"}
    assert result.summary["unfinished"] == 0
    assert result.summary["run_unfinished"] > 0


def test_what_is_measured_does_not_depend_on_traffic_that_comes_too_late(good):
    window = "measure={warmup_s: 5, window_s: 10}"
    short = simulate(good, window)
    long = simulate(good, window, "workload.duration_s=200")
    columns = ["arrival_s", "finish_s", "generated_tokens"]
    np.testing.assert_array_equal(
        short.requests.loc[short.requests["measured"], columns],
        long.requests.loc[long.requests["measured"], columns],
    )
    assert short.record.end_s == long.record.end_s


def test_a_workload_that_ends_by_itself_is_said_to_have_run_dry(good):
    result = simulate(good, "measure={warmup_s: 5, window_s: 10}", "workload.duration_s=15")
    assert any("running empty" in note for note in result.summary["notes"])


def test_an_idle_end_of_the_window_is_paid_for(good):
    result = simulate(good, "measure={warmup_s: 0, window_s: 500}", "workload.duration_s=5")
    summary = result.summary
    assert summary["duration"] == 500
    assert summary["request_throughput"] == summary["completed"] / 500
    assert summary["window_gpu_hours"] == pytest.approx(500 / 3600)


def test_an_empty_window_is_refused(good):
    with pytest.raises(InputError, match="measure: no request arrives"):
        simulate(good, "measure={warmup_s: 50, window_s: 10}", "workload.duration_s=5")


def test_refused_requests_are_no_load(good):
    long = "workload.prompt_tokens={kind: uniform, min: 100, max: 32000}"
    result = simulate(good, "measure={warmup_s: 5, window_s: 20}", long)
    summary = result.summary
    assert 0 < summary["rejected"] < summary["num_prompts"]
    got_in = summary["num_prompts"] - summary["rejected"]
    assert summary["offered_rps"] == pytest.approx(got_in / 20)
    assert any("were rejected: prompt leaves no room" in note for note in summary["notes"])


def test_requests_that_admission_control_rejects_are_load(good):
    measure = "measure={warmup_s: 5, window_s: 20}"
    narrow = (measure, "pools.reasoning.engine.max_num_seqs=2")
    gate = "admission={kind: queue_cap, max_waiting_per_replica: 3}"
    without, behind = simulate(good, *narrow).summary, simulate(good, *narrow, gate).summary
    assert behind["rejected"] > 0.2 * behind["num_prompts"]
    assert behind["offered_rps"] == without["offered_rps"] == behind["num_prompts"] / 20
    assert behind["verdict"] == without["verdict"] == "OVERLOADED"
    counts = f"rejected {behind['rejected']:,} of {behind['num_prompts']:,} requests"
    assert counts in behind["verdict_reason"]
    assert any("were rejected: every queue is full" in note for note in behind["notes"])


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("scheduler=no_evict", "leaves out the KV that scheduler no_evict reserves"),
        ("kv_compression={budget_tokens: 256}", "leaves out KV compression"),
        ("batching=static", "leaves out the seats that static batching leaves empty"),
    ],
)
def test_what_the_estimate_of_capacity_leaves_out(good, option, said):
    notes = simulate(good, f"pools.reasoning.engine.{option}", "workload.num_requests=20").summary[
        "notes"
    ]
    assert [said in note for note in notes].count(True) == 1
    plain = simulate(good, "workload.num_requests=20").summary["notes"]
    assert not any("estimated capacity" in note for note in plain)


def test_when_all_are_refused_nothing_is_judged(good):
    all_too_long = "workload.prompt_tokens={kind: constant, tokens: 30000}"
    summary = simulate(good, "measure={warmup_s: 5, window_s: 20}", all_too_long).summary
    assert (summary["verdict"], summary["capacity_rps"]) == ("UNKNOWN", None)
    assert summary["completed"] == 0


def test_drain_s_ends_the_run_whatever_is_left(good):
    window = "measure={warmup_s: 5, window_s: 10, drain_s: 1}"
    result = simulate(good, window, "workload.arrivals.rate_rps=200")
    assert result.record.end_s == 16.0
    assert result.summary["unfinished"] > 0


@pytest.mark.parametrize("drain", ["null", "100"])
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_the_run_ends_with_the_window_or_the_last_measured_request(good, drain, seed):
    window = f"measure={{warmup_s: 5, window_s: 60, drain_s: {drain}}}"
    result = simulate(good, window, "workload.arrivals.rate_rps=0.2", f"seed={seed}")
    last_s = result.requests.loc[result.requests["measured"], "finish_s"].max()
    assert result.record.end_s == max(65.0, last_s)
