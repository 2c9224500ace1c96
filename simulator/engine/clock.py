"""SimPy's environment, plus the moment after each event when nobody is in mid-sentence."""

from __future__ import annotations

from typing import Protocol

import simpy


class Settler(Protocol):
    """Something that may have to be taken further after an event."""

    def settle(self) -> None:
        """Called once after the event during which it was added to `Clock.unsettled`."""


class Clock(simpy.Environment):
    """A `simpy.Environment` that lets replicas settle after every event.

    A replica may run ahead up to the next event anywhere (`peek()`), but only once every callback
    of the current event has had its say: another request may be on its way to it. Replicas whose
    plans an event touched put themselves on `unsettled`, and `step` settles them when it is over.
    """

    def __init__(self, initial_time_s: float = 0.0) -> None:
        super().__init__(initial_time_s)
        self.unsettled: list[Settler] = []

    def step(self) -> None:
        """Process the next event, then settle what it touched. Raises as SimPy's does."""
        super().step()
        while self.unsettled:  # settling one may touch another
            touched = self.unsettled
            self.unsettled = []
            for settler in touched:
                settler.settle()
