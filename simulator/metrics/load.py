"""How much was asked of the pools and how much they carried, over time."""

from __future__ import annotations

import numpy as np
import pandas as pd

from simulator.engine.refusal import is_too_long
from simulator.metrics.record import RunRecord

# Arrivals are taken to go on to the end of the window unless silence before it is this many times
# the mean gap, which under Poisson arrivals happens by chance in one window of 150.
_SILENCE_GAPS = 5.0


def pool_timeline(timeline: pd.DataFrame) -> pd.DataFrame:
    """The timeline summed over its replicas, one row per grid time.

    Counts are summed; `kv_used_frac` is the mean over replicas, `kv_used_frac_max` the fullest.
    """
    names = ("t_s", "pool", "replica", "kv_used_frac")
    counts = [column for column in timeline.columns if column not in names]
    groups = timeline.groupby("t_s", sort=True)
    total = groups[counts].sum()
    total["kv_used_frac"] = groups["kv_used_frac"].mean()
    total["kv_used_frac_max"] = groups["kv_used_frac"].max()
    return total.reset_index()


def arrival_span(record: RunRecord) -> tuple[float, float]:
    """The part of the window in which requests kept arriving, `[start, end)` in seconds.

    A run that measures everything ends long after the last arrival; the tail would make the
    offered load look lower, and a queue that grew and then drained look flat.
    """
    start, end = record.window_s
    arrivals = arriving(record)["arrival_s"].to_numpy(np.float64)
    if not len(arrivals):
        return start, end
    last = float(arrivals.max())
    later = record.requests["arrival_s"].to_numpy(np.float64).max() >= end
    mean_gap = (last - start) / len(arrivals)
    if later or end - last <= _SILENCE_GAPS * mean_gap:
        return start, end
    return start, last


def offered_rps(record: RunRecord) -> float | None:
    """Requests per second that the pools are asked for: all that are sent, served or not.

    Those that arrived in the window while any kept arriving, what admission control turned away
    among them; where turns wait for answers, what the sessions that start in it bring in the long
    run (`simulator.demand`). Requests too long for every pool are no load. None if all came at
    once, or were too long.
    """
    arriving = arriving_rps(record)
    if arriving is None or record.demand_rps is None:
        return arriving
    return record.demand_rps


def arriving_rps(record: RunRecord) -> float | None:
    """Requests per second that arrived in the window while they kept arriving.

    None if they all came at once, or if all were too long for every pool.
    """
    start, end = arrival_span(record)
    count = accepted(record) + turned_away(record)
    return count / (end - start) if count and end > start else None


def accepted(record: RunRecord) -> int:
    """Requests that arrived in the window and were not rejected."""
    return int((arriving(record)["status"] != "rejected").sum())


def turned_away(record: RunRecord) -> int:
    """Requests that arrived in the window and were rejected, although a pool could serve them."""
    here = arriving(record)
    reasons = here.loc[(here["status"] == "rejected").to_numpy(bool), "reason"]
    return sum(not is_too_long(reason) for reason in reasons)


def arriving(record: RunRecord) -> pd.DataFrame:
    """The requests that arrived in the window, whatever query they belong to.

    Where each request is a query these are the measured ones. Otherwise requests of a measured
    query may come after the window, and those of an earlier one in it.
    """
    if (record.requests["query_requests"] == 1).all():
        return record.measured
    start, end = record.window_s
    arrival = record.requests["arrival_s"].to_numpy(np.float64)
    return record.requests[(arrival >= start) & ((arrival < end) | (end >= record.end_s))]


def completed_in_window(record: RunRecord, table: pd.DataFrame) -> int:
    """Requests, or queries, completed inside the window: what a steady service serves.

    `table` is that of the requests or of the queries of `record`, whenever they arrived.
    """
    start, end = record.window_s
    finish = table["finish_s"].to_numpy(np.float64)
    inside = (finish >= start) & ((finish < end) | (end >= record.end_s))
    return int((inside & (table["status"].to_numpy() == "completed")).sum())


def max_concurrent_requests(record: RunRecord) -> int:
    """Most requests in all pools, waiting or running, at one moment of the window (exact).

    A request is inside from arrival up to, not including, its finish. Rejected ones never were;
    one that is unfinished stays to the end of the run.
    """
    start, end = record.window_s
    requests = record.requests[record.requests["status"] != "rejected"]
    arrival = requests["arrival_s"].to_numpy(np.float64)
    finish = requests["finish_s"].fillna(np.inf).to_numpy(np.float64)
    inside = (arrival < end) & (finish > start)
    if end <= start:  # a window without length: what was there at that moment
        inside = (arrival <= start) & (finish > start)
    arrival, finish = np.maximum(arrival[inside], start), finish[inside]
    times = np.concatenate([finish, arrival])
    steps = np.repeat([-1, 1], len(arrival))
    order = np.argsort(times, kind="stable")  # departures first among equals
    return int(np.cumsum(steps[order]).max(initial=0))


def max_output_tokens_per_s(record: RunRecord) -> float | None:
    """Highest output rate of all pools over any second of the window's grid; None if unknown.

    vLLM counts tokens in buckets of one second. Here the cumulative count of the timeline is read
    every second, or at its own interval where that is longer, which can only lower the peak.
    """
    start, end = record.window_s
    pool = pool_timeline(record.timeline)
    times = pool["t_s"].to_numpy(np.float64)
    tokens = pool["output_tokens"].to_numpy(np.float64)
    if len(times) < 2:
        return None
    step = max(1.0, float(np.diff(times).max()))
    first, last = max(start, times[0]), min(end, times[-1])
    edges = np.arange(first, last + step * 1e-9, step)
    if len(edges) < 2:
        return None
    return float(np.diff(np.interp(edges, times, tokens)).max() / step)
