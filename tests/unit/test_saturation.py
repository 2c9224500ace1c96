from dataclasses import replace

import numpy as np
import pytest
from fake_record import fake_record

from simulator.engine.refusal import LONG_PROMPT, LONG_TOTAL, of_every_pool
from simulator.metrics.load import (
    arrival_span,
    completed_in_window,
    max_concurrent_requests,
    max_output_tokens_per_s,
    offered_rps,
)
from simulator.metrics.saturation import growth, saturation


def verdict(load: float, seed: int = 1, **fields: object) -> str:
    return saturation(fake_record(1_000, load=load, seed=seed, **fields)).verdict


def test_a_pool_with_room_is_ok():
    result = saturation(fake_record(1_000, load=0.7))
    assert result.verdict == "OK"
    assert result.offered_load == pytest.approx(0.7, rel=0.1)
    assert "no steady growth" in result.reason


def test_a_growing_queue_is_overload():
    result = saturation(fake_record(1_000, load=1.5))
    assert result.verdict == "OVERLOADED"
    assert result.queue_growth > 200
    assert "queue grew by" in result.reason
    assert f"{result.offered_load:.2f} x" in result.reason


def test_the_queue_alone_betrays_overload_when_capacity_is_unknown():
    result = saturation(fake_record(1_000, load=1.5, capacity_rps=None))
    assert result.verdict == "OVERLOADED"
    assert result.offered_load is None
    assert result.capacity_rps is None


def test_the_tail_in_which_the_queue_drains_does_not_hide_its_growth():
    record = fake_record(1_000, load=1.5)
    assert record.window_s[1] > 1.3 * arrival_span(record)[1]
    assert saturation(record).verdict == "OVERLOADED"


def test_verdicts_over_many_runs():
    """Few false alarms on a busy pool whose queue comes and goes, few misses on a choked one."""
    busy = [verdict(0.85, seed, capacity_rps=None) for seed in range(20)]
    choked = [verdict(1.25, seed, capacity_rps=None) for seed in range(20)]
    assert busy.count("OVERLOADED") <= 2
    assert busy.count("OK") >= 15
    assert choked.count("OVERLOADED") >= 17
    assert choked.count("OK") <= 1


def test_seats_that_fill_under_too_high_a_load_are_overload_before_a_queue_forms():
    record = fake_record(400, load=0.7)
    timeline = record.timeline.assign(
        waiting=0, running=(0.5 * record.timeline["t_s"]).astype(np.int64)
    )
    filling = replace(record, timeline=timeline)
    assert saturation(filling).verdict == "OK"
    beyond = replace(filling, capacity_rps=offered_rps(record) / 1.3)
    result = saturation(beyond)
    assert result.verdict == "OVERLOADED"
    assert "1.30 x" in result.reason


def test_a_steady_pool_is_ok_whatever_the_estimate_of_its_capacity():
    record = fake_record(1_000, load=0.7)
    result = saturation(replace(record, capacity_rps=offered_rps(record) / 1.1))
    assert result.verdict == "OK"
    assert "although the offered load is 1.10 x" in result.reason


def turning_away(record, share, reason="every queue is full"):
    """The record with a share of its requests rejected, spread evenly."""
    requests = record.requests.copy()
    before = np.floor(np.arange(len(requests) + 1) * share + 1e-9)
    gone = np.diff(before) == 1
    requests.loc[gone, ["status", "finish_s", "reason"]] = ["rejected", np.nan, reason]
    return replace(record, requests=requests)


def test_what_admission_control_turns_away_is_load():
    record = fake_record(1_000, load=0.7)
    all_in = offered_rps(record)
    shed = turning_away(record, 0.6)
    assert offered_rps(shed) == pytest.approx(all_in)
    result = saturation(replace(shed, capacity_rps=0.5 * all_in))
    assert result.verdict == "OVERLOADED"
    assert result.offered_load == pytest.approx(2.0)
    assert "2.00 x the estimated capacity" in result.reason
    assert "rejected 600 of 1,000 requests (60%)" in result.reason


