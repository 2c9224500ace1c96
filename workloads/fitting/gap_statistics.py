"""What gaps between arrivals are like: their variability, bunching, ties and the clock's tick."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LADDER_S: tuple[float, ...]
LADDER_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
LADDER_S = (*LADDER_S, 14_400, 43_200, 86_400, 604_800)  # hours, days, a week
LEAST_TICK_S = 1e-6
"""No clock ticks faster: what looks like one is the resolution of the numbers."""
_ON_GRID = 0.02  # a gap is a multiple of the tick if it is this close, in ticks
_RUN_ON = 0.05  # of the gaps above 0, if shorter than any clock's tick: gaps have no least length


def gap_cv(arrival_s: NDArray[np.float64]) -> float | None:
    """Standard deviation over mean of the gaps; None if there are fewer than 2 or all are 0."""
    gaps = np.diff(arrival_s)
    if len(gaps) < 2 or not gaps.any():
        return None
    return float(gaps.std() / gaps.mean())


def tie_share(arrival_s: NDArray[np.float64]) -> float:
    """Share of arrivals that come at the very time of the one before.

    0 where gaps run on down to the resolution of the numbers, as those of clumped traffic do (a
    tenth of gamma gaps of CV 3 are below a nanosecond): such times only round to the same number.
    """
    gaps = np.diff(arrival_s)
    apart = gaps[gaps > 0]
    if len(apart) == len(gaps):
        return 0.0
    if len(apart):
        short = min(LEAST_TICK_S / 2, 1e-3 * float(gaps.mean()))  # no chance at a high rate either
        if (apart < short).mean() >= _RUN_ON:
            return 0.0
    return 1.0 - len(apart) / len(gaps)


def tick_of(arrival_s: NDArray[np.float64]) -> float | None:
    """The tick of a clock that was read to write these times down, in seconds, at least 1e-6.

    None unless at least 98 % of the gaps between different times are whole multiples of it, within
    2 % of a tick. Times of several digits have one too: it says something only with many ties.
    """
    gaps = np.diff(np.unique(arrival_s))
    if len(gaps) < 3:
        return None
    tick = float(gaps.min())
    if tick < LEAST_TICK_S / 2:
        return None
    # a jittering clock makes its shortest gap a little short: ticks are counted, then averaged
    for _ in range(3):
        counts = np.maximum(np.rint(gaps / tick), 1)
        tick = float(gaps.sum() / counts.sum())
    near = np.abs(gaps / tick - np.rint(gaps / tick)) <= _ON_GRID
    if tick < (1 - _ON_GRID) * LEAST_TICK_S or near.mean() < 0.98:
        return None
    return max(tick, LEAST_TICK_S)


def dispersion(arrival_s: NDArray[np.float64], step_s: float) -> float | None:
    """Variance over mean of the counts in steps of `step_s`: 1 for a Poisson process of any rate.

    None with fewer than 8 whole steps.
    """
    start, span_s = arrival_s[0], float(arrival_s[-1] - arrival_s[0])
    steps = int(span_s / step_s)
    if not 8 <= steps <= 10_000_000:
        return None
    where = ((arrival_s - start) / step_s).astype(np.int64)
    counts = np.bincount(where[where < steps], minlength=steps)
    return float(counts.var() / counts.mean())


def sensible_step_s(arrival_s: NDArray[np.float64], *, count: float, steps: int) -> float:
    """The shortest round step with `count` arrivals in it on average, `steps` of them at most."""
    span_s = max(float(arrival_s[-1] - arrival_s[0]), 1e-9)
    rate = len(arrival_s) / span_s
    for step_s in LADDER_S:
        if rate * step_s >= count and span_s / step_s <= steps:
            return float(step_s)
    return float(max(span_s / steps, LADDER_S[-1]))


def rates_over_time(
    arrival_s: NDArray[np.float64], step_s: float, end_s: float
) -> NDArray[np.float64]:
    """Arrivals per second in each step from time 0 to `end_s`; the last one may be shorter."""
    steps = max(int(np.ceil(end_s / step_s - 1e-9)), 1)
    where = np.minimum((arrival_s / step_s).astype(np.int64), steps - 1)
    seconds = np.full(steps, step_s)
    seconds[-1] = end_s - (steps - 1) * step_s
    rates: NDArray[np.float64] = np.bincount(where, minlength=steps) / seconds
    return rates
