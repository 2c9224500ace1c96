"""Who was overtaken, and how long they waited."""

import numpy as np
import pytest
from fake_record import fake_record
from hypothesis import given
from hypothesis import strategies as st

from simulator.metrics.starvation import overtaken, starvation

INF = np.inf


def test_by_hand():
    replica = np.array([0, 0, 0, 1, 0, 1])
    arrival = np.array([0.0, 1.0, 2.0, 0.5, 3.0, 9.0])
    started = np.array([0.0, 9.0, 5.0, 20.0, INF, 15.0])
    # 1 by 2; 3 by 5, on its own replica; 4 never started, but nobody came after it
    assert overtaken(replica, arrival, started).tolist() == [0, 1, 0, 1, 0, 0]


requests = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(0, 6),
        st.one_of(st.integers(0, 9).map(float), st.just(INF)),
    ),
    max_size=20,
)


@given(requests)
def test_it_is_what_comparing_all_pairs_finds(rows):
    replica, arrival, started = np.array(rows, np.float64).reshape(-1, 3).T
    expected = [
        any(r == q and b > a and t < s for q, b, t in zip(replica, arrival, started, strict=True))
        for r, a, s in zip(replica, arrival, started, strict=True)
    ]
    got = overtaken(replica.astype(np.int64), arrival, started)
    assert got.tolist() == expected


def test_first_come_first_served_starves_nobody():
    """The fake pool has one queue; in order of arrival its requests start in order too."""
    record = fake_record(500, load=1.4)
    found = starvation(record.requests, record.end_s)
    assert (found.overtaken, found.longest_wait_s) == (0, None)


def test_the_longest_wait_is_of_measured_requests_that_were_overtaken():
    frame = fake_record(6).requests.assign(
        replica=[0, 0, 0, 0, 0, 0],
        status=["completed", "completed", "completed", "cancelled", "rejected", "unfinished"],
        arrival_s=[0.0, 1.0, 2.0, 3.0, 4.0, 50.0],
        first_scheduled_s=[30.0, 20.0, 60.0, np.nan, np.nan, 55.0],
        finish_s=[90.0, 90.0, 90.0, 70.0, np.nan, np.nan],
        measured=[False, True, True, True, True, True],
    )
    # 0 by 1 (not measured), 2 and 3 by 5; 3 left at 70 s, unserved; 4 was refused
    found = starvation(frame, 100.0)
    assert found.overtaken == 2
    assert found.longest_wait_s == 67.0
    frame.loc[3, "finish_s"] = np.nan
    assert starvation(frame, 100.0).longest_wait_s == 97.0
    assert starvation(frame.iloc[:0], 100.0).longest_wait_s is None


def test_reversed_service_starves_the_first():
    count = 50
    frame = fake_record(count).requests.assign(
        replica=0,
        arrival_s=np.arange(count, dtype=float),
        first_scheduled_s=200.0 - np.arange(count),
        measured=True,
    )
    found = starvation(frame, 300.0)
    assert found.overtaken == count - 1
    assert found.longest_wait_s == pytest.approx(200.0)
