"""Open-loop traffic: requests with known arrival times, submitted when their time comes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import simpy


class Source:
    """Calls `submit(i)` at `arrival_s[i]` (non-decreasing, seconds) for every request i.

    One pending Timeout in all. It is renewed *before* the requests are submitted, so that a replica
    sees the next arrival as the end of what it may safely run ahead to.
    """

    def __init__(
        self, env: simpy.Environment, arrival_s: np.ndarray, submit: Callable[[int], object]
    ) -> None:
        self.env = env
        self.submitted = 0
        self._times: list[float] = arrival_s.tolist()
        self._submit = submit
        self._schedule()

    def _schedule(self) -> None:
        if self.submitted < len(self._times):
            delay_s = max(self._times[self.submitted] - self.env.now, 0.0)
            self.env.timeout(delay_s).callbacks.append(self._fire)

    def _fire(self, _: simpy.Event) -> None:
        times = self._times
        first = self.submitted
        last = first + 1
        while last < len(times) and times[last] == times[first]:
            last += 1
        self.submitted = last
        self._schedule()
        for i in range(first, last):
            self._submit(i)
