"""Slowdown: how much longer a request took than it would have taken alone.

e2el / alone_s, the "slowdown" or "stretch" of scheduling theory (Harchol-Balter, "Performance
Modeling and Design of Computer Systems", 2013, chapter 28). 1 is an empty pool; a wait of a minute
weighs more on a request of a second than on one of an hour, which a mean latency does not show.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from simulator.metrics.prefill import IntArray

LENGTH_CLASSES = ("short", "medium", "long")


def length_classes(output_tokens: IntArray) -> tuple[IntArray, list[int]]:
    """Thirds of requests by output length: index into `LENGTH_CLASSES` of each, and upper limits.

    `output_tokens`: int64[n], n >= 1. Requests of equal length fall into the same class, the
    shorter one, so that classes may differ in size, or be empty.
    """
    count, ordered = len(output_tokens), np.sort(output_tokens)
    limits = [int(ordered[-(-count * third // 3) - 1]) for third in (1, 2, 3)]
    return np.asarray(np.searchsorted(limits[:2], output_tokens), np.int64), limits


def asked_output_tokens(requests: pd.DataFrame) -> IntArray:
    """Tokens each request would emit if it ran to its own end or its cap, int64[n].

    It depends on the workload alone, so two policies that see the same requests sort them alike.
    """
    wanted = (requests["thinking_tokens"] + requests["answer_tokens"]).to_numpy(np.int64)
    cap = requests["max_tokens"].to_numpy(np.int64)
    return np.asarray(np.where(cap > 0, np.minimum(wanted, cap), wanted), np.int64)


def slowdowns(requests: pd.DataFrame) -> np.ndarray:
    """e2el / alone_s of each request, float64[n]; NaN where it did not complete or is not known."""
    completed = (requests["status"] == "completed").to_numpy(bool)
    took_s = (requests["finish_s"] - requests["arrival_s"]).to_numpy(np.float64)
    alone = requests["alone_s"].to_numpy(np.float64)
    known = completed & (alone > 0)
    return np.asarray(np.divide(took_s, alone, out=np.full(len(alone), np.nan), where=known))


def slowdown_summary(measured: pd.DataFrame) -> dict[str, Any]:
    """Mean, 99th percentile and maximum over measured requests that completed, and by length.

    `slowdown_by_length`: the same for each of `LENGTH_CLASSES` that has requests, and the output
    tokens it goes up to, its `requests`, and the `count` of them that completed.
    """
    values = slowdowns(measured)
    by_length: dict[str, dict[str, Any]] = {}
    if len(measured):
        member, limits = length_classes(asked_output_tokens(measured))
        for index, name in enumerate(LENGTH_CLASSES):
            inside = member == index
            if inside.any():
                by_length[name] = {
                    "max_output_tokens": limits[index],
                    "requests": int(inside.sum()),
                    **_described(values[inside]),
                }
    return {
        **{f"{key}_slowdown": each for key, each in _described(values).items() if key != "count"},
        "slowdown_by_length": by_length,
    }


def _described(values: np.ndarray) -> dict[str, Any]:
    known = values[~np.isnan(values)]
    if not len(known):
        return {"count": 0, "mean": None, "p99": None, "max": None}
    return {
        "count": len(known),
        "mean": float(known.mean()),
        "p99": float(np.percentile(known, 99)),
        "max": float(known.max()),
    }
