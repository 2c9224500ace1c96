"""How full replicas were over the window: requests in the batch, and KV cache in use."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from simulator.cost.terms import FloatArray

PERCENTS = (50, 95)
_COLUMNS = {"running": "running", "kv_usage": "kv_used_frac"}


def weights_s(times_s: FloatArray, start_s: float, end_s: float) -> FloatArray:
    """Seconds of [start, end) that each reading stands for, float64[n]: those up to the next one.

    `times_s`: float64[n], increasing. The last reading stands for the rest. In a window without
    length the reading that holds at that moment stands for it, with weight 1.
    """
    if end_s <= start_s:
        held = max(int(np.searchsorted(times_s, start_s, side="right")) - 1, 0)
        return np.asarray(np.arange(len(times_s)) == held, np.float64)
    edges = np.clip(np.append(times_s, np.inf), start_s, end_s)
    return np.asarray(np.diff(edges))


def over_time(values: np.ndarray, weights: FloatArray) -> dict[str, float | None]:
    """Mean, `PERCENTS` and peak over time of readings of several replicas together.

    `values`: [times, replicas]; `weights`: float64[times], seconds. A percentile is the smallest
    value at or below which replicas spend that share of their time. None where nothing was read.
    """
    counted = weights > 0
    values, weights = np.asarray(values, np.float64)[counted], weights[counted]
    if not values.size:
        return dict.fromkeys(("mean", *(f"p{percent}" for percent in PERCENTS), "peak"))
    flat = values.ravel()
    order = np.argsort(flat, kind="stable")
    each = np.repeat(weights, values.shape[1])
    reached = np.cumsum(each[order])
    shares = np.array(PERCENTS) / 100 * reached[-1]
    at = np.minimum(np.searchsorted(reached, shares * (1 - 1e-12)), len(flat) - 1)
    return {
        "mean": float(flat @ each) / float(reached[-1]),
        **{f"p{p}": float(flat[order[i]]) for p, i in zip(PERCENTS, at, strict=True)},
        "peak": float(flat.max()),
    }


def occupancy_by_replica(timeline: pd.DataFrame, window_s: tuple[float, float]) -> pd.DataFrame:
    """A row a replica: its pool, `running_` and `kv_usage_` `mean`, `p50`, `p95` and `peak`.

    All over the window; a reading stands for the time up to the next one.

    `timeline` as in `RunRecord`: every replica at every time of one grid, in order of time.
    """
    replicas, weights, readings = _readings(timeline, window_s)
    rows = [
        {
            f"{name}_{key}": value
            for name, values in readings.items()
            for key, value in over_time(values[:, [column]], weights).items()
        }
        for column in range(len(replicas))
    ]
    pools = timeline["pool"].iloc[: len(replicas)].astype(str).to_numpy()
    frame = pd.DataFrame(rows, index=pd.Index(replicas, name="replica"))
    frame.insert(0, "pool", pools)
    return frame


def occupancy_summary(timeline: pd.DataFrame, window_s: tuple[float, float]) -> dict[str, Any]:
    """Over all replicas of a timeline: requests running on one of them, and its KV cache in use.

    `running_mean`, `_p50`, `_p95`, `_peak`; `kv_usage_p50`, `kv_usage_p95`; and how uneven the load
    is: `running_imbalance`, the busiest replica's mean over that of all (1: all alike).
    """
    replicas, weights, readings = _readings(timeline, window_s)
    running, kv_usage = (over_time(readings[name], weights) for name in _COLUMNS)
    imbalance = None
    if running["mean"]:
        busiest = float((weights @ readings["running"]).max()) / float(weights.sum())
        imbalance = busiest / running["mean"]
    return {
        **{f"running_{key}": value for key, value in running.items()},
        "running_imbalance": imbalance if len(replicas) > 1 else None,
        **{f"kv_usage_p{percent}": kv_usage[f"p{percent}"] for percent in PERCENTS},
    }


def _readings(
    timeline: pd.DataFrame, window_s: tuple[float, float]
) -> tuple[np.ndarray, FloatArray, dict[str, np.ndarray]]:
    """Replicas, weight of each time, and what was read, [times, replicas]."""
    replicas = np.unique(timeline["replica"].to_numpy(np.int64))
    shape = (-1, max(len(replicas), 1))
    times = timeline["t_s"].to_numpy(np.float64).reshape(shape)[:, 0]
    readings = {
        name: timeline[column].to_numpy(np.float64).reshape(shape)
        for name, column in _COLUMNS.items()
    }
    return replicas, weights_s(times, *window_s), readings
