"""A closed loop through `on_finish`: who hears of a completion acts before the next iteration."""

import numpy as np
import pytest

from simulator.engine.clock import Clock
from simulator.engine.config import EngineConfig
from simulator.engine.replica import Replica
from simulator.engine.request import (
    CANCELLED,
    COMPLETED,
    RUNNING,
    WAITING,
    new_requests,
)
from simulator.testing import linear_cost

SEATS = 6
COST = linear_cost(0.01, 1e-5, 1e-7, max_tokens=8192, max_seqs=SEATS)


def config(stepping="span", **options):
    defaults = {"num_gpu_blocks": 2001, "max_model_len": 3000, "max_num_seqs": SEATS}
    return EngineConfig(**(defaults | options), stepping=stepping)


def offer_at(clock, t_s, replica, ids):
    def offer(_):
        for i in ids:
            assert replica.offer(i) is None

    clock.timeout(t_s).callbacks.append(offer)


def closed_loop(engine, users=SEATS, count=200, seed=5):
    """`users` clients, each sending its next request the moment its last one is answered.

    Returns the table and how many requests were present after each answer.
    """
    rng = np.random.default_rng(seed)
    clock = Clock()
    requests = new_requests(
        np.zeros(count), rng.integers(1, 900, count), rng.integers(1, 300, count)
    )
    present = []
    following = iter(range(users, count))

    def on_finish(ids):
        assert (requests["status"][ids] == COMPLETED).all()
        for i in ids:
            successor = next(following, None)
            if successor is not None:
                requests["arrival_s"][successor] = requests["finish_s"][i]
                assert replica.offer(successor) is None
        present.append(int(np.isin(requests["status"], (WAITING, RUNNING)).sum()))

    replica = Replica(clock, engine, COST, requests, on_finish=on_finish, check_integrity=True)
    offer_at(clock, 0.0, replica, range(users))
    clock.run()
    assert (requests["status"] == COMPLETED).all()
    return requests, present


def test_a_successor_takes_the_seat_in_the_very_next_iteration():
    requests, present = closed_loop(config())
    finishes = set(requests["finish_s"].tolist())
    later = requests[SEATS:]
    assert set(later["arrival_s"].tolist()) <= finishes
    np.testing.assert_array_equal(later["first_scheduled_s"], later["arrival_s"])
    assert set(present[:-SEATS]) == {SEATS}


def test_concurrency_is_constant_while_there_are_successors():
    requests, _ = closed_loop(config())
    last_start = requests["first_scheduled_s"].max()
    times = np.unique(requests["finish_s"])
    times = times[times < last_start] + 1e-6
    inside = (requests["arrival_s"] <= times[:, None]) & (times[:, None] < requests["finish_s"])
    assert (inside.sum(axis=1) == SEATS).all()


@pytest.mark.parametrize("options", [{}, {"num_gpu_blocks": 200}], ids=["ample", "kv-pressure"])
def test_spans_and_single_iterations_agree(options):
    spans, present = closed_loop(config("span", **options))
    steps, present_stepping = closed_loop(config("iteration", **options))
    assert present == present_stepping
    np.testing.assert_array_equal(spans["preemptions"], steps["preemptions"])
    assert bool(spans["preemptions"].sum()) == bool(options), "pressure shows, and only there"
    for field in ("arrival_s", "first_scheduled_s", "first_token_s", "finish_s"):
        np.testing.assert_allclose(spans[field], steps[field], rtol=1e-9, err_msg=field)


def test_more_clients_than_seats_keep_the_queue_at_its_length():
    """The successor joins the end of the queue; the seat goes to the head at the same boundary."""
    requests, present = closed_loop(config(), users=SEATS + 4)
    assert set(present[: -SEATS - 4]) == {SEATS + 4}
    np.testing.assert_array_equal(
        np.argsort(requests["first_scheduled_s"], kind="stable"), np.arange(len(requests))
    )


@pytest.mark.parametrize("stepping", ["span", "iteration"])
def test_the_losers_of_a_race_leave_at_the_winners_boundary(stepping):
    clock = Clock()
    requests = new_requests(np.zeros(4), 100, [500, 40, 300, 200])
    finished = []

    def on_finish(ids):
        finished.extend(ids)
        for i in set(range(4)) - set(ids):
            assert replica.cancel(i)

    replica = Replica(
        clock, config(stepping), COST, requests, on_finish=on_finish, check_integrity=True
    )
    offer_at(clock, 0.0, replica, range(4))
    clock.run()
    assert finished == [1]
    assert requests["status"].tolist() == [CANCELLED, COMPLETED, CANCELLED, CANCELLED]
    assert len(set(requests["finish_s"].tolist())) == 1
    assert requests["generated_tokens"].tolist() == [40] * 4
    assert replica.arrays.state[0]["free_blocks"] == config().usable_blocks


def test_completions_are_told_in_the_order_of_the_batch():
    clock = Clock()
    requests = new_requests(np.zeros(5), 100, [30, 20, 30, 20, 30])
    told = []
    replica = Replica(clock, config(), COST, requests, on_finish=told.append)
    offer_at(clock, 0.0, replica, [4, 3, 2, 1, 0])
    clock.run()
    assert told == [[3, 1], [4, 2, 0]]


def test_work_handed_to_an_idle_replica_is_done_by_it():
    """A cascade: what one replica finishes, another continues, though nothing else happens."""
    clock = Clock()
    requests = new_requests([0.0, np.nan], 100, [50, 80])
    done = []

    def escalate(ids):
        requests["arrival_s"][1] = requests["finish_s"][0]
        assert second.offer(1) is None

    first = Replica(clock, config(), COST, requests, on_finish=escalate)
    second = Replica(clock, config(), COST, requests, index=1, on_finish=done.extend)
    offer_at(clock, 0.0, first, [0])
    clock.run()
    assert requests["status"].tolist() == [COMPLETED, COMPLETED]
    assert done == [1]
    assert requests["first_scheduled_s"][1] == requests["finish_s"][0]
    assert requests["replica"].tolist() == [0, 1]


def test_no_iteration_holds_a_request_that_arrived_after_it_began():
    """Handed one request at a completion and another in the next event, a replica starts twice."""
    clock = Clock()
    requests = new_requests([0.0, np.nan, 0.0], 100, [50, 80, 80])
    done = []

    def escalate(ids):
        requests["arrival_s"][1] = requests["finish_s"][0]
        later_s = requests["arrival_s"][2] = requests["finish_s"][0] + 5.0
        assert second.offer(1) is None
        offer_at(clock, later_s - clock.now, second, [2])

    first = Replica(clock, config(), COST, requests, on_finish=escalate)
    second = Replica(clock, config(), COST, requests, index=1, on_finish=done.extend)
    offer_at(clock, 0.0, first, [0])
    clock.run()
    assert (requests["status"] == COMPLETED).all()
    assert (requests["first_scheduled_s"] >= requests["arrival_s"]).all()
