"""A query in the run: what its strategy can send, wait for, and take back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import simpy

from simulator.quality import NOBODY
from simulator.strategies.calls import Call


class Request(simpy.Event):
    """A request that a query has sent. As an event it happens when the request is over.

    `completed`: whether it got its last token; otherwise it was refused or cancelled. `answer`: the
    id of what it says, `NOBODY` if nothing, or while it is under way. `score`: what it says of
    another one's answer, if it is a verifier's. `finish_s`: when its last token came (seconds).
    """

    def __init__(self, env: simpy.Environment, row: int, call: Call) -> None:
        super().__init__(env)
        self.row = row
        self.call = call
        self.over = False
        self.completed = False
        self.finish_s = math.nan
        self.answer = NOBODY
        self.score = math.nan


class Port(Protocol):
    """The other side of a query: who hands its requests to the cluster."""

    @property
    def env(self) -> simpy.Environment:
        """The clock."""

    def row(self, query: int, call: Call) -> int:
        """Row of the request, -1 if the query has none."""

    def send(self, request: Request, query: Query) -> None:
        """Hand a request to the cluster."""

    def cancel(self, request: Request) -> None:
        """Take a request back."""


class Query:
    """What a strategy's process sees of its query.

    place: its row in the columns of the draft. now_s: the time, in seconds.
    """

    __slots__ = ("_index", "_port", "now_s", "place")

    def __init__(self, port: Port, index: int, place: int, now_s: float) -> None:
        self._port = port
        self._index = index
        self.place = place
        self.now_s = now_s

    def has(self, call: Call) -> bool:
        """Whether `call` was planned for this query."""
        return self._port.row(self._index, call) >= 0

    def send(self, call: Call) -> Request:
        """Send the request that was planned as `call`; each at most once."""
        port = self._port
        request = Request(port.env, port.row(self._index, call), call)
        port.send(request, self)
        return request

    def send_all(self, calls: Sequence[Call]) -> list[Request]:
        """Send those of `calls` that the query has, all at once."""
        return [self.send(call) for call in calls if self.has(call)]

    def cancel(self, requests: Sequence[Request] | Request) -> None:
        """Take back those that are not over; they leave at the end of the iteration under way.

        One that gets its last token in that very iteration has been answered all the same.
        """
        for request in [requests] if isinstance(requests, Request) else requests:
            if not request.over:
                self._port.cancel(request)

    def all(self, events: Sequence[simpy.Event]) -> simpy.Event:
        """Happens when all of `events` have: when these requests are over, or pauses."""
        return self.some(events, len(events))

    def some(self, events: Sequence[simpy.Event], count: int) -> simpy.Event:
        """Happens when `count` of `events` have. Raises ValueError if there are fewer."""
        if count > len(events):
            raise ValueError(f"waits for {count} of {len(events)} events")
        return _Countdown(self._port.env, events, count)

    def pause(self, seconds: float) -> simpy.Event:
        """Happens so many seconds from now: a tool is working, a user is reading.

        Raises ValueError if that is negative or for ever.
        """
        if not 0.0 <= seconds < math.inf:
            raise ValueError(f"pauses for {seconds} s")
        event = simpy.Event(self._port.env)
        if seconds == 0.0:
            happen(event)
            return event
        due_s = self.now_s + seconds

        def wake(_: simpy.Event) -> None:
            self.now_s = due_s
            happen(event)

        timer = self._port.env.timeout(max(due_s - self._port.env.now, 0.0))
        assert timer.callbacks is not None
        timer.callbacks.append(wake)
        return event


class _Countdown(simpy.Event):
    """Happens with the `count`-th of some events."""

    def __init__(self, env: simpy.Environment, events: Sequence[simpy.Event], count: int) -> None:
        super().__init__(env)
        self._left = count - sum(event.processed for event in events)
        if self._left <= 0:
            happen(self)
            return
        for event in events:
            if event.callbacks is not None:
                event.callbacks.append(self._one)

    def _one(self, _: simpy.Event) -> None:
        self._left -= 1
        if self._left == 0:
            happen(self)


def happen(event: simpy.Event) -> None:
    """Let `event` happen now, not when the clock next comes round.

    A replica decides its next iteration as soon as it has told of the requests that finished, so
    what follows from these must have been sent by then.
    """
    event._ok, event._value = True, None
    callbacks, event.callbacks = event.callbacks, None  # type: ignore[assignment]
    for callback in callbacks or ():
        callback(event)
