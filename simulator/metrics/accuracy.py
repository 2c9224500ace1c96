"""How many answers are right, and what a right one costs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simulator.metrics.record import RunRecord
from simulator.rng import uniforms

Floats = NDArray[np.float64]

RESAMPLES = 2000

_CONFIDENCE = 0.95
_NOTHING: dict[str, Any] = {
    "accuracy": None,
    "accuracy_ci95": None,
    "correct_queries": None,
    "judged_queries": None,
    "mean_requests_per_query": None,
    "cost_usd_per_correct_answer": None,
    "cost_usd_per_correct_answer_ci95": None,
    "energy_j_per_correct_answer": None,
    "value_usd": None,
    "net_benefit_usd": None,
    "net_benefit_usd_per_query": None,
    "net_benefit_usd_per_query_ci95": None,
}


def accuracy_summary(
    record: RunRecord, queries: pd.DataFrame, window_cost_usd: float, energy_j: float | None
) -> dict[str, Any]:
    """Accuracy of the measured queries that are over, and the window's cost by right answers.

    A query without an answer counts as wrong. Cost and energy of the window are shared by all
    queries that were over in it, answered or not, so a right answer costs cost/query / accuracy.
    Net benefit is the value of right answers less the cost. Intervals are bootstraps over queries
    of `RESAMPLES` draws, by the percentiles [low, high]; the cost itself is taken as it is.
    """
    judged = queries["answer"].notna() if "answer" in queries else None
    if judged is None or not judged.any():
        return dict(_NOTHING)
    over = queries[queries["measured"].to_numpy(bool) & judged.to_numpy(bool)]
    right: Floats = (over["answer"] == "right").to_numpy(bool).astype(np.float64)
    if not len(right):
        return dict(_NOTHING)
    values = record.class_value_usd
    worth: Floats = np.array([values.get(str(name), math.nan) for name in over["class"]])
    per_query = _over_in_window(record, queries)
    usd_per_query = window_cost_usd / per_query if per_query else None
    accuracy = float(right.mean())
    energy = energy_j / per_query if energy_j is not None and per_query else None
    shares, gains = _resampled(record.seed, right, worth * right)
    found: dict[str, Any] = _NOTHING | {
        "accuracy": accuracy,
        "accuracy_ci95": _interval(shares) if 0 < accuracy < 1 else _wilson(accuracy, len(right)),
        "correct_queries": int(right.sum()),
        "judged_queries": len(right),
        "mean_requests_per_query": float(over["requests"].mean()),
    }
    if usd_per_query is not None and accuracy > 0:
        found["cost_usd_per_correct_answer"] = usd_per_query / accuracy
        found["energy_j_per_correct_answer"] = None if energy is None else energy / accuracy
        if shares.min() > 0:
            found["cost_usd_per_correct_answer_ci95"] = _interval(usd_per_query / shares)
    if np.isfinite(worth).all() and usd_per_query is not None:
        gain = float((worth * right).sum())
        found["value_usd"] = gain
        found["net_benefit_usd"] = gain - usd_per_query * len(right)
        found["net_benefit_usd_per_query"] = gain / len(right) - usd_per_query
        found["net_benefit_usd_per_query_ci95"] = _interval(gains - usd_per_query)
    return found


def _over_in_window(record: RunRecord, queries: pd.DataFrame) -> int:
    """Queries that were over inside the window, answered or not: those who share its cost."""
    start, end = record.window_s
    done = queries["finish_s"].to_numpy(np.float64)
    return int(((done >= start) & ((done < end) | (end >= record.end_s))).sum())


def _resampled(seed: int, right: Floats, gain: Floats) -> tuple[Floats, Floats]:
    """Means of `right` and of `gain` over resamples of the queries, float64[RESAMPLES] each.

    Queries that are alike in both are drawn together: how often each kind turns up in a resample
    is multinomial.
    """
    kinds, counts = np.unique(
        np.column_stack([right, np.nan_to_num(gain)]), axis=0, return_counts=True
    )
    key = int.from_bytes(uniforms(seed, "bootstrap", "", 1).tobytes()[:16], "little")
    generator = np.random.Generator(np.random.Philox(key=key))
    drawn = generator.multinomial(len(right), counts / len(right), size=RESAMPLES)
    means = drawn @ kinds / len(right)
    return means[:, 0], means[:, 1]


def _wilson(share: float, count: int) -> list[float]:
    """Of all or none: a bootstrap of equal values says nothing of how many there were."""
    z2 = 1.96**2
    edge = z2 / (count + z2)
    return [1.0 - edge, 1.0] if share == 1.0 else [0.0, edge]


def _interval(values: Floats) -> list[float]:
    tail = 100 * (1 - _CONFIDENCE) / 2
    return [float(each) for each in np.percentile(values, (tail, 100 - tail))]
