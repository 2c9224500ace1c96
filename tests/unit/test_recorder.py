"""From the engine's tables to the record: what a run cut short still has to tell."""

import dataclasses

import numpy as np
import pytest

from simulator.cluster.cluster import Cluster
from simulator.cluster.pool import PoolPlan
from simulator.engine.config import EngineConfig
from simulator.engine.replica import REFUSALS
from simulator.engine.request import new_requests
from simulator.engine.samples import MAX_SAMPLES
from simulator.labels import Labels, PoolLabel
from simulator.metrics.record import LATENCY_PARTS, REQUEST_COLUMNS, TIMELINE_COLUMNS
from simulator.metrics.recorder import record_run, request_frame, timeline_frame
from simulator.metrics.window import by_seconds
from simulator.routers.round_robin import RoundRobin
from simulator.testing import linear_cost, serve

# Few blocks, so that some are preempted; a small budget, so that prompts come in chunks.
CONFIG = EngineConfig(
    num_gpu_blocks=81, max_model_len=1200, max_num_seqs=8, max_num_batched_tokens=128
)
COST = linear_cost(0.01, 1e-5, 1e-7, max_tokens=128, max_seqs=8)
ARRIVALS = np.arange(40) * 0.31
CUTS_S = (3.3456, 6.3456, 7.3456, 9.3456)  # in mid-span, but for the second: in mid-prefill


def workload(measured=True):
    rng = np.random.default_rng(8)
    prompts = rng.integers(1, 400, len(ARRIVALS))
    prompts[5] = 1200
    outputs = rng.integers(1, 300, len(ARRIVALS))
    caps = np.zeros(len(ARRIVALS), dtype=np.int64)
    caps[7], caps[8], caps[9] = outputs[7] - 1, outputs[8] + 5, 1200
    return new_requests(
        ARRIVALS,
        prompts,
        outputs,
        thinking_tokens=outputs * 2 // 3,
        max_tokens=caps,
        class_id=np.arange(len(ARRIVALS)) % 2,
        measured=measured,
    )


def simulate(until_s=np.inf, *, window=None, replicas=1, sample_interval_s=0.37):
    window = window or by_seconds(ARRIVALS, 0.0, None)
    cluster = Cluster(
        workload(window.measured),
        RoundRobin(),
        [PoolPlan("main", CONFIG, COST, replicas)],
        sample_interval_s=sample_interval_s,
        marks_s=window.marks_s,
    )
    return cluster.run(window_end_s=window.end_s, until_s=until_s), window


def record(outcome, window):
    return record_run(
        outcome,
        window,
        Labels(("maths", "chat")),
        pools=[PoolLabel("main", "model", "gpu", num_gpus=4, price_usd_per_gpu_hour=2.5)],
        capacity_rps=None,
        notes=[],
        seed=0,
        name="cut",
        slo={},
    )


@pytest.fixture(scope="module")
def token_times():
    """When each token of each request came, read off the trace of the whole run."""
    requests = workload()
    replica = serve(CONFIG, COST, requests, traced=True)
    known, computed = requests["prompt_tokens"].copy(), np.zeros(len(requests), dtype=np.int64)
    times = [[] for _ in requests]
    for step in replica.steps:
        computed[list(step.preempted)] = 0
        for i, tokens in step.scheduled:
            computed[i] += tokens
            if computed[i] == known[i]:
                known[i] += 1
                times[i].append(step.t_s + step.dt_s)
    assert requests["preemptions"].sum() > 5
    assert [len(each) for each in times] == requests["generated_tokens"].tolist()
    return times


def by(times, t_s):
    return np.array([np.searchsorted(each, t_s) for each in times])


@pytest.fixture(scope="module", params=CUTS_S)
def cut(request):
    outcome, window = simulate(request.param)
    assert outcome.states[0]["pure"] == (request.param != CUTS_S[1])
    got = record(outcome, window)
    assert got.end_s == request.param
    return got


def test_requests_that_had_not_arrived_are_left_out(cut):
    assert len(cut.requests) == (cut.end_s > ARRIVALS).sum() < len(ARRIVALS)
    assert cut.requests["request_id"].tolist() == list(range(len(cut.requests)))


