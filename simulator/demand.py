"""What sessions ask of a pool in the long run, whenever their turns come.

A turn comes when the one before it has been answered. So a run that has just begun sees few of the
later turns, and a slow pool sees them late: the requests that arrive in the window are not what is
asked for. What is asked for are the sessions that *start* in it, with all that they will bring.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from simulator.metrics.window import Window
from workloads.batch import RequestBatch

MIN_SHARE = 0.2  # of requests that wait for others; with fewer, what arrives tells enough


def last_start_s(batch: RequestBatch) -> float:
    """When the last request arrives that waits for no other, seconds."""
    if batch.sessions is None or batch.closed_loop is not None:
        return float(batch.arrival_s[-1])
    return float(batch.arrival_s[batch.sessions.after < 0].max())


def demand_rps(batch: RequestBatch, servable: NDArray[np.bool_], window: Window) -> float | None:
    """Requests per second that the queries and sessions starting in the window will bring.

    Each start counts as many requests as those of its class bring on average over the whole batch;
    `servable`: bool[n], those that are not too long for every pool. None where few requests wait
    for others, and where nothing starts any more before the window ends: nothing is then asked for
    in the long run, and what arrives is all there is.
    """
    if batch.sessions is None or not math.isfinite(window.end_s):
        return None
    waits = batch.sessions.after >= 0
    if waits.mean() < MIN_SHARE or last_start_s(batch) < window.end_s:
        return None
    starts = ~waits
    requests = np.bincount(batch.class_id[servable], minlength=len(batch.class_names))
    begun = np.bincount(batch.class_id[starts], minlength=len(batch.class_names))
    mean_requests = requests / np.maximum(begun, 1)
    inside = starts & (batch.arrival_s >= window.start_s) & (batch.arrival_s < window.end_s)
    return float(mean_requests[batch.class_id[inside]].sum() / (window.end_s - window.start_s))
