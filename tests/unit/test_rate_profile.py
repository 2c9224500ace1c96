"""The clock of a rate that changes in steps."""

import math

import numpy as np
import pytest

from workloads.processes.rate_profile import RateProfile

EDGES_S = np.array([0.0, 2.0, 3.0, 5.0])
RATES_RPS = np.array([0.0, 4.0, 0.0])


def test_nothing_arrives_while_the_rate_is_0():
    profile = RateProfile.of_steps(EDGES_S, RATES_RPS, repeat=False)
    assert profile.integral.tolist() == [0.0, 0.0, 4.0, 4.0]
    times = profile.times_of(np.array([0.0, 1.0, 3.0, np.nextafter(4.0, 0.0)]))
    assert times.tolist() == pytest.approx([2.0, 2.25, 2.75, 3.0])
    assert times[-1] <= 3.0
    assert profile.total() == 4.0


def test_a_step_begins_at_its_edge():
    profile = RateProfile.of_steps(np.array([0.0, 1.0, 2.0]), np.array([2.0, 8.0]), repeat=False)
    assert profile.times_of(np.array([2.0, 2.0 + 1e-12])).tolist() == pytest.approx([1.0, 1.0])
    assert profile.times_of(np.array([6.0])).tolist() == [1.5]


def test_cycles_follow_each_other():
    profile = RateProfile.of_steps(EDGES_S, RATES_RPS, repeat=True)
    assert profile.total() == math.inf
    assert profile.mean_rate_rps() == 4 / 5
    reached = np.array([0.0, 3.0, 4.0, 7.0, 8.0, 4000.0])
    assert profile.times_of(reached).tolist() == [2.0, 2.75, 7.0, 7.75, 12.0, 5002.0]
    assert [profile.expected_by(t) for t in (2.0, 2.5, 4.0, 7.5, 12.5)] == [0, 2, 4, 6, 10]


def test_times_are_in_order_though_their_sums_are_rounded():
    edges_s = np.cumsum([0.0, 0.1, 0.7, 0.3, 1e-3])
    profile = RateProfile.of_steps(edges_s, np.array([3.3, 0.7, 1.1, 1e6]), repeat=True)
    cycles = profile.integral[-1] * np.arange(1, 20_000)
    reached = np.sort(np.concatenate([np.nextafter(cycles, s) for s in (0.0, 1e9)] + [cycles]))
    times = profile.times_of(reached)
    assert (np.diff(times) >= 0).all()
    np.testing.assert_allclose(times[1::3], edges_s[-1] * np.arange(1, 20_000), rtol=1e-12)


def test_the_last_level_stays_for_ever():
    edges_s = np.array([0.0, 10.0, math.inf])
    rising = RateProfile.of_steps(edges_s, np.array([1.0, 2.0]), repeat=False)
    assert rising.times_of(np.array([5.0, 1010.0])).tolist() == [5.0, 510.0]
    assert (rising.total(), rising.mean_rate_rps()) == (math.inf, 2.0)
    assert rising.expected_by(110.0) == 210.0
    ending = RateProfile.of_steps(edges_s, np.array([1.0, 0.0]), repeat=False)
    assert (ending.total(), ending.mean_rate_rps()) == (10.0, 1.0)
    assert ending.expected_by(110.0) == 10.0
