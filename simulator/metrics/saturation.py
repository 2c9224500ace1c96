"""Can the pool carry the load, or does its queue grow without end?

Latencies of an overloaded pool measure how long the run was, nothing else, so a result says so
first. The evidence is the queue itself: the number of waiting requests, summed over replicas, is
averaged over 20 slices of the window and regressed on time. A queue wanders even when the pool
keeps up, so three things guard the verdict:

- slice means instead of single readings, and the standard error of the slope widened for what
  correlation remains between neighbouring slices (see `simulator.metrics.intervals`);
- a one-sided t test at the 1 % level;
- a growth that matters: at least 2 % of the requests that arrived meanwhile, and 5 requests. A pool
  asked for 1.05 times what it can do leaves 5 % of them behind.

Measured on M/M/1 and M/G/64 queues with 1,000 arrivals: no false alarm at load 0.7, 1 to 2 % at
0.9, 6 % at 0.95; 72 to 83 % detected at load 1.1, 97 % at 1.2, all at 1.5. Growth that matters but
passes only the 5 % level is neither: the verdict is UNKNOWN, and the remedy a longer window.
A load that passes the estimated capacity is itself evidence; then growth of the number of requests
in the pool, waiting or running, at the 5 % level is enough, since seats fill before a queue forms.
Of several pools each is also judged by its own queue and arrivals, at a level divided by their
number: one of them may drown while the others have room.
Sessions throttle themselves, as their turns wait for answers: their load is what they bring in the
long run, and more than the capacity is an overload without any queue.
Admission control keeps queues short by turning requests away: a material share of them turned away
at a load above the capacity is an overload too, whatever the queue does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from simulator.metrics.intervals import BATCHES, autocorrelation_factor, batch_bounds
from simulator.metrics.load import (
    accepted,
    arrival_span,
    arriving,
    offered_rps,
    pool_timeline,
    turned_away,
)
from simulator.metrics.record import RunRecord

MIN_ARRIVALS = 50
MATERIAL_SHARE = 0.02
MATERIAL_REQUESTS = 5.0
_SURE, _LIKELY = 0.01, 0.05  # levels of the one-sided tests

Verdict = Literal["OK", "OVERLOADED", "UNKNOWN"]


@dataclass(frozen=True)
class Growth:
    """Trend of a count over a stretch of time.

    `total` is the fitted growth over the whole stretch, `p_value` the one-sided probability of a
    slope at least so steep if there were none.
    """

    total: float
    p_value: float


@dataclass(frozen=True)
class Saturation:
    """The verdict with its reason in one sentence; loads are None where they are not known."""

    verdict: Verdict
    reason: str
    offered_rps: float | None
    capacity_rps: float | None
    offered_load: float | None
    queue_growth: float | None


def growth(times_s: np.ndarray, counts: np.ndarray) -> Growth:
    """Regress `counts` on time by ordinary least squares over the means of 20 slices.

    Both arrays float64 `[n]`, n >= 20, in order of time on a regular grid.
    """
    from scipy.special import stdtr

    bounds = batch_bounds(len(times_s))
    sizes = np.diff(bounds)
    y = np.add.reduceat(counts, bounds[:-1]) / sizes
    x = np.add.reduceat(times_s, bounds[:-1]) / sizes
    dx, dy = x - x.mean(), y - y.mean()
    slope = float(dx @ dy / (dx @ dx))
    total = slope * float(times_s[-1] - times_s[0])
    residuals = dy - slope * dx
    variance = float(residuals @ residuals) / (BATCHES - 2) / float(dx @ dx)
    error = float(np.sqrt(variance * autocorrelation_factor(residuals)))
    if error <= 1e-12 * abs(slope):
        return Growth(total, 0.0 if slope > 0 else 1.0)
    return Growth(total, 1.0 - float(stdtr(BATCHES - 2, slope / error)))


def saturation(record: RunRecord) -> Saturation:
    """Judge a run by its offered load and the growth of its queue through the window."""
    offered, capacity = offered_rps(record), record.capacity_rps
    load = offered / capacity if offered is not None and capacity else None

    arrivals, turned = accepted(record), turned_away(record)
    shed = turned >= _material(arrivals + turned)
    rejected = _rejections(turned, arrivals + turned)

    def judged(verdict: Verdict, reason: str, grown: float | None = None) -> Saturation:
        return Saturation(verdict, f"{reason}{rejected}", offered, capacity, load, grown)

    whole = "pool" if len(record.pools) == 1 else "cluster"
    if record.closed_loop:
        reason = (
            f"clients of a closed loop wait for their answers: they cannot overload the {whole}."
        )
        return Saturation("OK", f"{reason}{rejected}", None, capacity, None, None)
    start, end = arrival_span(record)
    beyond = f"the offered load is {load:.2f} x the estimated capacity" if load is not None else ""
    if arrivals < MIN_ARRIVALS:
        if shed and load is not None and load > 1 and arrivals + turned >= MIN_ARRIVALS:
            return judged("OVERLOADED", f"{beyond}.")
        what = "no measured request" if arrivals == 0 else f"only {arrivals} measured requests"
        return judged("UNKNOWN", f"{what} got in; {MIN_ARRIVALS} are needed to judge.")
    if offered is None:
        return judged("UNKNOWN", "all requests arrived at once, so there is no rate to judge.")
    pool = pool_timeline(record.timeline)
    pool = pool[(pool["t_s"] >= start) & (pool["t_s"] < end)]
    if len(pool) < BATCHES:
        return judged(
            "UNKNOWN",
            f"only {len(pool)} readings of the queue while requests arrived; {BATCHES} are needed.",
        )
    times = pool["t_s"].to_numpy(np.float64)
    waiting = pool["waiting"].to_numpy(np.float64)
    queue = growth(times, waiting)
    material = _material(arrivals)
    if len(record.pools) > 1:
        drowning = _drowning_pool(record, start, end)
        if drowning is not None:
            return judged("OVERLOADED", drowning, queue.total)
    if queue.total >= material and queue.p_value < _SURE:
        share = 100 * queue.total / arrivals
        reason = (
            f"the queue grew by {queue.total:.0f} requests through the window, "
            f"{share:.0f} % of those that arrived"
        )
        return judged("OVERLOADED", f"{reason}; {beyond}." if beyond else f"{reason}.", queue.total)
    if load is not None and load > 1:
        inside = growth(times, waiting + pool["running"].to_numpy(np.float64))
        if inside.total >= material and inside.p_value < _LIKELY:
            reason = (
                f"{beyond}, and the requests in the {whole} grew by {inside.total:.0f} "
                "through the window, though few of them queue yet."
            )
            return judged("OVERLOADED", reason, queue.total)
    if shed and load is not None and load > 1:
        reason = f"{beyond}; the queue stays short as admission control lets so few in."
        return judged("OVERLOADED", reason, queue.total)
    if queue.total >= material and queue.p_value < _LIKELY:
        reason = (
            f"the queue grew by {queue.total:.0f} requests through the window, which may still be "
            "chance; a longer window will tell."
        )
        return judged("UNKNOWN", reason, queue.total)
    if record.demand_rps is not None and load is not None and load > 1:
        reason = (
            f"{beyond}; as turns wait for answers, sessions do not queue, but take ever longer."
        )
        return judged("OVERLOADED", reason, queue.total)
    reason = "the queue shows no steady growth through the window"
    if load is not None and load > 1:
        reason += f", although {beyond}"
    return judged("OK", f"{reason}.", queue.total)


def _drowning_pool(record: RunRecord, start: float, end: float) -> str | None:
    """Why the pool whose queue grew most is overloaded; None if none surely is.

    As for the whole cluster, with the pool's own requests, and a level that makes up for looking at
    several pools.
    """
    found: list[tuple[float, str]] = []
    arrived = arriving(record)
    timeline = record.timeline
    timeline = timeline[(timeline["t_s"] >= start) & (timeline["t_s"] < end)]
    for pool in record.pools:
        count = int((arrived["pool"] == pool.name).sum())
        own = pool_timeline(timeline[timeline["pool"] == pool.name])
        if count < MIN_ARRIVALS:
            continue
        queue = growth(own["t_s"].to_numpy(np.float64), own["waiting"].to_numpy(np.float64))
        if queue.total >= _material(count) and queue.p_value < _SURE / len(record.pools):
            share = 100 * queue.total / count
            reason = (
                f"the queue of pool {pool.name} grew by {queue.total:.0f} requests through the"
                f" window, {share:.0f} % of those that it got."
            )
            found.append((queue.total, reason))
    return max(found, default=(0.0, None))[1]


def _rejections(turned: int, sent: int) -> str:
    """A sentence on how many admission control turned away, if any, with a space before it."""
    if not turned:
        return ""
    return f" Admission control rejected {turned:,} of {sent:,} requests ({turned / sent:.0%})."


def _material(arrivals: int) -> float:
    """Growth of a queue, in requests, that matters where so many arrived."""
    return max(MATERIAL_SHARE * arrivals, MATERIAL_REQUESTS)
