"""What every strategy must keep to, over the registry."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import simpy

from simulator.conformance import ConformanceError, check_strategy, checks, strategy_verdicts
from simulator.engine.request import CANCELLED, COMPLETED
from simulator.policy import build
from simulator.runner import simulate
from simulator.strategies import STRATEGIES
from simulator.strategies.single import Single
from tests.strategy_runs import EXAMPLES, experiment, served

KINDS = sorted(STRATEGIES)


def test_every_strategy_has_an_example():
    assert sorted(EXAMPLES) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_every_query_ends_and_nothing_is_left_behind(kind):
    """Also with all invariants checked at every iteration."""
    simulation = simulate(experiment(kind, num_requests=25), check_integrity=True)
    outcome = simulation.outcome
    queries = simulation.result().queries
    assert len(queries) == 25
    assert queries["status"].isin(["completed", "unanswered"]).all()
    assert np.isin(outcome.requests["status"], (COMPLETED, CANCELLED)).all()
    usable = np.array([config.usable_blocks for config in outcome.configs])[outcome.pool_id]
    np.testing.assert_array_equal(outcome.states["free_blocks"], usable)
    assert not outcome.states["num_running"].any()
    assert not outcome.states["num_waiting"].any()
    generated = outcome.requests["generated_tokens"].sum()
    assert generated == outcome.states["output_tokens"].sum() == queries["generated_tokens"].sum()
    assert queries["requests"].sum() == len(outcome.requests)


@pytest.mark.parametrize("kind", KINDS)
def test_spans_and_iterations_tell_the_same(kind):
    spans, steps = (
        served(kind, engine={"stepping": stepping, "num_gpu_blocks": 300, "max_model_len": 4096})
        for stepping in ("span", "iteration")
    )
    one, other = (run.result().queries for run in (spans, steps))
    for column in ("finish_s", "tta_s", "arrival_s"):
        np.testing.assert_allclose(one[column], other[column], rtol=1e-9, atol=1e-9)
    for column in ("requests", "generated_tokens", "cancelled_tokens", "answer", "status"):
        assert one[column].astype(str).tolist() == other[column].astype(str).tolist()
    table, again = (run.outcome.requests for run in (spans, steps))
    np.testing.assert_allclose(table["arrival_s"], again["arrival_s"], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_bytes(kind):
    one, other = (served(kind, num_requests=20).result() for _ in range(2))
    pd.testing.assert_frame_equal(one.queries, other.queries, check_exact=True)
    pd.testing.assert_frame_equal(one.requests, other.requests, check_exact=True)


@pytest.mark.parametrize("kind", KINDS)
def test_all_strategies_see_the_same_queries(kind):
    """Common random numbers: problems, their difficulty, and the luck of attempt 0."""
    queries = served(kind).result().queries
    single = served("single").result().queries
    np.testing.assert_array_equal(queries["arrival_s"], single["arrival_s"])
    np.testing.assert_array_equal(queries["difficulty"], single["difficulty"])
    np.testing.assert_array_equal(queries["class"], single["class"])


def test_thinking_longer_never_undoes_a_right_answer():
    """One attempt, one luck: who is right with a small budget is right with a larger one."""
    right = [
        served("budget", {"max_thinking_tokens": cap}).result().queries["answer"] == "right"
        for cap in (50, 200, 100_000)
    ]
    single = served("single").result().queries["answer"] == "right"
    assert (right[0] <= right[1]).all()
    assert (right[1] <= right[2]).all()
    assert right[2].tolist() == single.tolist()
    assert right[0].sum() < right[2].sum()


@pytest.mark.parametrize("kind", KINDS)
def test_the_suite_passes(kind):
    """Also with the parameters that everybody gets who gives none."""
    parameters = {} if kind not in ("majority_vote", "sart") else {"samples": 3}
    if kind == "sart":
        parameters["enough"] = 2
    verdicts = strategy_verdicts(lambda: build(STRATEGIES[kind], parameters))
    assert {verdict.status for verdict in verdicts} == {"passed"}


class _Leaves(Single):
    """Remembers other runs: every third query of all goes without waiting."""

    seen = 0

    def answer(self, query, plan):
        request = query.send(plan)
        type(self).seen += 1
        if type(self).seen % 3:
            yield request
        return request.answer


class _Hangs(Single):
    def answer(self, query, plan):
        yield query.send(plan)
        yield query.all([simpy.Event(query._port.env)])
        return 0


class _Draws(Single):
    def answer(self, query, plan):
        yield query.pause(float(np.random.default_rng().random()))
        request = query.send(plan)
        yield request
        return request.answer


@pytest.mark.parametrize(
    ("broken", "lacks"),
    [
        (_Hangs, checks.SERVES_ALL),
        (_Draws, checks.SAME_BYTES),
        (_Leaves, checks.SAME_BYTES),
    ],
)
def test_a_broken_strategy_is_found_out(broken, lacks):
    failed = {each.name for each in strategy_verdicts(broken) if each.status == "failed"}
    assert lacks in failed
    with pytest.raises(ConformanceError, match=lacks):
        check_strategy(broken)
