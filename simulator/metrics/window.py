"""Which requests and which stretch of time a run is judged by."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Window:
    """The measuring window: `[start_s, end_s)` in simulated seconds, end infinite if open.

    `measured` (bool[n]) marks the requests that arrive in it.
    """

    start_s: float
    end_s: float
    measured: np.ndarray

    @property
    def marks_s(self) -> tuple[float, ...]:
        """Times at which the engine's counters must be noted; an open end is the run's end."""
        return (self.start_s,) if math.isinf(self.end_s) else (self.start_s, self.end_s)

    def last_arrival_s(self, arrival_s: np.ndarray) -> float:
        """The window's end or, if it is open, the last arrival."""
        return self.end_s if math.isfinite(self.end_s) else float(arrival_s[-1])


def by_seconds(arrival_s: np.ndarray, warmup_s: float, window_s: float | None) -> Window:
    """The window of `window_s` seconds (None: to the end) after `warmup_s` seconds."""
    end_s = math.inf if window_s is None else warmup_s + window_s
    return Window(warmup_s, end_s, (arrival_s >= warmup_s) & (arrival_s < end_s))


def by_requests(arrival_s: np.ndarray, warmup: int, window: int | None) -> Window:
    """The window of `window` requests (None: all others) after the first `warmup` ones.

    It starts when its first request arrives and ends when the first one after it does.
    """
    n = len(arrival_s)
    last = n if window is None else min(warmup + window, n)
    measured = np.zeros(n, dtype=bool)
    measured[warmup:last] = True
    start_s = float(arrival_s[min(warmup, n - 1)])
    return Window(start_s, float(arrival_s[last]) if last < n else math.inf, measured)
