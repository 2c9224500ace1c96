"""Fairness between clients: Jain's index, and how far service drifts apart under backlog."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from simulator.cost.terms import FloatArray
from simulator.metrics.record import RunRecord
from simulator.metrics.service import cumulative, flows, received

_CELLS = 512  # stretches of the window in which backlog and service are compared
_MOST_CLIENTS = 8  # of a replica, that are compared in pairs


def jain(values: np.ndarray) -> float | None:
    """Jain's index of fairness, (sum x)^2 / (n sum x^2): 1 if all are equal, 1/n if one has all.

    `values` float64[n], non-negative; NaNs are left out. None if nothing is left, or all are 0.
    Source: Jain, Chiu and Hawe, DEC-TR-301, 1984.
    """
    x = np.asarray(values, np.float64)
    x = x[~np.isnan(x)]
    squares = float(x @ x)
    return float(x.sum()) ** 2 / (len(x) * squares) if squares else None


def service_of_clients(record: RunRecord) -> FloatArray:
    """Weighted tokens that each client with demand received inside the window.

    Demand: a request of it was waiting or running on a replica at some time of the window. Float64,
    one entry per such client, in order of their first request.
    """
    start, end = record.window_s
    requests = record.requests[(record.requests["replica"] >= 0).to_numpy(bool)]
    client = _codes(requests["client"])
    left = requests["finish_s"].fillna(np.inf).to_numpy(np.float64)
    wanting = (requests["arrival_s"].to_numpy(np.float64) < end) & (left > start)
    streams = flows(requests, record.end_s)
    count = int(client.max(initial=-1)) + 1
    tokens = np.bincount(client[streams.row], received(streams, start, end), count)
    return np.asarray(tokens[np.bincount(client[wanting], minlength=count) > 0], np.float64)


def mean_tta_of_clients(record: RunRecord, queries: pd.DataFrame) -> FloatArray:
    """Mean time to answer of each client's measured queries that have one, seconds."""
    rows = queries[queries["measured"].to_numpy(bool) & queries["tta_s"].notna().to_numpy(bool)]
    if "client" in rows:
        client = _codes(rows["client"])
    else:
        client = _codes(record.requests["client"].iloc[rows["query_id"].to_numpy(np.int64)])
    counts = np.bincount(client)
    total = np.bincount(client, rows["tta_s"].to_numpy(np.float64))
    return np.asarray(total[counts > 0] / counts[counts > 0])


def max_service_gap_tokens(record: RunRecord) -> float | None:
    """Most by which the service of two clients differed while both had requests waiting.

    The largest |W_f(t1, t2) - W_g(t1, t2)| in weighted tokens over pairs of clients f, g of one
    replica and stretches [t1, t2) of the window throughout which both were backlogged: what VTC
    bounds by 2 max(w_in x longest prompt, w_out x tokens of a batch) (arXiv 2401.00588). A client
    is backlogged while a request of it has arrived and was never scheduled; the window is cut into
    512 cells, of which those count that are backlogged from end to end. None where no two clients
    ever were. Of more than 8 clients of a replica, those whose requests waited longest count.
    """
    start, end = record.window_s
    if not end > start:
        return None
    edges = np.linspace(start, end, _CELLS + 1)
    requests = record.requests[(record.requests["replica"] >= 0).to_numpy(bool)]
    client, replica = _codes(requests["client"]), requests["replica"].to_numpy(np.int64)
    arrival = requests["arrival_s"].to_numpy(np.float64)
    scheduled = requests["first_scheduled_s"].fillna(requests["finish_s"]).fillna(record.end_s)
    waited_to = scheduled.to_numpy(np.float64)
    waits = np.maximum(np.minimum(waited_to, end) - np.maximum(arrival, start), 0.0)
    streams = flows(requests, record.end_s)
    gaps = []
    for rows in _groups(replica):
        covered, served = [], []
        for own in _longest_waiting(rows, client, waits, edges[1] - edges[0]):
            cells = covered_cells(arrival[own], waited_to[own], edges)
            if cells.any():
                covered.append(cells)
                served.append(cumulative(streams.of(own), edges))
        for f, g in combinations(range(len(covered)), 2):
            gaps.append(largest_swing(served[f] - served[g], covered[f] & covered[g]))
    return max((gap for gap in gaps if gap is not None), default=None)


def covered_cells(start_s: FloatArray, end_s: FloatArray, edges_s: FloatArray) -> np.ndarray:
    """Which cells between neighbouring edges lie whole in the union of [start, end), bool[cells].

    `start_s`, `end_s`: float64[n], in any order.
    """
    order = np.argsort(start_s, kind="stable")
    begin, reach = start_s[order], np.maximum.accumulate(end_s[order])
    first = np.r_[True, begin[1:] > reach[:-1]]  # where the union has a hole before it
    begin, reach = begin[first], reach[np.r_[first[1:], True]]
    piece = np.searchsorted(begin, edges_s[:-1], side="right") - 1
    return np.asarray((piece >= 0) & (reach[piece] >= edges_s[1:]))


def largest_swing(difference: FloatArray, cells: np.ndarray) -> float | None:
    """Largest minus smallest value within one run of cells, over all runs; None without any.

    `difference`: float64[cells + 1], at the edges of the cells; `cells`: bool, those that count.
    """
    steps = np.diff(np.r_[False, cells, False].astype(np.int64))
    runs = np.stack((np.flatnonzero(steps == 1), np.flatnonzero(steps == -1) + 1), axis=1)
    if not len(runs):
        return None
    padded = np.append(difference, difference[-1])  # a run may end with the last edge
    high = np.maximum.reduceat(padded, runs.ravel())[::2]
    low = np.minimum.reduceat(padded, runs.ravel())[::2]
    return float((high - low).max())


def fairness_summary(record: RunRecord, queries: pd.DataFrame) -> dict[str, Any]:
    """Number of clients with demand and, where there are several, how evenly they were served."""
    service = service_of_clients(record)
    several = len(service) > 1
    return {
        "num_clients": len(service),
        "jain_service": jain(service) if several else None,
        "jain_mean_tta": jain(mean_tta_of_clients(record, queries)) if several else None,
        "max_service_gap_tokens": max_service_gap_tokens(record) if several else None,
    }


def _longest_waiting(
    rows: np.ndarray, client: np.ndarray, waits: FloatArray, least_s: float
) -> list[np.ndarray]:
    """Rows of each of the clients whose requests waited longest, together at least `least_s`."""
    _, own = np.unique(client[rows], return_inverse=True)
    waited = np.bincount(own, waits[rows])
    longest = np.argsort(-waited, kind="stable")[:_MOST_CLIENTS]
    return [rows[own == each] for each in longest if waited[each] >= least_s]


def _codes(names: pd.Series) -> np.ndarray:
    """Clients as numbers from 0, by first appearance."""
    return np.asarray(pd.factorize(names)[0], dtype=np.int64)


def _groups(keys: np.ndarray) -> list[np.ndarray]:
    """Rows of each distinct key, keys ascending, rows in order."""
    if not len(keys):
        return []
    order = np.argsort(keys, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(keys[order])) + 1)
