"""Three engines, one truth: spans, single iterations and the naive reference agree at 1e-9."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator import testing
from simulator.cost.iteration_time import CostTable
from simulator.engine.config import EngineConfig
from simulator.engine.itl import bin_of
from simulator.engine.request import CANCELLED, COMPLETED, REJECTED, new_requests
from tests.conformance import reference_engine as reference

NO_WINDOW = (0, 1, 0)  # window_tokens, kv_groups_full, kv_groups_window

SOME_COST = {
    "host": 0.05,
    "token": 1e-3,
    "request": 1e-4,
    "decode": 1e-3,
    "context": 1e-5,
    "window": 0.0,
    "mixed": 1e-5,
    "prefill": [1e-3, 1e-5, 1e-6, 1e-7, 0.0, 0.0],
    "floor": 0.0,
}

STATUS = {"completed": COMPLETED, "cancelled": CANCELLED, "rejected": REJECTED}


@st.composite
def configs(draw):
    """Engines under pressure: few blocks, few seats, small budgets, every option."""
    block_size = draw(st.sampled_from([1, 4, 16]))
    window, full_groups, window_groups = draw(
        st.sampled_from([NO_WINDOW, NO_WINDOW])
        | st.tuples(st.integers(1, 60), st.integers(0, 2), st.integers(1, 3))
        | st.tuples(st.integers(1, 60), st.integers(1, 2), st.just(0))
    )
    groups = full_groups + window_groups
    num_gpu_blocks = draw(st.integers(6, 60)) * groups * max(16 // block_size, 1) // 2 + 2

    def holds(tokens):
        seen = [tokens] * full_groups + [min(tokens, window)] * window_groups
        return sum(-(-each // block_size) for each in seen) < num_gpu_blocks

    capacity = max(tokens for tokens in range(520) if holds(tokens))
    max_model_len = draw(st.integers(2, capacity))
    chunked = draw(st.booleans())
    budget = draw(st.integers(1, 8) | st.integers(1, 80))
    if not chunked:
        budget = max(budget, max_model_len)
    seats = draw(st.integers(1, 12))
    return EngineConfig(
        num_gpu_blocks=num_gpu_blocks,
        max_model_len=max_model_len,
        max_num_seqs=seats,
        max_num_batched_tokens=budget,
        block_size=block_size,
        enable_chunked_prefill=chunked,
        watermark=draw(st.sampled_from([0.0, 0.0, 0.05, 0.3])),
        scheduler_reserve_full_isl=draw(st.booleans()),
        long_prefill_token_threshold=draw(st.sampled_from([0, 0, 7, 20])),
        long_prefill_token_threshold_adaptive=draw(st.booleans()),
        long_prefill_spares_lone_request=draw(st.booleans()),
        max_num_active_seqs=draw(st.sampled_from([None, None, min(seats, 3)])),
        prefill_schedule_interval=draw(st.sampled_from([1, 1, 2, 5])),
        window_tokens=window,
        kv_groups_full=full_groups,
        kv_groups_window=window_groups,
    )


@st.composite
def engines(draw):
    """Engines as above, deciding an iteration ahead or not."""
    return dataclasses.replace(draw(configs()), async_scheduling=draw(st.booleans()))


@st.composite
def workloads(draw, max_model_len):
    """Bursts, lulls and lengths from one token to more than fits."""
    n = draw(st.integers(1, 24))
    gaps = draw(st.lists(st.sampled_from([0.0, 0.0, 0.013, 0.31, 3.7]), min_size=n, max_size=n))
    length = st.integers(1, max(2, max_model_len))
    short = st.just(1) | st.integers(1, 12)
    prompts = draw(st.lists(short | length, min_size=n, max_size=n))
    outputs = draw(st.lists(short | length, min_size=n, max_size=n))
    thinking = [draw(st.integers(0, output)) for output in outputs]
    capped = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    cancels = draw(
        st.lists(
            st.tuples(st.floats(0.0, 5.0, allow_nan=False), st.integers(0, n - 1)),
            max_size=3,
            unique_by=lambda pair: pair[1],
        )
    )
    arrivals = np.cumsum(gaps)
    return {
        "arrival_s": arrivals,
        "prompt_tokens": np.array(prompts),
        "thinking_tokens": np.array(thinking),
        "output_tokens": np.array(outputs),
        "max_tokens": np.where(capped, outputs, 0),
        # A cancel comes after its request.
        "cancels": [(float(arrivals[i] + 1e-3 + after), i) for after, i in cancels],
    }


@st.composite
def costs(draw):
    """Costs with a different shape per batch size, so that no term can be forgotten."""
    unit = st.floats(1e-4, 1e-2)
    return {
        "host": draw(unit),
        "token": draw(st.floats(0.0, 1e-3)),
        "request": draw(st.floats(0.0, 1e-3)),
        "decode": draw(st.floats(0.0, 1e-3)),
        "context": draw(st.sampled_from([0.0, 1e-6, 1e-4])),
        "window": draw(st.sampled_from([0.0, 1e-6, 1e-4])),
        "mixed": draw(st.sampled_from([0.0, 1e-6, 1e-4])),
        "prefill": [draw(st.floats(0.0, 1e-4)) for _ in range(6)],
        # Below every iteration, among them, or above them all.
        "floor": draw(st.just(0.0) | st.floats(0.0, 2e-2)),
    }


def table(cost, config):
    seats = np.arange(config.seat_limit + 1)
    return CostTable(
        token_s=cost["host"] + cost["token"] * np.arange(config.max_num_batched_tokens + 1),
        seq_s=cost["request"] * seats,
        decode_fixed_s=cost["decode"] * np.sqrt(seats),
        decode_context_s=cost["context"] / (1.0 + seats),
        decode_window_s=cost["window"] / (2.0 + seats),
        mixed_context_s=cost["mixed"] / (3.0 + seats),
        floor_s=cost["floor"] * (1.0 + 0.1 * seats),
        prefill_s=np.array(cost["prefill"]),
        window_tokens=config.window_tokens,
    )


def iteration_time(cost, window):
    def time_s(chunks):
        total = cost["host"] + cost["token"] * sum(n for n, _, _ in chunks)
        total += cost["request"] * len(chunks)
        decodes = [context for _, context, is_decode in chunks if is_decode]
        prefills = [(n, context) for n, context, is_decode in chunks if not is_decode]
        if decodes:
            d = len(decodes)
            total += cost["decode"] * math.sqrt(d) + cost["context"] / (1.0 + d) * sum(decodes)
            total += cost["window"] / (2.0 + d) * sum(min(context, window) for context in decodes)
        if decodes and prefills:
            total += cost["mixed"] / (3.0 + len(decodes)) * sum(decodes)
        if prefills:
            fixed, token, context_s, pair, seen, window_pair = cost["prefill"]
            total += fixed
            for n, context in prefills:
                tokens = range(context - n + 1, context + 1)
                total += token * n + context_s * context + pair * sum(tokens)
                if window:
                    total += seen * min(context, window + n - 1)
                    total += window_pair * sum(min(each, window) for each in tokens)
        return max(total, cost["floor"] * (1.0 + 0.1 * len(chunks)))

    return time_s


def run(config, cost, load, stepping, make_scheduler=None):
    config = dataclasses.replace(config, stepping=stepping)
    columns = {key: value for key, value in load.items() if key not in ("cancels", "segments")}
    requests = new_requests(**columns)
    replica = testing.serve(
        config,
        table(cost, config),
        requests,
        cancels=load["cancels"],
        segments=load.get("segments"),
        scheduler=make_scheduler() if make_scheduler else None,
        traced=True,
    )
    return requests, replica


TIMES = ("first_scheduled_s", "first_token_s", "first_answer_s", "finish_s")
LOST = ("lost_prefill_s", "lost_thinking_s", "lost_answer_s")
COUNTS = ("status", "generated_tokens", "preemptions", "recomputed_tokens", "cached_tokens")


@given(data=st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_spans_iterations_and_reference_agree(data):
    config = data.draw(configs())
    check_agreement(config, data.draw(workloads(config.max_model_len)), data.draw(costs()))


@given(data=st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_spans_iterations_and_reference_agree_with_async_scheduling(data):
    config = dataclasses.replace(data.draw(configs()), async_scheduling=True)
    load = data.draw(workloads(config.max_model_len))
    check_agreement(config, load, data.draw(costs()))


@pytest.mark.parametrize("lead", [False, True])
def test_decodes_that_the_budget_leaves_out(lead):
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
        "max_tokens": 0,
        "cancels": [(2.5, 2)],
    }
    replica = check_agreement(config, load, SOME_COST)
    left_out = [
        step
        for step in replica.steps
        if len(step.scheduled) < step.num_running and any(n > 1 for _, n in step.scheduled)
    ]
    assert left_out


@pytest.mark.parametrize("capped", [False, True])
def test_victims_whose_last_token_is_in_flight(capped):
    """One leaves the queue as that token lands, while the other request goes on alone."""
    last_in_flight = 0
    for num_gpu_blocks in range(8, 40):
        config = EngineConfig(
            num_gpu_blocks=num_gpu_blocks,
            max_model_len=num_gpu_blocks - 1,
            max_num_seqs=2,
            block_size=1,
            scheduler_reserve_full_isl=False,
            async_scheduling=True,
        )
        output = np.array([num_gpu_blocks - 2, (num_gpu_blocks - 1) // 2])
        load = {
            "arrival_s": np.zeros(2),
            "prompt_tokens": np.ones(2, dtype=int),
            "thinking_tokens": output // 2,
            "output_tokens": output,
            "max_tokens": output * capped,
            "cancels": [],
        }
        replica = check_agreement(config, load, SOME_COST)
        evicted = [step.preempted for step in replica.steps]
        admissions = sum(1 in step.admitted for step in replica.steps)
        last_in_flight += (1,) in evicted and admissions == 1
    assert last_in_flight


@pytest.mark.parametrize("lead", [False, True])
def test_a_full_window_and_a_floor_each_end_one_span(lead):
    """An iteration takes 10 + min(context, 100) + context / 10 ms, or 130 ms if that is more."""
    config = EngineConfig(
        num_gpu_blocks=1000,
        max_model_len=9000,
        max_num_seqs=1,
        async_scheduling=lead,
        window_tokens=100,
        kv_groups_window=1,
    )
    ones = np.ones(2)
    cost = CostTable(
        token_s=np.full(config.max_num_batched_tokens + 1, 0.010),
        seq_s=0 * ones,
        decode_fixed_s=0 * ones,
        decode_context_s=1e-4 * ones,
        decode_window_s=1e-3 * ones,
        floor_s=0.130 * ones,
        prefill_s=np.zeros(6),
        window_tokens=100,
    )
    requests = new_requests([0.0], [10], [5001], max_tokens=5001)
    replica = testing.serve(config, cost, requests)
    context = np.arange(11, 5011)
    durations_s = np.maximum(0.130, 0.010 + 1e-3 * np.minimum(context, 100) + 1e-4 * context)
    assert (durations_s == 0.130).sum() > 100
    assert requests["finish_s"][0] == pytest.approx(0.130 + durations_s.sum(), rel=1e-12)
    # The prompt, to the full window, to the floor, to the end; async: and one while that lands.
    assert replica.arrays.state[0]["spans"] == 4 + lead
    assert replica.arrays.state[0]["peak_blocks"] == -(-5010 // 16) + -(-100 // 16)


def test_the_window_may_be_known_to_the_cache_or_to_the_costs_alone():
    options = {"num_gpu_blocks": 1000, "max_model_len": 9000, "max_num_seqs": 1}
    cost = testing.linear_cost(0.01, 0.0, 0.0, max_tokens=8192, max_seqs=1)
    in_cache = EngineConfig(**options, window_tokens=100, kv_groups_window=1)
    in_costs = dataclasses.replace(cost, window_tokens=100, decode_window_s=np.full(2, 1e-3))

    requests = new_requests([0.0], [10], [501])
    replica = testing.serve(in_cache, cost, requests)
    assert replica.arrays.state[0]["peak_blocks"] == -(-510 // 16) + -(-100 // 16)
    requests = new_requests([0.0], [10], [501])
    replica = testing.serve(EngineConfig(**options), in_costs, requests)
    assert replica.arrays.state[0]["peak_blocks"] == -(-510 // 16)
    seen = np.minimum(np.arange(11, 511), 100).sum()
    assert requests["finish_s"][0] == pytest.approx(501 * 0.01 + 1e-3 * seen)

    with pytest.raises(ValueError, match="window of 100 tokens in the KV cache, of 99"):
        testing.serve(in_cache, dataclasses.replace(in_costs, window_tokens=99), requests)


def check_spans_and_iterations(config, load, cost, make_scheduler=None):
    """Spans and single iterations, compared; returns the requests and the replica of the spans."""
    spans, span_replica = run(config, cost, load, "span", make_scheduler)
    steps, step_replica = run(config, cost, load, "iteration", make_scheduler)

    ended = np.isin(spans["status"], (COMPLETED, CANCELLED, REJECTED))
    assert ended.all()
    for field in COUNTS:
        np.testing.assert_array_equal(spans[field], steps[field], err_msg=field)
    for field in (*TIMES, *LOST):
        np.testing.assert_allclose(spans[field], steps[field], rtol=1e-9, atol=1e-9, err_msg=field)
    assert len(span_replica.steps) == len(step_replica.steps)
    for one, other in zip(span_replica.steps, step_replica.steps, strict=True):
        assert dataclasses.replace(one, t_s=0, dt_s=0) == dataclasses.replace(other, t_s=0, dt_s=0)
    span_itl, step_itl = (r.arrays.itl.sum(axis=0) for r in (span_replica, step_replica))
    assert span_itl.sum() == np.maximum(spans["generated_tokens"] - 1, 0).sum()
    check_same_gaps(span_itl, np.repeat(np.arange(len(step_itl)), step_itl))
    tokens = int(spans["generated_tokens"].sum())
    for replica in (span_replica, step_replica):
        assert replica.arrays.state[0]["output_tokens"] == tokens
    return spans, span_replica


def check_same_gaps(itl, bins):
    """The gaps counted in a histogram, and the bins they should be in."""
    assert itl.sum() == len(bins)
    got_bins = np.repeat(np.arange(len(itl)), itl)
    # A gap on a bin's edge may fall to either side.
    assert np.abs(got_bins - bins).max(initial=0) <= 1


def named_tokens(segments, i, row):
    """The tokens of request i, as the reference tells them apart."""
    lengths = (row["thinking_tokens"], row["output_tokens"] - row["thinking_tokens"])
    outputs = [segment if segment >= 0 else None for segment in segments.output_id[i].tolist()]
    return reference.token_names(segments.of(i), zip(outputs, map(int, lengths), strict=True))


def check_agreement(config, load, cost, make_scheduler=None, scheduling=reference.Scheduling()):  # noqa: B008
    """All that the three engines say of one workload, compared.

    `scheduling` says to the reference what the schedulers of `make_scheduler` say to the engine.
    """
    spans, span_replica = check_spans_and_iterations(config, load, cost, make_scheduler)

    options = {field.name for field in dataclasses.fields(reference.EngineConfig)}
    ref_config = reference.EngineConfig(**{name: getattr(config, name) for name in options})
    cancel_at = {i: t for t, i in load["cancels"]}
    ref_requests = [
        reference.Request(
            id=str(i),
            arrival_s=float(row["arrival_s"]),
            prompt_tokens=int(row["prompt_tokens"]),
            thinking_tokens=int(row["thinking_tokens"]),
            output_tokens=int(row["output_tokens"]),
            max_tokens=int(row["max_tokens"]) or None,
            cancel_s=cancel_at.get(i),
            tokens=named_tokens(load["segments"], i, row) if "segments" in load else None,
        )
        for i, row in enumerate(spans)
    ]
    outcomes, ref_steps = reference.simulate(
        ref_config,
        ref_requests,
        iteration_time(cost, config.window_tokens),
        scheduling,
        config.enable_prefix_caching,
    )
    for i, outcome in enumerate(outcomes):
        row = spans[i]
        assert row["status"] == STATUS[outcome.status], i
        if outcome.status == "rejected":
            continue
        for field in TIMES:
            want = getattr(outcome, field)
            want = math.nan if want is None else want
            np.testing.assert_allclose(row[field], want, rtol=1e-9, err_msg=f"{i} {field}")
        assert row["preemptions"] == outcome.num_preemptions
        assert row["recomputed_tokens"] == outcome.recomputed_tokens
        assert row["cached_tokens"] == outcome.cached_tokens
        assert row["generated_tokens"] == outcome.generated_tokens
        if outcome.status == "completed":
            lost = sum(row[field] for field in LOST)
            np.testing.assert_allclose(lost, outcome.preempted_s, rtol=1e-9, atol=1e-9)
            if outcome.first_answer_s is not None:
                answer = row["finish_s"] - row["first_answer_s"] - row["lost_answer_s"]
                np.testing.assert_allclose(answer, outcome.answer_s, rtol=1e-9, atol=1e-9)
    assert len(ref_steps) == len(span_replica.steps)
    for mine, want in zip(span_replica.steps, ref_steps, strict=True):
        assert {str(i): n for i, n in mine.scheduled} == want.scheduled
        assert [str(i) for i in mine.preempted] == want.preempted
        assert mine.free_blocks == want.free_blocks
        assert mine.dt_s == pytest.approx(want.dt_s, rel=1e-9)
    span_replica.finish(1e9)
    state = span_replica.arrays.state[0]
    assert state["iterations"] == len(ref_steps)
    assert state["context_tokens_read"] == sum(step.context_sum for step in ref_steps)

    gaps = [gap for outcome in outcomes for gap in outcome.inter_token_gaps_s]
    itl = span_replica.arrays.itl.sum(axis=0)
    check_same_gaps(itl, np.sort([bin_of(gap) for gap in gaps]))
    return span_replica
