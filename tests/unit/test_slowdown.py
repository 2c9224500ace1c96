"""Slowdown by length, starvation, waste and prefix hits of tables made by hand."""

import numpy as np
import pandas as pd
import pytest
from fake_record import fake_record
from hypothesis import given
from hypothesis import strategies as st

from simulator.metrics.slowdown import (
    asked_output_tokens,
    length_classes,
    slowdown_summary,
    slowdowns,
)

NAN = np.nan


def table(**columns) -> pd.DataFrame:
    rows = len(next(iter(columns.values())))
    base = fake_record(rows).requests
    return base.assign(status="completed", max_tokens=0, arrival_s=0.0, **columns)


def test_slowdown_is_latency_over_time_alone():
    requests = table(finish_s=[10.0, 30.0, 8.0, 9.0], alone_s=[10.0, 15.0, NAN, 4.0])
    requests["arrival_s"] = [0.0, 0.0, 0.0, 1.0]
    requests.loc[3, "status"] = "cancelled"
    np.testing.assert_array_equal(slowdowns(requests), [1.0, 2.0, NAN, NAN])


def test_by_length_by_hand():
    requests = table(
        thinking_tokens=[5, 0, 100, 90, 1000, 9000],
        answer_tokens=[5, 20, 0, 10, 0, 0],
        finish_s=[1.0, 2.0, 30.0, NAN, 8.0, 12.0],
        alone_s=[1.0, 1.0, 10.0, 10.0, 4.0, 4.0],
    )
    requests.loc[3, "status"] = "cancelled"
    shown = slowdown_summary(requests)
    keys = ("max_output_tokens", "requests", "count", "mean", "p99", "max")
    expected = {
        "short": (20, 2, 2, 1.5, 1.99, 2.0),
        "medium": (100, 2, 1, 3.0, 3.0, 3.0),
        "long": (9000, 2, 2, 2.5, 2.99, 3.0),
    }
    assert shown["slowdown_by_length"].keys() == expected.keys()
    for name, values in expected.items():
        each = dict(zip(keys, values, strict=True))
        assert shown["slowdown_by_length"][name] == pytest.approx(each)
    assert shown["mean_slowdown"] == pytest.approx((1 + 2 + 3 + 2 + 3) / 5)
    assert shown["p99_slowdown"] == pytest.approx(3.0)
    assert shown["max_slowdown"] == 3.0


def test_nothing_completed_nothing_known():
    requests = table(finish_s=[NAN], alone_s=[NAN])
    requests["status"] = "unfinished"
    shown = slowdown_summary(requests)
    assert shown["mean_slowdown"] is None
    assert shown["slowdown_by_length"]["short"]["count"] == 0
    assert slowdown_summary(requests.iloc[:0])["slowdown_by_length"] == {}


def test_lengths_are_those_asked_for_whatever_came_out():
    requests = table(thinking_tokens=[50, 50, 50], answer_tokens=[10, 10, 10])
    requests["max_tokens"] = [0, 40, 100]
    assert asked_output_tokens(requests).tolist() == [60, 40, 60]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60))
def test_thirds_are_equal_but_for_ties(tokens):
    lengths = np.array(tokens)
    member, limits = length_classes(lengths)
    assert limits == sorted(limits)
    assert limits[2] == lengths.max()
    order = np.argsort(lengths, kind="stable")
    assert (np.diff(member[order]) >= 0).all()
    for length in set(tokens):
        assert len(set(member[lengths == length])) == 1
    # a class never holds more than a third, its last length's ties apart
    for index, limit in enumerate(limits):
        below = (member <= index) & (lengths < limit)
        assert below.sum() < (index + 1) * len(tokens) / 3


def test_thirds_by_hand():
    member, limits = length_classes(np.array([7, 1, 3, 9, 5, 2, 8]))
    assert limits == [3, 7, 9]  # the third, fifth and seventh of seven
    assert member.tolist() == [1, 0, 0, 2, 1, 0, 2]