def test_unfinished_requests_are_counted_with_the_tokens_they_got(cut, token_times):
    frame = cut.requests
    got = by(token_times, cut.end_s)[: len(frame)]
    np.testing.assert_array_equal(frame["generated_tokens"], got)
    unfinished = (frame["status"] == "unfinished").to_numpy()
    total = np.array([len(each) for each in token_times])[: len(frame)]
    np.testing.assert_array_equal(unfinished, got < total)
    waiting = frame["first_scheduled_s"].isna().to_numpy() & unfinished
    partly = unfinished & (got > 0)
    assert waiting.any(), "some still wait"
    assert partly.any(), "some decode"
    assert frame.loc[unfinished, ["finish_s", *LATENCY_PARTS]].isna().all(axis=None)
    assert (frame.loc[unfinished, "finish_reason"] == "").all()


def test_an_unfinished_request_has_the_marks_it_passed(cut, token_times):
    frame = cut.requests
    answering = 0
    for row in frame.itertuples():
        times = [t_s for t_s in token_times[row.Index] if t_s <= cut.end_s]
        first = times[0] if times else np.nan
        answer = times[row.thinking_tokens] if len(times) > row.thinking_tokens else np.nan
        assert row.first_token_s == pytest.approx(first, rel=1e-9, nan_ok=True)
        assert row.first_answer_s == pytest.approx(answer, rel=1e-9, nan_ok=True)
        answering += row.status == "unfinished" and not np.isnan(answer)
    assert answering, "someone was cut while answering"


def test_output_tokens_of_an_open_window_are_all_that_came_until_the_end(cut, token_times):
    """The span under way at the end has given tokens too."""
    assert cut.window_s == (0.0, cut.end_s)
    assert cut.window_output_tokens == by(token_times, cut.end_s).sum()


def test_gaps_are_counted_until_the_end(cut, token_times):
    """As above: one gap for each token but a request's first."""
    assert cut.itl_counts.sum() == np.maximum(by(token_times, cut.end_s) - 1, 0).sum()


def test_output_tokens_of_a_closed_window_are_those_between_its_edges(token_times):
    window = by_seconds(ARRIVALS, 3.21, 6.54)
    for until_s in (np.inf, 10.3456):
        got = record(simulate(until_s, window=window)[0], window)
        assert got.window_s == (3.21, 9.75)
        inside = by(token_times, 9.75) - by(token_times, 3.21)
        assert got.window_output_tokens == inside.sum()


def test_prompt_tokens_of_a_window_are_of_requests_completed_in_it():
    window = by_seconds(ARRIVALS, 3.21, 6.54)
    got = record(simulate(window=window)[0], window)
    frame = got.requests
    inside = (frame["finish_s"] >= 3.21) & (frame["finish_s"] < 9.75)
    assert 0 < inside.sum() < len(frame)
    assert got.window_prompt_tokens == frame.loc[inside, "prompt_tokens"].sum()
    whole = record(*simulate())
    completed = whole.requests["status"] == "completed"
    assert whole.window_prompt_tokens == whole.requests.loc[completed, "prompt_tokens"].sum()
    assert whole.window_s == (0.0, whole.end_s), "the last completion, at the very end, counts"


def test_a_window_that_outlasts_the_traffic_stays_as_long_as_asked():
    window = by_seconds(ARRIVALS, 3.21, 1e6)
    got = record(simulate(window=window)[0], window)
    assert got.window_s == (3.21, window.end_s)
    assert got.end_s == window.end_s
    assert got.window_output_tokens > 0


def test_only_measured_requests_have_their_gaps_counted(token_times):
    window = by_seconds(ARRIVALS, 3.21, 6.54)
    got = record(simulate(window=window)[0], window)
    counts = np.array([max(len(each) - 1, 0) for each in token_times])
    np.testing.assert_array_equal(got.requests["measured"], window.measured[: len(got.requests)])
    assert got.itl_counts.sum() == counts[window.measured].sum()


def test_a_rejected_request_says_why():
    frame = record(*simulate()).requests
    rejected = frame[frame["status"] == "rejected"]
    assert rejected.index.tolist() == [5, 9]
    assert rejected["reason"].tolist() == [
        "prompt leaves no room for a token below max_model_len",
        "prompt + max_tokens exceeds max_model_len",
    ]
    assert set(rejected["reason"]) <= set(REFUSALS.values())
    assert rejected["replica"].tolist() == [-1, -1]
    times = ["first_scheduled_s", "first_token_s", "first_answer_s", "finish_s", *LATENCY_PARTS]
    assert rejected[times].isna().all(axis=None)
    assert (frame.loc[frame["status"] != "rejected", "reason"] == "").all()


