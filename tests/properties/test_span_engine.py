"""Three engines, one truth: spans, single iterations and the naive reference agree at 1e-9."""

import dataclasses
import math

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator import testing
from simulator.cost.iteration_time import CostTable
from simulator.engine.config import EngineConfig
from simulator.engine.itl import bin_of
from simulator.engine.request import CANCELLED, COMPLETED, REJECTED, new_requests
from tests.conformance import reference_engine as reference

STATUS = {"completed": COMPLETED, "cancelled": CANCELLED, "rejected": REJECTED}


@st.composite
def configs(draw):
    """Engines under pressure: few blocks, few seats, small budgets, every option."""
    block_size = draw(st.sampled_from([1, 4, 16]))
    num_gpu_blocks = draw(st.integers(6, 60)) * max(16 // block_size, 1) // 2 + 2
    capacity = (num_gpu_blocks - 1) * block_size
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
    )


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
        "prefill": [draw(st.floats(0.0, 1e-4)) for _ in range(4)],
    }


def table(cost, config):
    seats = np.arange(config.seat_limit + 1)
    return CostTable(
        token_s=cost["host"] + cost["token"] * np.arange(config.max_num_batched_tokens + 1),
        seq_s=cost["request"] * seats,
        decode_fixed_s=cost["decode"] * np.sqrt(seats),
        decode_context_s=cost["context"] / (1.0 + seats),
        prefill_s=np.array(cost["prefill"]),
    )


def iteration_time(cost):
    def time_s(chunks):
        total = cost["host"] + cost["token"] * sum(n for n, _, _ in chunks)
        total += cost["request"] * len(chunks)
        decodes = [context for _, context, is_decode in chunks if is_decode]
        prefills = [(n, context) for n, context, is_decode in chunks if not is_decode]
        if decodes:
            d = len(decodes)
            total += cost["decode"] * math.sqrt(d) + cost["context"] / (1.0 + d) * sum(decodes)
        if prefills:
            fixed, token, context_s, pair = cost["prefill"]
            total += fixed
            for n, context in prefills:
                total += token * n + context_s * context + pair * n * (context - 0.5 * (n - 1))
        return total

    return time_s


def run(config, cost, load, stepping):
    config = dataclasses.replace(config, stepping=stepping)
    columns = {key: value for key, value in load.items() if key != "cancels"}
    requests = new_requests(**columns)
    replica = testing.serve(
        config, table(cost, config), requests, cancels=load["cancels"], traced=True
    )
    return requests, replica


TIMES = ("first_scheduled_s", "first_token_s", "first_answer_s", "finish_s")
LOST = ("lost_prefill_s", "lost_thinking_s", "lost_answer_s")
COUNTS = ("status", "generated_tokens", "preemptions", "recomputed_tokens")


@given(data=st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_spans_iterations_and_reference_agree(data):
    config = data.draw(configs())
    check_agreement(config, data.draw(workloads(config.max_model_len)), data.draw(costs()))


def test_decodes_that_the_budget_leaves_out():
    """Held back by the cadence, a prompt lets a one-token prompt pass, then takes its budget."""
    config = EngineConfig(
        num_gpu_blocks=100,
        max_model_len=400,
        max_num_batched_tokens=10,
        prefill_schedule_interval=6,
    )
    load = {
        "arrival_s": np.array([0.0, 0.1, 0.35, 0.36]),
        "prompt_tokens": np.array([5, 90, 1, 1]),
        "thinking_tokens": np.array([20, 0, 12, 9]),
        "output_tokens": np.array([80, 4, 40, 9]),
        "max_tokens": 0,
        "cancels": [(2.5, 2)],
    }
    cost = {
        "host": 0.05,
        "token": 1e-3,
        "request": 1e-4,
        "decode": 1e-3,
        "context": 1e-5,
        "prefill": [1e-3, 1e-5, 1e-6, 1e-7],
    }
    replica = check_agreement(config, load, cost)
    left_out = [
        step
        for step in replica.steps
        if len(step.scheduled) < step.num_running and any(n > 1 for _, n in step.scheduled)
    ]
    assert left_out


def check_agreement(config, load, cost):
    """All that the three engines say of one workload, compared."""
    spans, span_replica = run(config, cost, load, "span")
    steps, step_replica = run(config, cost, load, "iteration")

    ended = np.isin(spans["status"], (COMPLETED, CANCELLED, REJECTED))
    assert ended.all()
    for field in COUNTS:
        np.testing.assert_array_equal(spans[field], steps[field], err_msg=field)
    for field in (*TIMES, *LOST):
        np.testing.assert_allclose(spans[field], steps[field], rtol=1e-9, atol=1e-9, err_msg=field)
    assert len(span_replica.steps) == len(step_replica.steps)
    for one, other in zip(span_replica.steps, step_replica.steps, strict=True):
        assert dataclasses.replace(one, t_s=0, dt_s=0) == dataclasses.replace(other, t_s=0, dt_s=0)

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
        )
        for i, row in enumerate(spans)
    ]
    outcomes, ref_steps = reference.simulate(ref_config, ref_requests, iteration_time(cost))
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

    gaps = [gap for outcome in outcomes for gap in outcome.inter_token_gaps_s]
    itl = span_replica.arrays.itl.sum(axis=0)
    assert itl.sum() == len(gaps)
    got_bins = np.repeat(np.arange(len(itl)), itl)
    want_bins = np.sort([bin_of(gap) for gap in gaps])
    # A gap on a bin's edge may fall to either side.
    assert np.abs(got_bins - want_bins).max(initial=0) <= 1
    return span_replica