def test_rejections_below_the_capacity_are_told_but_no_overload():
    result = saturation(turning_away(fake_record(1_000, load=0.7), 0.6))
    assert result.verdict == "OK"
    assert "rejected 600 of 1,000 requests (60%)" in result.reason
    few = turning_away(fake_record(1_000, load=0.7), 0.01)
    assert saturation(replace(few, capacity_rps=offered_rps(few) / 1.1)).verdict == "OK"
    assert "Admission" not in saturation(fake_record(1_000, load=0.7)).reason


def test_an_admission_control_that_lets_hardly_anybody_in():
    shed = turning_away(fake_record(1_000, load=0.7), 0.97)
    result = saturation(replace(shed, capacity_rps=offered_rps(shed) / 5.0))
    assert result.verdict == "OVERLOADED"
    assert "rejected 970 of 1,000 requests (97%)" in result.reason


@pytest.mark.parametrize("reason", [LONG_PROMPT, LONG_TOTAL, of_every_pool(LONG_TOTAL)])
def test_requests_too_long_for_every_pool_are_no_load(reason):
    record = fake_record(1_000, load=0.7)
    refused = turning_away(record, 0.6, reason)
    assert offered_rps(refused) == pytest.approx(0.4 * offered_rps(record))
    assert "rejected" not in saturation(refused).reason


def test_too_little_data_is_said_to_be_so():
    few = saturation(fake_record(30, load=2.0))
    assert few.verdict == "UNKNOWN"
    assert "30 measured requests" in few.reason
    coarse = saturation(fake_record(500, load=2.0, timeline_rows=10))
    assert coarse.verdict == "UNKNOWN"
    assert "readings" in coarse.reason


def test_a_burst_at_the_start_has_no_rate():
    record = fake_record(200)
    burst = replace(record, requests=record.requests.assign(arrival_s=0.0))
    result = saturation(burst)
    assert result.verdict == "UNKNOWN"
    assert result.offered_rps is None


def test_growth_of_a_straight_line():
    times = np.linspace(0, 100, 201)
    line = growth(times, 3 + 0.5 * times)
    assert line.total == pytest.approx(50)
    assert line.p_value < 1e-12
    assert growth(times, 3 - 0.5 * times).p_value > 0.999
    assert growth(times, np.full(201, 7.0)).p_value == 1.0


def test_offered_rate_is_that_of_the_time_in_which_requests_came():
    record = fake_record(1_000, load=1.5)
    arrivals = record.requests["arrival_s"]
    assert offered_rps(record) == pytest.approx(1_000 / arrivals.max())
    inside = fake_record(1_000, load=1.5, window_s=(50.0, 100.0))
    assert offered_rps(inside) == pytest.approx(len(inside.measured) / 50.0)


def test_concurrency_matches_a_count_at_every_moment():
    for window in (None, (40.0, 90.0)):
        record = fake_record(300, load=1.2, window_s=window)
        requests = record.requests
        start, end = record.window_s
        moments = np.concatenate([[start], requests["arrival_s"]])
        moments = moments[(moments >= start) & (moments < end)]
        inside = (requests["arrival_s"].to_numpy() <= moments[:, None]) & (
            requests["finish_s"].to_numpy() > moments[:, None]
        )
        assert max_concurrent_requests(record) == inside.sum(axis=1).max()


def test_completions_count_by_when_they_happened():
    record = fake_record(300, window_s=(40.0, 90.0))
    finish = record.requests["finish_s"]
    assert (
        completed_in_window(record, record.requests) == ((finish >= 40.0) & (finish < 90.0)).sum()
    )
    everything = fake_record(300)
    assert completed_in_window(everything, everything.requests) == 300


def test_peak_output_is_at_least_the_mean_and_read_from_the_timeline():
    record = fake_record(1_000)
    span = record.window_length_s
    assert max_output_tokens_per_s(record) > record.window_output_tokens / span
    steady = record.timeline.assign(output_tokens=100.0 * record.timeline["t_s"])
    rate = max_output_tokens_per_s(replace(record, timeline=steady))
    assert rate == pytest.approx(100.0 * record.replicas)
    assert max_output_tokens_per_s(replace(record, timeline=record.timeline.iloc[:0])) is None
