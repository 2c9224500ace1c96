"""Reviews by time: who is to be asked about, and when."""

from __future__ import annotations

import heapq
import math

import numpy as np

from simulator.engine.request import RUNNING, WAITING


class Alarms:
    """Times at which a scheduler is to be asked about requests of one replica.

    A request has one alarm at most, in `review_s` of its row. One that was set while it waited
    lapses when it gets a seat, and the other way round.
    """

    def __init__(self, requests: np.ndarray) -> None:
        self._status, self._review_s = requests["status"], requests["review_s"]
        self._heap: list[tuple[float, int, bool]] = []  # time, request, whether it ran

    def set(self, i: int, time_s: float, runs: bool) -> None:
        """Set the alarm of request i, which waits (or comes) or runs."""
        self._review_s[i] = time_s
        if time_s < math.inf:
            heapq.heappush(self._heap, (time_s, i, runs))

    def set_all(self, ids: np.ndarray, times_s: np.ndarray) -> None:
        """Set the alarms of requests `ids` (int64[k]), each as it is now, waiting or running."""
        runs = (self._status[ids] == RUNNING).tolist()
        for i, time_s, runs_now in zip(ids.tolist(), times_s.tolist(), runs, strict=True):
            self.set(i, time_s, runs_now)

    def next_s(self) -> float:
        """The earliest time that is still awaited; infinite if there is none."""
        heap = self._heap
        while heap and not self._stands(*heap[0]):
            heapq.heappop(heap)
        return heap[0][0] if heap else math.inf

    def ring(self, until_s: float) -> tuple[np.ndarray, np.ndarray]:
        """Requests whose time has come, waiting and running ones, in order of rows; int64[k]."""
        due: tuple[list[int], list[int]] = ([], [])
        while self._heap and self._heap[0][0] <= until_s:
            time_s, i, runs = heapq.heappop(self._heap)
            if self._stands(time_s, i, runs):
                self._review_s[i] = math.inf  # so that it is found once
                due[runs].append(i)
        waiting, running = (np.array(sorted(ids), dtype=np.int64) for ids in due)
        return waiting, running

    def _stands(self, time_s: float, i: int, runs: bool) -> bool:
        status = self._status.item(i)
        there = status == RUNNING if runs else status <= WAITING  # it may be about to join
        return bool(there and self._review_s.item(i) == time_s)
