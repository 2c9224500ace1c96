"""Open-loop traffic: every request at its time, one pending event in all."""

import numpy as np
import pytest
import simpy

from simulator.cluster.source import Source


def submissions(times, *, initial_time=0.0):
    """(time, request) pairs in order, and the environment after the run."""
    env = simpy.Environment(initial_time)
    log = []
    source = Source(env, np.array(times, dtype=np.float64), lambda i: log.append((env.now, i)))
    env.run()
    assert source.submitted == len(times)
    return log


def test_each_request_comes_at_its_time():
    times = [0.0, 0.25, 1.0, 7.5]
    assert submissions(times) == [(t_s, i) for i, t_s in enumerate(times)]


def test_times_do_not_drift():
    """Thousands of delays added up stay within rounding of the times asked for."""
    times = np.cumsum(np.random.default_rng(3).exponential(0.1, 20_000))
    got = np.array([t_s for t_s, _ in submissions(times)])
    np.testing.assert_allclose(got, times, rtol=1e-15)


def test_nothing_to_send_schedules_nothing():
    env = simpy.Environment()
    Source(env, np.array([]), lambda i: None)
    assert env.peek() == float("inf")


def test_ties_are_submitted_together_in_order():
    env = simpy.Environment()
    log = []
    source = Source(
        env, np.array([1.0, 1.0, 1.0, 2.0]), lambda i: log.append((i, source.submitted))
    )
    env.step()
    assert log == [(0, 3), (1, 3), (2, 3)], "one event, and all three count as arrived"
    env.step()
    assert log[3:] == [(3, 4)]


def test_the_next_arrival_is_pending_before_this_one_is_submitted():
    """A replica must see it as the end of what it may run ahead to."""
    env = simpy.Environment()
    times = [0.5, 0.5, 1.25, 4.0]
    peeks = []
    Source(env, np.array(times), lambda i: peeks.append(env.peek()))
    env.run()
    assert peeks == [1.25, 1.25, 4.0, float("inf")]


def test_one_event_is_pending_whatever_is_to_come():
    env = simpy.Environment()
    Source(env, np.arange(1000.0), lambda i: None)
    for _ in range(5):
        assert len(env._queue) == 1
        env.step()


def test_requests_of_the_past_come_at_once():
    assert submissions([1.0, 2.0, 6.0], initial_time=5.0) == [(5.0, 0), (5.0, 1), (6.0, 2)]


def test_what_submit_raises_ends_the_run():
    def refuse(i):
        raise RuntimeError("no")

    env = simpy.Environment()
    Source(env, np.array([1.0]), refuse)
    with pytest.raises(RuntimeError, match="no"):
        env.run()
