"""Settling between events: once, after everyone had a say, and never past the next event."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.cluster.source import Source
from simulator.engine.clock import Clock
from simulator.engine.config import EngineConfig
from simulator.engine.replica import Replica
from simulator.engine.request import COMPLETED, new_requests
from simulator.engine.state import IN_SPAN
from simulator.testing import linear_cost

CONFIG = EngineConfig(num_gpu_blocks=4000, max_model_len=10_000, max_num_seqs=8)
COST = linear_cost(0.01, 1e-6, 1e-8, max_tokens=8192, max_seqs=8)


class Noted:
    """Writes down when it was settled."""

    def __init__(self, clock: Clock, log: list[tuple[str, float]], name: str = "settled") -> None:
        self.clock, self.log, self.name = clock, log, name

    def touch(self, _: object) -> None:
        self.log.append((f"touched {self.name}", self.clock.now))
        self.clock.unsettled.append(self)

    def settle(self) -> None:
        self.log.append((self.name, self.clock.now))


def test_it_settles_after_all_callbacks_of_the_event():
    clock, log = Clock(), []
    one, other = Noted(clock, log, "one"), Noted(clock, log, "other")
    event = clock.timeout(3.0)
    event.callbacks.append(one.touch)
    event.callbacks.append(other.touch)
    event.callbacks.append(lambda _: log.append(("last callback", clock.now)))
    clock.run()
    assert log == [
        ("touched one", 3.0),
        ("touched other", 3.0),
        ("last callback", 3.0),
        ("one", 3.0),
        ("other", 3.0),
    ]
    assert clock.unsettled == []


def test_it_settles_before_the_next_event_at_the_same_time():
    clock, log = Clock(), []
    noted = Noted(clock, log)
    clock.timeout(1.0).callbacks.append(noted.touch)
    clock.timeout(1.0).callbacks.append(lambda _: log.append(("second event", clock.now)))
    clock.run()
    assert [what for what, _ in log] == ["touched settled", "settled", "second event"]


def test_an_event_that_touches_nothing_settles_nothing():
    clock, log = Clock(), []
    noted = Noted(clock, log)
    clock.timeout(1.0).callbacks.append(noted.touch)
    clock.timeout(2.0)
    clock.run()
    assert [what for what, _ in log].count("settled") == 1


def test_what_is_touched_while_settling_is_settled_before_the_next_event():
    """A replica whose completion makes another replica's work must not leave that lying about."""
    clock, log = Clock(), []
    other = Noted(clock, log, "other")

    class Handing(Noted):
        def settle(self) -> None:
            super().settle()
            other.touch(None)

    clock.timeout(1.0).callbacks.append(Handing(clock, log, "first").touch)
    clock.timeout(2.0).callbacks.append(lambda _: log.append(("next event", clock.now)))
    clock.run()
    assert log == [
        ("touched first", 1.0),
        ("first", 1.0),
        ("touched other", 1.0),
        ("other", 1.0),
        ("next event", 2.0),
    ]


def make_replica(clock: Clock, requests: np.ndarray) -> Replica:
    return Replica(clock, CONFIG, COST, requests, check_integrity=True)


def test_a_replica_is_settled_once_however_often_it_is_touched(monkeypatch):
    clock = Clock()
    requests = new_requests([1.0] * 5, 100, 10)
    replica = make_replica(clock, requests)
    settled = []
    settle = replica.settle
    monkeypatch.setattr(replica, "settle", lambda: (settled.append(clock.now), settle()))
    Source(clock, requests["arrival_s"], replica.offer)
    clock.run(until=1.0 + 1e-10)
    assert settled[0] == 1.0
    assert settled.count(1.0) == 1


def test_requests_of_two_events_at_one_time_start_together():
    """The first event must not let the replica begin an iteration without the second's request."""
    clock = Clock()
    requests = new_requests([0.5, 0.5], [100, 200], [10, 10])
    replica = make_replica(clock, requests)
    for i in range(2):
        clock.timeout(0.5).callbacks.append(lambda _, i=i: replica.offer(i))
    clock.run()
    assert requests["first_scheduled_s"].tolist() == [0.5, 0.5]
    assert requests["first_token_s"][0] == requests["first_token_s"][1]


def test_a_lone_replica_runs_ahead_of_the_clock():
    """Without other events all its spans fit between two of its own."""
    clock = Clock()
    requests = new_requests(np.zeros(40), 100, np.arange(100, 500, 10))
    replica = make_replica(clock, requests)
    Source(clock, requests["arrival_s"], replica.offer)
    events = 0
    while clock.peek() < np.inf:
        clock.step()
        events += 1
    assert (requests["status"] == COMPLETED).all()
    assert replica.arrays.state[0]["spans"] > 40
    assert events <= 3


@given(
    arrivals=st.lists(st.sampled_from([0.0, 0.01, 0.4, 2.0]), min_size=1, max_size=20),
    other_events=st.lists(st.floats(0.0, 30.0), min_size=1, max_size=30),
    seed=st.integers(0, 100),
)
@settings(max_examples=60, deadline=None)
def test_no_replica_is_ever_ahead_of_an_event(arrivals, other_events, seed):
    """At any event, what a replica has ended lies before it, and what is under way reaches it."""
    rng = np.random.default_rng(seed)
    clock = Clock()
    requests = new_requests(np.cumsum(arrivals), 50, rng.integers(1, 400, len(arrivals)))
    replica = make_replica(clock, requests)
    Source(clock, requests["arrival_s"], replica.offer)
    state = replica.arrays.state
    looks = []

    def look(_: object) -> None:
        s = state[0]
        looks.append(clock.now)
        assert s["now_s"] <= clock.now * (1 + 1e-9)
        ended = requests["status"] == COMPLETED
        assert (requests["finish_s"][ended] <= clock.now * (1 + 1e-9)).all()
        if s["phase"] == IN_SPAN:
            end_s = s["now_s"] + s["k"] * (s["a_s"] + s["b_s"] * 0.5 * (s["k"] - 1))
            assert end_s >= clock.now * (1 - 2e-9) - 2e-12

    for t_s in other_events:
        clock.timeout(t_s).callbacks.append(look)
    clock.run()
    assert looks == sorted(other_events)


def test_other_events_change_nothing_a_replica_does():
    def run(other_events: np.ndarray) -> np.ndarray:
        clock = Clock()
        requests = new_requests(np.arange(20) * 0.3, 50, 100 + 7 * np.arange(20))
        replica = make_replica(clock, requests)
        Source(clock, requests["arrival_s"], replica.offer)
        for t_s in other_events:
            clock.timeout(t_s)
        clock.run()
        return requests

    alone, disturbed = run(np.array([])), run(np.linspace(0.0, 20.0, 301))
    for field in ("first_scheduled_s", "first_token_s", "finish_s"):
        assert alone[field] == pytest.approx(disturbed[field], rel=1e-9)
