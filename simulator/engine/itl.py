"""Inter-token latencies of every token, in a log-binned histogram filled a span at a time."""

from __future__ import annotations

import math

import numpy as np

from simulator.engine.jit import Array, Record, entry, kernel

BIN_WIDTH = 0.005  # in natural log: percentiles are exact to 0.5 %
MIN_S = 1e-5
MAX_S = 1e5
_LOG_MIN = math.log(MIN_S)
NUM_BINS = math.ceil((math.log(MAX_S) - _LOG_MIN) / BIN_WIDTH)

# Rows of the histogram: consecutive slices of the window, for confidence intervals by batch
# means, and one more for all other times.
SLICES = 24

EDGES_S = np.exp(_LOG_MIN + BIN_WIDTH * np.arange(NUM_BINS + 1))


@entry
def bin_of(gap_s: float) -> int:
    """Index of the bin that holds a gap; gaps outside [MIN_S, MAX_S) go to the end bins."""
    if gap_s <= MIN_S:
        return 0
    return min(int((math.log(gap_s) - _LOG_MIN) / BIN_WIDTH), NUM_BINS - 1)


@kernel
def slice_of(s: Record, itl: Array, t_s: float) -> int:
    """Row of the histogram for tokens given at time t: a slice of the window, or the last row."""
    slices = len(itl) - 1
    part = (t_s - s.itl_start_s) / s.itl_length_s if s.itl_length_s > 0.0 else -1.0
    if part < 0.0 or part >= 1.0:
        return slices
    return int(part * slices)


@kernel
def slice_end_s(s: Record, itl: Array, t_s: float) -> float:
    """When the slice that holds time t ends; infinite behind the window."""
    slices = len(itl) - 1
    if s.itl_length_s <= 0.0:
        return math.inf
    if t_s < s.itl_start_s:
        start_s: float = s.itl_start_s
        return start_s
    row = slice_of(s, itl, t_s)
    if row == slices:
        return math.inf
    end_s: float = s.itl_start_s + s.itl_length_s * (row + 1) / slices
    return end_s


@kernel
def add_gap(counts: Array, gap_s: float, weight: int) -> None:
    """Count `weight` gaps of `gap_s` seconds."""
    counts[bin_of(gap_s)] += weight


@kernel
def add_affine_gaps(counts: Array, a_s: float, b_s: float, k: int, weight: int) -> None:
    """Count `weight` gaps of each of a, a + b, ..., a + (k-1) b seconds (b >= 0), in O(bins hit).

    Bins are filled from the first to the last one hit; in each, the number of iterations whose
    duration lies below the bin's upper edge follows by one division.
    """
    first = bin_of(a_s)
    last = bin_of(a_s + b_s * (k - 1))
    done = 0
    for i in range(first, last):
        below = math.ceil((math.exp(_LOG_MIN + BIN_WIDTH * (i + 1)) - a_s) / b_s)
        below = min(max(below, done), k)
        counts[i] += weight * (below - done)
        done = below
    counts[last] += weight * (k - done)
