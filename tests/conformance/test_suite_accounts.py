"""The suite's own sharpness: cases press where they should, and accounts that are off are seen."""

import dataclasses

import numpy as np
import pytest

from simulator.conformance import accounts, router_cases, scheduler_cases
from simulator.conformance.idleness import idle
from simulator.routers.round_robin import RoundRobin
from simulator.schedulers.fcfs import Fcfs

CASES = {case.name: case for case in scheduler_cases()}
FLEETS = {case.name: case for case in router_cases()}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_cases_press_where_they_should(case):
    """Shortage of seats or KV, preemptions, and several of whatever policies go by."""
    run = case.serve(Fcfs())
    assert run.served
    assert not [problem for check in ACCOUNTS for problem in check(run)]
    preempted = run.requests["preemptions"].sum()
    assert (preempted >= 5) == (case.name in PREEMPTS)
    if case.name != "ample":
        assert sum(step.num_waiting > 3 for step in run.steps) > 50
    for column in ("class_id", "client_id", "priority"):
        assert len(np.unique(getattr(case.workload.facts, column))) == 3
    assert (case.workload.facts.session_id >= 0).any()
    assert np.isfinite(case.workload.facts.due_s).any()


ACCOUNTS = (
    accounts.unserved,
    accounts.lost,
    accounts.miscounted,
    accounts.leaked,
    accounts.overspent,
)
PREEMPTS = (
    "little KV",
    "little KV, async",
    "swapping",
    "checkpoints, async",
    "shared prompts",
    "whole prompts",
)


@pytest.fixture(scope="module")
def run():
    return CASES["little KV"].serve(Fcfs())


def step_changed(run, place=None, **changes):
    steps = list(run.steps)
    place = len(steps) // 2 if place is None else place
    steps[place] = dataclasses.replace(steps[place], **changes)
    return dataclasses.replace(run, steps=steps)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"scheduled": tuple((i, 9) for i in range(3))}, "computes 27 tokens, not 24 at most"),
        ({"num_running": 9}, "9 requests run .* for 8 seats"),
        ({"scheduled": ((29, 1), (29, 1))}, "computes a request twice"),
        ({"scheduled": ((29, 0),)}, "or no token of it"),
        ({"t_s": 0.0}, "which is not there"),
        ({"t_s": 1e6}, "which is not there"),
    ],
)
def test_an_overspent_budget_is_found_out(run, changes, complaint):
    with pytest.raises(AssertionError, match=complaint):
        assert not next(accounts.overspent(step_changed(run, **changes)), "")


@pytest.mark.parametrize(("free", "complaint"), [(-1, "-1 of 123 blocks"), (124, "124 of 123")])
def test_blocks_that_do_not_exist_are_found_out(run, free, complaint):
    assert complaint in next(accounts.leaked(step_changed(run, free_blocks=free)))


@pytest.mark.parametrize(
    "counter", ["free_blocks", "parked_blocks", "reserved_blocks", "host_tokens_left"]
)
def test_a_leak_is_found_out(run, counter):
    states = run.states.copy()
    states[counter] += 1
    assert counter in next(accounts.leaked(dataclasses.replace(run, states=states)))


@pytest.mark.parametrize(
    ("column", "complaint"),
    [
        ("generated_tokens", "output tokens of"),
        ("first_token_s", "times in disorder"),
        ("output_tokens", "has been changed"),
        ("arrival_s", "has been changed"),
    ],
)
def test_a_lost_token_is_found_out(run, column, complaint):
    table = run.requests.copy()
    table[column][7] -= 1
    [problem] = accounts.lost(dataclasses.replace(run, requests=table))
    assert complaint in problem


@pytest.mark.parametrize("column", ["recomputed_tokens", "cached_tokens"])
def test_a_token_that_is_counted_wrongly_is_found_out(run, column):
    table = run.requests.copy()
    table[column][7] += 1
    [problem] = accounts.miscounted(dataclasses.replace(run, requests=table))
    assert "tokens of request 7 were computed" in problem


def test_a_request_that_never_leaves_is_found_out(run):
    last = max(place for place, step in enumerate(run.steps) if step.finished)
    without = dataclasses.replace(run, steps=run.steps[:last])
    assert any("finished 0 times" in problem for problem in accounts.miscounted(without))


def test_a_seat_left_empty_is_found_out():
    run = CASES["few seats"].serve(Fcfs())
    assert not next(idle(run), "")
    place = next(k for k, step in enumerate(run.steps) if step.num_waiting)
    assert "leaves 1 seats" in next(idle(step_changed(run, place, num_running=2)))


def test_a_pause_is_found_out():
    run = CASES["few seats"].serve(Fcfs())
    steps = [dataclasses.replace(step, t_s=step.t_s + step.t_s // 50) for step in run.steps]
    assert "nothing runs from" in next(idle(dataclasses.replace(run, steps=steps)))


@pytest.mark.parametrize("case", FLEETS.values(), ids=FLEETS)
def test_all_replicas_of_a_fleet_have_enough_to_do(case):
    run = case.serve(RoundRobin())
    assert run.served
    assert not next(accounts.lost(run), "")
    assert (np.bincount(run.requests["replica"]) >= 10).all()
    waited_s = run.requests["first_scheduled_s"] - run.requests["arrival_s"]
    assert (waited_s > 0.5).sum() >= 10


def test_tokens_of_the_wrong_replica_are_found_out():
    run = FLEETS["two pools"].serve(RoundRobin())
    table = run.requests.copy()
    table["replica"][5] ^= 1
    assert "output tokens, not" in next(accounts.lost(dataclasses.replace(run, requests=table)))
