"""Which requests and which stretch of time are measured."""

import math

import numpy as np
import pytest

from simulator.metrics.window import by_requests, by_seconds

ARRIVALS = np.array([0.0, 1.0, 1.0, 2.5, 4.0, 4.0, 9.0])


def test_seconds_count_arrivals_from_the_start_up_to_but_not_including_the_end():
    window = by_seconds(ARRIVALS, 1.0, 3.0)
    assert (window.start_s, window.end_s) == (1.0, 4.0)
    assert window.measured.tolist() == [False, True, True, True, False, False, False]
    assert window.marks_s == (1.0, 4.0)
    assert window.last_arrival_s(ARRIVALS) == 4.0


def test_seconds_may_be_open_at_the_end():
    window = by_seconds(ARRIVALS, 2.5, None)
    assert (window.start_s, window.end_s) == (2.5, math.inf)
    assert window.measured.tolist() == [False] * 3 + [True] * 4
    assert window.marks_s == (2.5,), "the end of the run closes it"
    assert window.last_arrival_s(ARRIVALS) == 9.0


def test_without_a_warm_up_everything_counts():
    assert by_seconds(ARRIVALS, 0.0, None).measured.all()
    assert by_requests(ARRIVALS, 0, None).measured.all()


def test_a_window_in_which_nobody_arrives():
    window = by_seconds(ARRIVALS, 5.0, 3.0)
    assert not window.measured.any()
    assert window.marks_s == (5.0, 8.0)


def test_requests_count_from_the_first_measured_to_the_next_one_after():
    window = by_requests(ARRIVALS, 1, 3)
    assert window.measured.tolist() == [False, True, True, True, False, False, False]
    assert (window.start_s, window.end_s) == (1.0, 4.0)
    assert window.marks_s == (1.0, 4.0)


def test_of_requests_at_one_time_some_may_count_and_others_not():
    window = by_requests(ARRIVALS, 2, 3)
    assert window.measured.tolist() == [False, False, True, True, True, False, False]
    assert (window.start_s, window.end_s) == (1.0, 4.0)


@pytest.mark.parametrize("count", [None, 4, 5, 1000])
def test_requests_may_be_all_the_others(count):
    window = by_requests(ARRIVALS, 3, count)
    assert window.measured.tolist() == [False] * 3 + [True] * 4
    assert (window.start_s, window.end_s) == (2.5, math.inf)
    assert window.last_arrival_s(ARRIVALS) == 9.0


@pytest.mark.parametrize("warmup", [7, 100])
def test_a_warm_up_that_takes_everyone_measures_nobody(warmup):
    window = by_requests(ARRIVALS, warmup, 5)
    assert not window.measured.any()
    assert (window.start_s, window.end_s) == (9.0, math.inf)
