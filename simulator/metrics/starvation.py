"""Starvation: how long requests wait while others that came later are served."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from simulator.metrics.prefill import IntArray


@dataclass(frozen=True)
class Starvation:
    """How many measured requests were overtaken, and the longest wait among them in seconds.

    None: nobody was. First come, first served overtakes nobody.
    """

    overtaken: int
    longest_wait_s: float | None


def overtaken(replica: IntArray, arrival_s: np.ndarray, started_s: np.ndarray) -> np.ndarray:
    """Which requests were overtaken: on their replica one that arrived later started earlier.

    All [n], in any order; `started_s` is when each was first scheduled, infinite where it never
    was. Bool[n]. O(n log n): per replica in order of arrival, the earliest start among all later
    ones is a running minimum from the end. Requests of the same time are not later than each other.
    """
    order = np.lexsort((arrival_s, replica))
    where, came, start = replica[order], arrival_s[order], started_s[order]
    found = np.zeros(len(order), dtype=bool)
    if not len(order):
        return found
    edges = np.flatnonzero(np.r_[True, where[1:] != where[:-1], True])
    for low, high in pairwise(edges):
        earliest = np.append(np.minimum.accumulate(start[low:high][::-1])[::-1], np.inf)
        later = np.searchsorted(came[low:high], came[low:high], side="right")
        found[order[low:high]] = earliest[later] < start[low:high]
    return found


def starvation(requests: pd.DataFrame, end_s: float) -> Starvation:
    """Judge the measured ones of `requests`, by all that a replica took on.

    One that was never scheduled has waited until it left, or to `end_s`, the end of the run.
    """
    reached = requests[requests["status"] != "rejected"]
    arrival = reached["arrival_s"].to_numpy(np.float64)
    started = reached["first_scheduled_s"].to_numpy(np.float64)
    left = reached["finish_s"].fillna(end_s).to_numpy(np.float64)
    never = np.isnan(started)
    passed = overtaken(
        reached["replica"].to_numpy(np.int64), arrival, np.where(never, np.inf, started)
    )
    passed &= reached["measured"].to_numpy(bool)
    waits = np.where(never, left, started)[passed] - arrival[passed]
    return Starvation(int(passed.sum()), float(waits.max()) if len(waits) else None)


def starvation_summary(requests: pd.DataFrame, end_s: float) -> dict[str, Any]:
    """What `starvation` finds under the summary's names."""
    found = starvation(requests, end_s)
    return {
        "overtaken_requests": found.overtaken,
        "longest_overtaken_wait_s": found.longest_wait_s,
    }
