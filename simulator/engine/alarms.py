"""Reviews by time: who is to be asked about, and when."""

from __future__ import annotations

import heapq
import math

import numpy as np

from simulator.engine.request import NEW, RUNNING, WAITING


class Alarms:
    """Times at which a scheduler is to be asked about requests of one replica.

    A request has one alarm at most, in `review_s` of its row. One that was set while it waited
    lapses when it gets a seat, and the other way round.
    """

    def __init__(self, requests: np.ndarray) -> None:
        self._status, self._review_s = requests["status"], requests["review_s"]
        # By time: requests of which each still waits (or, in the second list, still runs).
        self._set: dict[float, tuple[list[int], list[int]]] = {}
        self._times_s: list[float] = []  # a heap

    def set(self, i: int, time_s: float, runs: bool) -> None:
        """Set the alarm of request i, which waits or runs."""
        self._review_s[i] = time_s
        if time_s < math.inf:
            if time_s not in self._set:
                self._set[time_s] = ([], [])
                heapq.heappush(self._times_s, time_s)
            self._set[time_s][runs].append(i)

    def set_all(self, ids: np.ndarray, times_s: np.ndarray) -> None:
        """Set the alarms of requests `ids` (int64[k]), each as it is now, waiting or running."""
        self._review_s[ids] = times_s
        runs = self._status[ids] == RUNNING
        for i, time_s, runs_now in zip(ids.tolist(), times_s.tolist(), runs.tolist(), strict=True):
            if time_s < math.inf:
                self.set(i, time_s, runs_now)

    def next_s(self) -> float:
        """The earliest time that is still awaited; infinite if there is none."""
        while self._times_s:
            time_s = self._times_s[0]
            for runs, ids in enumerate(self._set[time_s]):
                if any(self._awaits(i, time_s, bool(runs)) for i in ids):
                    return time_s
            heapq.heappop(self._times_s)
            del self._set[time_s]
        return math.inf

    def ring(self, until_s: float) -> tuple[np.ndarray, np.ndarray]:
        """Requests whose time has come, waiting and running ones, in order of rows; int64[k]."""
        due: tuple[list[int], list[int]] = ([], [])
        while self._times_s and self._times_s[0] <= until_s:
            time_s = heapq.heappop(self._times_s)
            for runs, ids in enumerate(self._set.pop(time_s)):
                for i in ids:
                    if self._awaits(i, time_s, bool(runs)):
                        self._review_s[i] = math.inf  # so that nobody is found twice
                        due[runs].append(i)
        waiting, running = (np.array(sorted(ids), dtype=np.int64) for ids in due)
        return waiting, running

    def _awaits(self, i: int, time_s: float, runs: bool) -> bool:
        status = self._status[i]  # NEW as it arrives
        there = status == RUNNING if runs else status in (WAITING, NEW)
        return bool(there and self._review_s[i] == time_s)
