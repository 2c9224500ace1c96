"""Time-weighted readings of replicas, by hand and against fine sampling."""

import numpy as np
import pandas as pd
import pytest
from fake_record import fake_record
from hypothesis import given
from hypothesis import strategies as st

from simulator.metrics.occupancy import (
    occupancy_by_replica,
    occupancy_summary,
    over_time,
    weights_s,
)
from simulator.result import Result


def timeline(times, running, kv) -> pd.DataFrame:
    running, kv = np.array(running), np.array(kv)
    return pd.DataFrame(
        {
            "t_s": np.repeat(np.array(times, float), running.shape[1]),
            "pool": np.tile([f"pool {i}" for i in range(running.shape[1])], len(times)),
            "replica": np.tile(np.arange(running.shape[1]), len(times)),
            "running": running.ravel(),
            "kv_used_frac": kv.ravel(),
        }
    )


def test_a_reading_stands_for_the_time_up_to_the_next():
    times = np.array([0.0, 10.0, 20.0, 30.0])
    assert weights_s(times, 0.0, 40.0).tolist() == [10, 10, 10, 10]
    assert weights_s(times, 12.0, 27.0).tolist() == [0, 8, 7, 0]
    assert weights_s(times, 35.0, 99.0).tolist() == [0, 0, 0, 64]
    assert weights_s(times, 12.0, 12.0).tolist() == [0, 1, 0, 0]


def test_one_replica_by_hand():
    frame = timeline([0, 10, 20, 30], [[4], [8], [2], [50]], [[0.1], [0.4], [0.2], [1.0]])
    shown = occupancy_summary(frame, (0.0, 25.0))
    # 4 for 10 s, 8 for 10 s, 2 for 5 s; the 50 came after the window
    assert shown["running_mean"] == pytest.approx((40 + 80 + 10) / 25)
    assert shown["running_p50"] == 4.0
    assert shown["running_p95"] == 8.0
    assert shown["running_peak"] == 8.0
    assert shown["kv_usage_p50"] == 0.2  # 0.1 for 10 s, 0.2 for 5 s, 0.4 for 10 s
    assert shown["kv_usage_p95"] == 0.4
    assert shown["running_imbalance"] is None


def test_replicas_each_and_together():
    frame = timeline([0, 10], [[1, 7], [3, 5]], [[0.0, 0.5], [0.2, 0.9]])
    shown = occupancy_summary(frame, (0.0, 20.0))
    assert shown["running_mean"] == 4.0
    assert shown["running_peak"] == 7.0
    assert shown["running_imbalance"] == pytest.approx(6 / 4)
    each = occupancy_by_replica(frame, (0.0, 20.0))
    assert each.index.tolist() == [0, 1]
    assert each["pool"].tolist() == ["pool 0", "pool 1"]
    assert each["running_mean"].tolist() == [2.0, 6.0]
    assert each["running_peak"].tolist() == [3.0, 7.0]
    assert each["kv_usage_mean"].tolist() == pytest.approx([0.1, 0.7])
    assert each["kv_usage_p95"].tolist() == [0.2, 0.9]


readings = st.lists(
    st.tuples(st.integers(1, 9), st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=12
)


@given(readings)
def test_it_is_what_reading_every_second_gives(rows):
    lengths, *columns = np.array(rows).T
    values = np.stack(columns, axis=1)
    shown = over_time(values, lengths.astype(float))
    seconds = np.repeat(values, lengths, axis=0).ravel()
    assert shown["mean"] == pytest.approx(seconds.mean())
    assert shown["peak"] == seconds.max()
    for percent in (50, 95):
        expected = np.percentile(seconds, percent, method="inverted_cdf")
        assert shown[f"p{percent}"] == expected


def test_nothing_read():
    frame = fake_record(50).timeline
    assert occupancy_summary(frame.iloc[:0], (0.0, 1.0))["running_mean"] is None
    idle = occupancy_summary(frame.assign(running=0), (0.0, 1.0))
    assert idle["running_mean"] == 0.0
    assert idle["running_imbalance"] is None


def test_a_run_by_its_own_samples():
    record = fake_record(800, window_s=(20.0, 60.0))
    shown = occupancy_summary(record.timeline, record.window_s)
    inside = record.timeline[record.timeline["t_s"].between(20.0, 60.0)]
    assert shown["running_peak"] >= inside["running"].max()
    assert shown["running_mean"] == pytest.approx(inside["running"].mean(), rel=0.02)
    each = Result(record, {}).replicas
    assert each["running_mean"].mean() == pytest.approx(shown["running_mean"])