def test_a_request_stops_by_itself_or_at_its_limit():
    frame = record(*simulate()).requests
    assert list(frame.columns) == list(REQUEST_COLUMNS)
    reasons = frame["finish_reason"]
    assert reasons[7] == "length"
    assert frame["generated_tokens"][7] == frame["max_tokens"][7]
    assert reasons[8] == "stop"
    completed = (frame["status"] == "completed").to_numpy()
    assert set(reasons[completed]) == {"stop", "length"}
    assert frame["class"].tolist() == ["maths", "chat"] * (len(frame) // 2)
    tokens = frame["thinking_tokens"] + frame["answer_tokens"]
    stopped = (reasons == "stop").to_numpy()
    np.testing.assert_array_equal(tokens[stopped], frame["generated_tokens"][stopped])


def test_cut_short_while_thinking_all_of_it_was_thinking():
    requests = new_requests([0.0], [50], [100], thinking_tokens=80, max_tokens=60)
    pools = [PoolPlan("main", CONFIG, COST)]
    cluster = Cluster(requests, RoundRobin(), pools, sample_interval_s=1.0)
    row = request_frame(cluster.run(), Labels(("all",))).iloc[0]
    assert np.isnan(row["first_answer_s"])
    assert row["thinking_s"] == row["finish_s"] - row["first_token_s"] > 0
    assert row["answer_s"] == 0.0


def test_totals_are_over_replicas():
    outcome, window = simulate(replicas=3)
    got = record(outcome, window)
    assert got.replicas == 3
    assert got.iterations == outcome.states["iterations"].sum() > outcome.states["iterations"].max()
    assert got.spans == outcome.states["spans"].sum()
    [pool] = got.pools
    assert pool.peak_kv_blocks == outcome.states["peak_blocks"].max()
    assert pool.kv_blocks == 80
    assert got.itl_counts.sum() == np.maximum(got.requests["generated_tokens"] - 1, 0).sum()
    assert set(got.requests["replica"]) == {-1, 0, 1, 2}


def test_the_timeline_has_every_replica_at_every_time():
    outcome, _ = simulate(replicas=3)
    frame = timeline_frame(outcome)
    assert list(frame.columns) == list(TIMELINE_COLUMNS)
    times = np.arange(outcome.end_s // 0.37 + 1) * 0.37
    np.testing.assert_array_equal(frame["t_s"], np.repeat(times, 3))
    assert frame["replica"].tolist() == [0, 1, 2] * len(times)
    np.testing.assert_array_equal(frame["kv_used_frac"], frame["kv_used_blocks"] / 80)
    assert frame["kv_used_frac"].between(0, 1).all()
    for _, rows in frame.groupby("replica"):
        assert rows[["output_tokens", "prefill_tokens", "iterations"]].diff().min().min() >= 0


def test_a_full_table_of_samples_is_thinned_to_a_coarser_grid():
    fine_s = 0.001
    outcome, _ = simulate(sample_interval_s=fine_s)
    grid_s = float(outcome.states["grid_s"][0])
    frame = timeline_frame(outcome)
    assert grid_s in (2 * fine_s, 4 * fine_s, 8 * fine_s, 16 * fine_s)
    assert MAX_SAMPLES // 2 <= len(frame) <= MAX_SAMPLES
    np.testing.assert_array_equal(frame["t_s"], np.arange(len(frame)) * grid_s)
    direct = timeline_frame(simulate(sample_interval_s=grid_s)[0])
    np.testing.assert_array_equal(frame, direct)


def test_replicas_on_different_grids_share_the_coarser_one():
    outcome, _ = simulate(replicas=2)
    states = outcome.states.copy()
    states["grid_s"][1] *= 2
    uneven = dataclasses.replace(
        outcome, states=states, samples=[outcome.samples[0], outcome.samples[1][::2]]
    )
    frame, full = timeline_frame(uneven), timeline_frame(outcome)
    kept = full[np.rint(full["t_s"] / 0.37) % 2 == 0].reset_index(drop=True)
    np.testing.assert_array_equal(frame, kept)
