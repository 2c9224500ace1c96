"""Nothing is lost, made up or counted twice: requests, tokens, KV blocks and seconds."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from simulator import testing
from simulator.cluster.cluster import Cluster
from simulator.cluster.pool import PoolPlan
from simulator.cluster.source import Source
from simulator.engine.clock import Clock
from simulator.engine.config import EngineConfig
from simulator.engine.replica import Replica
from simulator.engine.request import CANCELLED, COMPLETED, NONE, REJECTED, new_requests
from simulator.engine.state import IDLE
from simulator.errors import IntegrityError
from simulator.labels import Labels
from simulator.metrics.record import LATENCY_PARTS
from simulator.metrics.recorder import request_frame
from simulator.routers.round_robin import RoundRobin
from tests.properties.test_span_engine import (
    SOME_COST,
    configs,
    costs,
    engines,
    table,
    workloads,
)

MODERATE = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

# Nothing in a drawn workload happens at a multiple of this, so no sample falls on a boundary.
SAMPLE_S = 0.1 / math.e
MARKS_S = (0.2 / math.pi, 3.0 / math.pi)

COUNTERS = (
    "num_running",
    "num_waiting",
    "num_decodes",
    "num_stalled",
    "num_measured",
    "num_cancelled",
    "decode_context",
)


def columns(load):
    return {key: value for key, value in load.items() if key != "cancels"}


def target_tokens(config, requests):
    """Tokens a request is entitled to: its own, unless the client or the model cut them."""
    target = np.minimum(requests["output_tokens"], config.max_model_len - requests["prompt_tokens"])
    capped = requests["max_tokens"] > 0
    return np.where(capped, np.minimum(target, requests["max_tokens"]), target)


def check_books(config, requests, replica, cancelled):
    """What holds after any run, `cancelled` being the requests somebody gave up on."""
    status = requests["status"]
    served = status != REJECTED
    assert np.isin(status, (COMPLETED, REJECTED, CANCELLED)).all()
    assert set(np.flatnonzero(status == CANCELLED)) <= cancelled

    too_long = requests["prompt_tokens"] >= config.max_model_len
    too_long |= requests["prompt_tokens"] + requests["max_tokens"] > config.max_model_len
    np.testing.assert_array_equal(~served, too_long)

    generated, target = requests["generated_tokens"], target_tokens(config, requests)
    completed = status == COMPLETED
    np.testing.assert_array_equal(generated[completed], target[completed])
    assert (generated[status == CANCELLED] < target[status == CANCELLED]).all()
    assert not generated[~served].any()

    state = replica.arrays.state[0]
    assert state["phase"] == IDLE
    assert state["free_blocks"] == config.usable_blocks
    assert {name: int(state[name]) for name in COUNTERS} == dict.fromkeys(COUNTERS, 0)
    assert not replica.arrays.phases.any()
    assert state["wait_head"] == state["wait_tail"] == NONE
    assert state["departed"] == served.sum()
    assert state["preemptions"] == requests["preemptions"].sum()
    assert state["output_tokens"] == generated.sum()
    assert replica.arrays.itl.sum() == np.maximum(generated - 1, 0).sum()
    assert 0 <= state["peak_blocks"] <= config.usable_blocks


@given(data=st.data())
@MODERATE
def test_books_balance(data):
    config = data.draw(engines())
    load = data.draw(workloads(config.max_model_len))
    requests = new_requests(**columns(load))
    cost = table(data.draw(costs()), config)
    replica = testing.serve(config, cost, requests, cancels=load["cancels"], check_integrity=True)
    check_books(config, requests, replica, {i for _, i in load["cancels"]})


@given(data=st.data())
@MODERATE
def test_without_cancels_every_admitted_request_completes(data):
    config = data.draw(engines())
    requests = new_requests(**columns(data.draw(workloads(config.max_model_len))))
    replica = testing.serve(config, table(data.draw(costs()), config), requests)
    check_books(config, requests, replica, set())


@given(data=st.data())
@MODERATE
def test_prompt_tokens_are_computed_once_and_again_after_a_preemption(data):
    """The identity of prefill tokens, with each preemption's phase read off the trace.

    Evicted in mid-prompt, a request computes again just what it lost. Evicted while decoding, it
    computes what it lost and also its newest token, which was not in the cache yet, all of it as
    prompt; what it lost of decoded tokens was first computed as output. Summed over its lives:

        prefill_tokens = prompt + recomputed + evictions while decoding.

    Not so with async scheduling, where an evicted request may end without being computed again.
    """
    config = data.draw(configs())
    requests = new_requests(**columns(data.draw(workloads(config.max_model_len))))
    cost = table(data.draw(costs()), config)
    replica = testing.serve(config, cost, requests, traced=True)

    known = requests["prompt_tokens"].copy()
    computed = np.zeros_like(known)
    prefill = np.zeros_like(known)
    evicted_decoding = np.zeros_like(known)
    decoding = np.zeros(len(known), dtype=bool)
    for step in replica.steps:
        for i in step.preempted:
            evicted_decoding[i] += decoding[i]
            computed[i], decoding[i] = 0, False
        for i, tokens in step.scheduled:
            prefill[i] += 0 if decoding[i] else tokens
            computed[i] += tokens
            if computed[i] == known[i]:
                known[i] += 1
                decoding[i] = True

    served = requests["status"] == COMPLETED
    np.testing.assert_array_equal(
        prefill,
        np.where(served, requests["prompt_tokens"], 0)
        + requests["recomputed_tokens"]
        + evicted_decoding,
    )
    state = replica.arrays.state[0]
    assert state["prefill_tokens"] == prefill.sum()
    # Every iteration's tokens are prompt or output; the last of each prompt yields output as well.
    prompts_ended = served.sum() + evicted_decoding.sum()
    scheduled = sum(tokens for step in replica.steps for _, tokens in step.scheduled)
    assert scheduled == state["prefill_tokens"] + state["output_tokens"] - prompts_ended


def run_cluster(config, load, cost, stepping, replicas):
    config = dataclasses.replace(config, stepping=stepping)
    cluster = Cluster(
        new_requests(**columns(load)),
        RoundRobin(),
        [PoolPlan("main", config, table(cost, config), replicas)],
        sample_interval_s=SAMPLE_S,
        marks_s=MARKS_S,
        check_integrity=True,
    )
    return cluster.run()


@given(data=st.data())
@MODERATE
def test_latency_parts_sum_to_the_whole(data):
    config = data.draw(engines())
    load = data.draw(workloads(config.max_model_len))
    outcome = run_cluster(config, load, data.draw(costs()), "span", data.draw(st.integers(1, 3)))
    frame = request_frame(outcome, Labels(("all",)))
    completed = (frame["status"] == "completed").to_numpy()
    parts = frame[list(LATENCY_PARTS)].to_numpy()
    whole = (frame["finish_s"] - frame["arrival_s"]).to_numpy()
    np.testing.assert_allclose(parts[completed].sum(axis=1), whole[completed], rtol=0, atol=1e-9)
    assert (parts[completed] >= -1e-9).all()
    never_evicted = completed & (frame["preemptions"] == 0).to_numpy()
    assert (frame["preempted_s"].to_numpy()[never_evicted] == 0).all()
    assert np.isnan(parts[~completed]).all()


@given(data=st.data())
@MODERATE
def test_samples_do_not_depend_on_the_stepping(data):
    config = data.draw(engines())
    load = data.draw(workloads(config.max_model_len))
    cost = data.draw(costs())
    replicas = data.draw(st.integers(1, 2))
    spans = run_cluster(config, load, cost, "span", replicas)
    steps = run_cluster(config, load, cost, "iteration", replicas)
    assert spans.end_s == pytest.approx(steps.end_s, rel=1e-9)
    for one, other, state in zip(spans.samples, steps.samples, spans.states, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one["t_s"], np.arange(len(one)) * state["grid_s"])
        assert len(one) == spans.end_s // state["grid_s"] + 1
    within = np.array(MARKS_S) <= spans.end_s  # a mark the run did not reach shows its end
    np.testing.assert_array_equal(spans.marks[:, within], steps.marks[:, within])
    for name in spans.marks.dtype.names:
        np.testing.assert_allclose(spans.marks[name], steps.marks[name], rtol=1e-9, err_msg=name)
    np.testing.assert_array_equal(spans.states["iterations"], steps.states["iterations"])


def token_times(replica, requests):
    """When each token of each request came, read off a trace; dead tokens left out."""
    known, computed = requests["prompt_tokens"].copy(), np.zeros(len(requests), dtype=np.int64)
    times = [[] for _ in requests]
    for step in replica.steps:
        computed[list(step.admitted)] = 0  # it may have been preempted, by a call without a step
        for i, tokens in step.scheduled:
            computed[i] += tokens
            if computed[i] == known[i]:
                known[i] += 1
                times[i].append(step.t_s + step.dt_s)
    return [each[:n] for each, n in zip(times, requests["generated_tokens"], strict=True)]


def contexts_read(replica, requests):
    """End and summed context of each iteration, read off a trace."""
    computed = np.zeros(len(requests), dtype=np.int64)
    rows = []
    for step in replica.steps:
        computed[list(step.admitted)] = 0
        for i, tokens in step.scheduled:
            computed[i] += tokens
        rows.append((step.t_s + step.dt_s, computed[[i for i, _ in step.scheduled]].sum()))
    return np.array(rows).reshape(-1, 2)


@given(data=st.data())
@MODERATE
def test_samples_count_what_had_been_run_and_read_by_then(data):
    config = data.draw(engines())
    load = data.draw(workloads(config.max_model_len))
    cost = data.draw(costs())
    requests = new_requests(**columns(load))
    replica = testing.serve(config, table(cost, config), requests, traced=True)
    ends_s, read = contexts_read(replica, requests).T
    outcome = run_cluster(config, load, cost, "span", 1)
    for row in [*outcome.samples[0], *outcome.marks[0]]:
        ended = ends_s <= row["t_s"] * (1 + 1e-9)  # a mark may show the end of the run
        assert row["iterations"] == ended.sum()
        assert row["context_tokens_read"] == read[ended].sum()
    ended = ends_s <= outcome.end_s * (1 + 1e-9)
    assert outcome.states["iterations"].sum() == ended.sum()
    assert outcome.states["context_tokens_read"].sum() == read[ended].sum()


@given(data=st.data())
@MODERATE
def test_a_run_cut_short_shows_what_was_done_by_then(data):
    config = data.draw(engines())
    load = data.draw(workloads(config.max_model_len))
    cost = data.draw(costs())
    whole = new_requests(**columns(load))
    replica = testing.serve(config, table(cost, config), whole, traced=True)
    events = [step.t_s for step in replica.steps] + [step.t_s + step.dt_s for step in replica.steps]
    events = np.unique([0.0, *events, *whole["arrival_s"]])
    assume(len(events) > 1)
    k = data.draw(st.integers(0, len(events) - 2))
    cut_s = 0.7 * events[k] + 0.3 * events[k + 1]
    assume(cut_s > events[k] * (1 + 1e-8) + 1e-8)
    check_cut(config, load, cost, cut_s, whole, replica)


def check_cut(config, load, cost, cut_s, whole, traced):
    """A run up to `cut_s`, which is no boundary, against the trace of a whole one."""
    times = token_times(traced, whole)
    requests = new_requests(**columns(load))
    pools = [PoolPlan("main", config, table(cost, config))]
    cluster = Cluster(requests, RoundRobin(), pools, sample_interval_s=1e9)
    outcome = cluster.run(until_s=cut_s)
    frame = request_frame(outcome, Labels(("all",)))
    assert len(frame) == np.count_nonzero(load["arrival_s"] < cut_s)
    got = [[t_s for t_s in each if t_s < cut_s] for each in times[: len(frame)]]
    assert frame["generated_tokens"].tolist() == [len(each) for each in got]
    assert outcome.states["output_tokens"].sum() == sum(len(each) for each in got)
    assert outcome.itl.sum() == sum(max(len(each) - 1, 0) for each in got)
    ends_s, read = contexts_read(traced, whole).T
    assert outcome.states["iterations"].sum() == (ends_s < cut_s).sum()
    assert outcome.states["context_tokens_read"].sum() == read[ends_s < cut_s].sum()
    rejected = whole["status"][: len(frame)] == REJECTED
    finished = whole["finish_s"][: len(frame)] < cut_s
    status = np.where(rejected, "rejected", np.where(finished, "completed", "unfinished"))
    assert frame["status"].tolist() == status.tolist()
    for row, each in zip(frame.itertuples(), got, strict=True):
        first = each[0] if each else math.nan
        answer = each[row.thinking_tokens] if len(each) > row.thinking_tokens else math.nan
        assert row.first_token_s == pytest.approx(first, rel=1e-9, nan_ok=True)
        assert row.first_answer_s == pytest.approx(answer, rel=1e-9, nan_ok=True)


@pytest.mark.parametrize("lead", [False, True])
def test_a_run_may_be_cut_while_decodes_are_left_out_of_the_budget(lead):
    """Held back by the cadence, a prompt lets a one-token prompt pass, then takes its budget."""
    config = EngineConfig(
        num_gpu_blocks=100,
        max_model_len=400,
        max_num_batched_tokens=10,
        prefill_schedule_interval=6,
        async_scheduling=lead,
    )
    load = {
        "arrival_s": np.array([0.0, 0.1, 0.35, 0.36]),
        "prompt_tokens": np.array([5, 90, 1, 1]),
        "thinking_tokens": np.array([20, 0, 12, 9]),
        "output_tokens": np.array([80, 4, 40, 9]),
    }
    whole = new_requests(**load)
    replica = testing.serve(config, table(SOME_COST, config), whole, traced=True)
    left_out = [
        j
        for j, step in enumerate(replica.steps)
        if len(step.scheduled) < step.num_running and any(n > 1 for _, n in step.scheduled)
    ]
    assert left_out
    for j in {*left_out, *(j - 1 for j in left_out)}:  # it may be decided in the one before
        step = replica.steps[j]
        check_cut(config, load, SOME_COST, step.t_s + step.dt_s / 2, whole, replica)


# --- the integrity check itself

CONFIG = EngineConfig(num_gpu_blocks=61, max_model_len=800, max_num_seqs=8)
COST = testing.linear_cost(0.01, 0.0, 0.0, max_tokens=8192, max_seqs=8)


def corrupt_in_mid_run(change, config=CONFIG, *, check_integrity=True):
    """`change(state, requests, phases)` meddles while two requests decode and one waits."""
    clock = Clock()
    requests = new_requests([0.0, 0.0, 1.0], [100, 50, 700], [500, 300, 50], [250, 100, 0])
    replica = Replica(clock, config, COST, requests, check_integrity=check_integrity)
    Source(clock, requests["arrival_s"], replica.offer)
    arrays = replica.arrays

    def meddle(_):
        assert arrays.state[0]["num_decodes"] == 2
        assert arrays.state[0]["num_waiting"] == 1
        change(arrays.state[0], requests, arrays.phases)

    clock.timeout(1.2345).callbacks.append(meddle)
    clock.run()
    return requests


def add(field, amount):
    def change(state, requests, phases):
        state[field] += amount

    return change


def finish_in_the_past(state, requests, phases):
    requests["limit_n"][0] = 1


def finish_later(state, requests, phases):
    requests["limit_n"][0] += 1


def more_blocks_than_there_are(state, requests, phases):
    state["usable_blocks"] -= 50
    state["free_blocks"] -= 50


def forget_a_phase(state, requests, phases):
    phases[phases.argmax()] -= 1


def test_the_integrity_check_notices_tokens_in_flight():
    config = dataclasses.replace(CONFIG, async_scheduling=True)
    with pytest.raises(IntegrityError, match="tokens in flight do not add up"):
        corrupt_in_mid_run(add("num_measured", 1), config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (finish_in_the_past, "last token lies in the past"),
        (finish_later, "progress and its finishing iteration disagree"),
        (add("free_blocks", 1), "held and free do not add up"),
        (add("free_blocks", -1), "held and free do not add up"),
        (more_blocks_than_there_are, "more KV blocks are held than exist"),
        (forget_a_phase, "count of decoding requests is wrong"),
        (add("decode_context", 1), "sum of context lengths is wrong"),
        (add("num_stalled", 1), "count of stalled requests is wrong"),
        (add("seat_limit", -8), "more requests run than there are seats"),
        (add("num_waiting", 1), "length of the waiting queue is wrong"),
        (add("num_ending", 1), "whose last token is in flight is wrong"),
        (add("num_below", 1), "context inside the sliding window is wrong"),
        (add("window_context", 1), "context inside the sliding window is wrong"),
    ],
)
def test_the_integrity_check_notices(change, message):
    with pytest.raises(IntegrityError, match=message):
        corrupt_in_mid_run(change)


def test_the_same_run_unharmed_passes_the_check():
    requests = corrupt_in_mid_run(lambda state, requests, phases: None)
    assert (requests["status"] == COMPLETED).all()


def test_nothing_is_checked_unless_asked_for():
    requests = corrupt_in_mid_run(add("free_blocks", 1), check_integrity=False)
    assert (requests["status"] == COMPLETED).all()


def test_a_replica_that_can_never_serve_says_so():
    """Checked in every run: otherwise it would wait for ever."""
    clock = Clock()
    requests = new_requests([0.0], [100], [10])
    replica = Replica(clock, CONFIG, COST, requests)
    replica.arrays.state[0]["seat_limit"] = 0
    Source(clock, requests["arrival_s"], replica.offer)
    with pytest.raises(IntegrityError, match="none of them can ever be scheduled"):
        clock.run()
