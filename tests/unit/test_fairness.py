"""Jain's index, service over time and its gaps, against examples worked out by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from fake_record import fake_record
from hypothesis import given
from hypothesis import strategies as st

from simulator.metrics.fairness import (
    covered_cells,
    fairness_summary,
    jain,
    largest_swing,
    max_service_gap_tokens,
    mean_tta_of_clients,
    service_of_clients,
)
from simulator.metrics.latency import query_table
from simulator.metrics.record import RunRecord
from simulator.metrics.service import Flows, cumulative, flows, received

NAN = np.nan
GRAIN = 2 * 20.0 * 100 / 512  # what 20 tokens/s give in the two cells at the ends


def record_of(rows: list[tuple], window_s=(0.0, 100.0), end_s=100.0) -> RunRecord:
    """Rows of client, replica, arrival, first scheduled, first token, finish, prompt, generated."""
    names = "client replica arrival_s first_scheduled_s first_token_s finish_s prompt_tokens"
    table = pd.DataFrame(rows, columns=[*names.split(), "generated_tokens"])
    base = fake_record(len(rows))
    requests = base.requests.assign(**{name: table[name] for name in table})
    done = requests["finish_s"].notna()
    requests["status"] = np.where(done, "completed", "unfinished")
    requests["first_answer_s"] = requests["first_token_s"]
    requests["measured"] = True
    return replace(base, requests=requests, window_s=window_s, end_s=end_s)


def test_jain_by_hand():
    assert jain(np.array([5.0, 5.0, 5.0])) == 1.0
    assert jain(np.array([3.0, 0.0, 0.0])) == pytest.approx(1 / 3)
    assert jain(np.array([1.0, 2.0, NAN, 3.0])) == pytest.approx(36 / (3 * 14))
    assert jain(np.array([])) is None
    assert jain(np.zeros(3)) is None


shares = st.lists(st.floats(0.0, 1e9), min_size=1, max_size=20).filter(lambda x: sum(x) > 1e-3)


@given(shares, st.floats(1e-3, 1e3), st.randoms())
def test_jain_lies_between_one_nth_and_one_and_knows_no_scale_or_order(values, factor, rng):
    x = np.array(values)
    index = jain(x)
    assert 1 / len(x) - 1e-9 <= index <= 1 + 1e-9
    shuffled = values.copy()
    rng.shuffle(shuffled)
    assert jain(factor * np.array(shuffled)) == pytest.approx(index)


def test_service_in_the_window_by_hand():
    record = record_of(
        [
            # prompt 10 in [0, 10), 40 tokens (weight 2) in [10, 50): 10 s and 20 s are in [5, 30)
            ("a", 0, 0.0, 0.0, 10.0, 50.0, 10, 40),
            # all at once at 20 s: the whole prompt counts, and the one token
            ("b", 0, 19.0, 20.0, 20.0, 20.0, 7, 1),
            # unfinished: 30 tokens by the end of the run, in [10, 100)
            ("a", 0, 1.0, 5.0, 10.0, NAN, 100, 30),
            # waits in the window, gets nothing in it
            ("c", 1, 3.0, 40.0, 50.0, 60.0, 9, 9),
            # over before the window, after it, and refused: no demand
            ("d", 1, 0.0, 0.0, 1.0, 2.0, 9, 9),
            ("f", 1, 30.0, 31.0, 32.0, 33.0, 9, 9),
            ("e", -1, 10.0, NAN, NAN, NAN, 9, 0),
        ],
        window_s=(5.0, 30.0),
    )
    a = 10 * 5 / 10 + 2 * 40 * 20 / 40 + 100 + 2 * 30 * 20 / 90
    np.testing.assert_allclose(service_of_clients(record), [a, 7 + 2, 0.0])


def test_clients_with_and_without_answers():
    record = record_of(
        [
            ("a", 0, 0.0, 0.0, 1.0, 4.0, 9, 9),
            ("b", 0, 1.0, 1.0, 2.0, 3.0, 9, 9),
            ("c", 0, 1.0, 1.0, 2.0, NAN, 9, 9),
            ("a", 0, 2.0, 2.0, 3.0, 4.0, 9, 9),
        ]
    )
    queries = query_table(record.requests)
    np.testing.assert_allclose(mean_tta_of_clients(record, queries), [3.0, 2.0])
    shown = fairness_summary(record, queries)
    assert shown["num_clients"] == 3
    assert shown["jain_mean_tta"] == pytest.approx(25 / (2 * 13))
    assert shown["max_service_gap_tokens"] is None


def test_one_client_has_nobody_to_be_fair_to():
    record = fake_record(50)
    shown = fairness_summary(record, query_table(record.requests))
    assert shown == {
        "num_clients": 1,
        "jain_service": None,
        "jain_mean_tta": None,
        "max_service_gap_tokens": None,
    }


def backlogged(*served: tuple, replica_of_b: int = 0, until=(90.0, 90.0)) -> RunRecord:
    """Clients a and b wait from 10 s to `until`, while requests of theirs run."""
    waiting = [
        ("a", 0, 10.0, until[0], 95.0, 99.0, 1, 1),
        ("b", replica_of_b, 10.0, until[1], 95.0, 99.0, 1, 1),
    ]
    rows = [(c, replica_of_b if c == "b" else 0, *rest) for c, *rest in served]
    return record_of([*waiting, *rows])


def test_service_gap_of_backlogged_clients_by_hand():
    """a is served 2 x 600 tokens in [0, 60), b 2 x 300 in [30, 90)."""
    a = ("a", 0.0, 0.0, 0.0, 60.0, 0, 600)
    b = ("b", 0.0, 30.0, 30.0, 90.0, 0, 300)
    # a leads by 20/s for 20 s, by 10/s for 30 s, and falls back by 10/s for 30 s
    gap = max_service_gap_tokens(backlogged(a, b))
    assert gap == pytest.approx(20 * 20 + 10 * 30, abs=GRAIN)
    # only while both wait: up to 40 s
    gap = max_service_gap_tokens(backlogged(a, b, until=(90.0, 40.0)))
    assert gap == pytest.approx(20 * 20 + 10 * 10, abs=GRAIN)


def test_falling_back_counts_as_much_as_getting_ahead():
    a = ("a", 0.0, 10.0, 10.0, 20.0, 0, 100)
    b = ("b", 0.0, 20.0, 20.0, 80.0, 0, 600)
    gap = max_service_gap_tokens(backlogged(a, b))
    assert gap == pytest.approx(20 * 60, abs=GRAIN)


def test_clients_of_different_replicas_are_not_compared():
    a = ("a", 0.0, 0.0, 0.0, 60.0, 0, 600)
    assert max_service_gap_tokens(backlogged(a, replica_of_b=1)) is None


def test_no_gap_without_backlog():
    record = record_of([("a", 0, 0.0, 0.0, 1.0, 50.0, 9, 9), ("b", 0, 0.0, 0.0, 1.0, 50.0, 9, 9)])
    assert max_service_gap_tokens(record) is None
    assert max_service_gap_tokens(replace(record, window_s=(3.0, 3.0))) is None


def test_of_many_clients_those_that_waited_longest_are_compared():
    """The two that are served wait 50 s; six others, or nine, wait longer."""
    served = [("a", 0, 30.0, 30.0, 30.0, 50.0, 0, 600), ("b", 0, 50.0, 50.0, 50.0, 60.0, 0, 600)]
    waits = [(name, 0, 10.0, 60.0, 95.0, 99.0, 1, 1) for name in "ab"]
    few = [(f"c{i}", 0, 10.0, 62.0 + i, 95.0, 99.0, 1, 1) for i in range(6)]
    more = [(f"d{i}", 0, 10.0, 80.0, 95.0, 99.0, 1, 1) for i in range(3)]
    gap = max_service_gap_tokens(record_of([*served, *waits, *few]))
    assert gap == pytest.approx(1200, abs=3 * GRAIN)
    assert max_service_gap_tokens(record_of([*served, *waits, *few, *more])) == 0.0
    after = [(f"e{i}", 0, 65.0, 180.0, 190.0, 195.0, 1, 1) for i in range(9)]
    late = record_of([*served, *waits, *after], window_s=(0.0, 70.0), end_s=200.0)
    assert max_service_gap_tokens(late) == pytest.approx(1200, abs=3 * GRAIN)


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.sets(st.integers(0, 11)))
def test_streams_of_some_requests(got_a_token, wanted):
    count = len(got_a_token)
    first = np.where(got_a_token, np.arange(count) + 2.0, NAN)
    names = ("client", "replica", "arrival_s", "first_scheduled_s", "first_token_s", "finish_s")
    rows = [("a", 0, 0.0, 1.0, first[i], NAN, 10 + i, 20 + i) for i in range(count)]
    requests = pd.DataFrame(rows, columns=[*names, "prompt_tokens", "generated_tokens"])
    chosen = np.array(sorted(i for i in wanted if i < count), np.int64)
    part = flows(requests, 100.0).of(chosen)
    alone = flows(requests.iloc[chosen], 100.0)
    assert part.tokens.tolist() == alone.tokens.tolist()
    assert part.start_s.tolist() == alone.start_s.tolist()
    assert part.end_s.tolist() == alone.end_s.tolist()


spans = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12)), min_size=1, max_size=8)


@given(spans)
def test_cells_covered_by_a_union_of_spans(pairs):
    start = np.array([float(s) for s, _ in pairs])
    end = start + np.array([float(length) for _, length in pairs])
    edges = np.arange(0.0, 45.0, 1.5)
    fine = np.arange(0.0, 45.0, 0.25)  # quarters: spans begin and end at whole numbers
    held = ((fine[:, None] >= start) & (fine[:, None] < end)).any(axis=1)
    expected = held[: 6 * (len(edges) - 1)].reshape(-1, 6).all(axis=1)
    np.testing.assert_array_equal(covered_cells(start, end, edges), expected)


@given(st.lists(st.tuples(st.floats(-50, 50), st.booleans()), min_size=1, max_size=12))
def test_largest_swing_is_that_of_any_two_edges_of_a_run(pairs):
    values = np.array([0.0, *(value for value, _ in pairs)])
    cells = np.array([counts for _, counts in pairs])
    expected = [
        abs(values[j] - values[i])
        for i in range(len(values))
        for j in range(i + 1, len(values))
        if cells[i:j].all()
    ]
    assert largest_swing(values, cells) == (pytest.approx(max(expected)) if expected else None)


streams = st.lists(
    st.tuples(st.floats(0, 50), st.sampled_from([0.0, 0.5, 7.0, 60.0]), st.integers(0, 900)),
    max_size=8,
)


@given(streams, st.floats(0, 60), st.floats(0.1, 60))
def test_service_up_to_a_time_is_the_sum_of_what_each_stream_gave(pairs, start_s, length_s):
    start, length, tokens = np.array(pairs, np.float64).reshape(-1, 3).T
    each = Flows(np.arange(len(start)), start, start + length, tokens)
    total = cumulative(each, np.array([-1.0, start_s, start_s + length_s, 1e3]))
    assert total[0] == pytest.approx(0.0, abs=1e-6)
    assert total[3] == pytest.approx(tokens.sum(), abs=1e-6)
    instant = (length == 0) & ((start + length == start_s) | (start == start_s + length_s))
    if not instant.any():
        inside = received(each, start_s, start_s + length_s).sum()
        assert total[2] - total[1] == pytest.approx(inside, abs=1e-6)


def test_all_that_was_served_is_accounted_for():
    record = fake_record(300, load=1.3)
    requests = record.requests
    streams = flows(requests, record.end_s)
    expected = requests["prompt_tokens"].sum() + 2 * requests["generated_tokens"].sum()
    assert streams.tokens.sum() == expected
    assert received(streams, 0.0, record.end_s + 1).sum() == pytest.approx(expected)
    half = [received(streams, *part).sum() for part in ((0.0, 50.0), (50.0, 1e9))]
    assert sum(half) == pytest.approx(expected)
