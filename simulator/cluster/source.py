"""Who sends requests: a schedule of arrival times, or clients who wait for their answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import simpy

from workloads.batch import ClosedLoop, Sessions


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


class SessionSource:
    """Sends requests at their times, or after a pause when the request before them is answered.

    Calls `submit(i)` for request i, after writing into `arrival_s[i]` (seconds) when that is for a
    request that waited; what would follow a refused request is never sent. Tell it of answers by
    `answered`.
    """

    def __init__(
        self,
        env: simpy.Environment,
        arrival_s: np.ndarray,
        sessions: Sessions,
        submit: Callable[[int], object],
    ) -> None:
        self.env = env
        self._arrival_s = arrival_s
        self._submit = submit
        self._pause_s: list[float] = sessions.pause_s.tolist()
        # The requests that wait for request i are followers[start[i]:start[i + 1]].
        waiting = np.flatnonzero(sessions.after >= 0)
        by_leader = np.argsort(sessions.after[waiting], kind="stable")
        self._followers: list[int] = waiting[by_leader].tolist()
        leaders = sessions.after[waiting][by_leader]
        self._start: list[int] = np.searchsorted(leaders, np.arange(len(arrival_s) + 1)).tolist()
        opening = np.flatnonzero(sessions.after < 0)
        rows: list[int] = opening.tolist()
        Source(env, arrival_s[opening], lambda k: submit(rows[k]))

    def answered(self, ids: Sequence[int], times_s: Sequence[float]) -> None:
        """Requests `ids` have been answered at these times (now or in the near future, seconds)."""
        for i, time_s in zip(ids, times_s, strict=True):
            for follower in self._followers[self._start[i] : self._start[i + 1]]:
                self._let_go(follower, time_s + self._pause_s[follower])

    def _let_go(self, i: int, due_s: float) -> None:
        self._arrival_s[i] = due_s
        if due_s > self.env.now:
            self.env.timeout(due_s - self.env.now).callbacks.append(lambda _: self._fire(i))
        else:
            self._fire(i)

    def _fire(self, i: int) -> None:
        self._submit(i)


class ClosedLoopSource:
    """A fixed number of clients, each sending the next request when its last one is over.

    Calls `submit(i)` for request i = 0, 1, 2 ..., after writing when into `arrival_s[i]` (seconds);
    `submit` says whether the request was accepted, and a refused one counts as answered at once.
    Tell it of answers by `answered`.
    """

    def __init__(
        self,
        env: simpy.Environment,
        arrival_s: np.ndarray,
        loop: ClosedLoop,
        submit: Callable[[int], bool],
    ) -> None:
        self.env = env
        self.submitted = 0
        self._arrival_s = arrival_s
        self._pause_s: list[float] = loop.pause_s.tolist()
        self._submit = submit
        self._answers = 0
        self._last_s = 0.0
        env.timeout(0.0).callbacks.append(lambda _: self._start(loop.concurrency))

    @property
    def exhausted(self) -> bool:
        """Whether the last request has been sent: nobody waits for answers any more."""
        return self.submitted == len(self._arrival_s)

    def answered(self, ids: Sequence[int], times_s: Sequence[float]) -> None:
        """Requests have been answered at these times (now or in the near future, seconds)."""
        for time_s in times_s:
            if not self.exhausted:
                self._let_go(time_s)

    def _start(self, clients: int) -> None:
        for _ in range(clients):
            self._send(self.env.now)

    def _let_go(self, answer_s: float) -> None:
        """The client answered then pauses, and sends the next request."""
        due_s = answer_s + self._next_pause_s()
        if due_s > self.env.now:
            event = self.env.timeout(due_s - self.env.now, value=due_s)
            event.callbacks.append(lambda event: self._send(event.value))
        else:
            self._send(due_s)

    def _next_pause_s(self) -> float:
        pause_s = self._pause_s[self._answers]
        self._answers += 1
        return pause_s

    def _send(self, due_s: float) -> None:
        while not self.exhausted:
            i = self.submitted
            self.submitted += 1
            # An answer is heard of a rounding error late, so another client may have been faster.
            self._last_s = max(self._last_s, due_s)
            self._arrival_s[i] = self._last_s
            if self._submit(i):
                return
            if self._pause_s[self._answers] > 0.0:
                self._let_go(self._last_s)
                return
            self._next_pause_s()
