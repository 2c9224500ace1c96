"""Many replicas run ahead in one call: the clock is for what happens between them.

Where nobody listens to completions, nothing that a replica does can matter to anybody before the
next event of the clock, which is an arrival or something else from outside. So replicas need no
events of their own: after each event, all of them run up to the next one.
"""

from __future__ import annotations

import math

import numpy as np

from simulator.engine.clock import Clock
from simulator.engine.jit import Array, entry
from simulator.engine.kernel import GO_ON, advance
from simulator.engine.replica import Replica

DONE, MORE = -1, -2

_SPANS_PER_CALL = 20_000  # so that a long run without arrivals comes up for air


@entry
def advance_due(
    req: Array, states: Array, wake_s: Array, horizon_s: float, spans: int, check: bool
) -> int:
    """Run every replica that is due before `horizon_s` (seconds) up to it.

    wake_s: float64[R], when each must next be called, renewed here. At most about `spans` spans are
    begun. Returns the replica that asks for something (minus what is its wake_s; it is due until
    it has got it), DONE, or MORE if some are still due.
    """
    for r in range(len(wake_s)):
        if wake_s[r] < horizon_s:
            before = states[r].spans
            wake_s[r] = advance(req, states[r : r + 1], horizon_s, GO_ON, spans, check)
            spans -= states[r].spans - before
            if wake_s[r] < 0.0:
                return r
            if wake_s[r] < horizon_s:  # it has used them up
                return MORE
    return DONE


class RunningAhead(Clock):
    """A clock under which replicas run from event to event without events of their own.

    `hold` makes it so for replicas that share the REQUEST table `requests`; `release` gives them
    their own events back, as they need when somebody listens to completions.
    """

    def __init__(self) -> None:
        super().__init__()
        self._replicas: list[Replica] = []

    def hold(
        self,
        replicas: list[Replica],
        states: np.ndarray,
        requests: np.ndarray,
        check_integrity: bool,
    ) -> None:
        """From now on these replicas, all idle, are run ahead here; `states`: STATE[replicas]."""
        self._replicas = replicas
        self._states = states
        self._requests = requests
        self._check = check_integrity
        self._wake_s = np.full(len(replicas), math.inf)
        for replica in replicas:
            replica.wakes = self._wake_s

    def release(self) -> None:
        """Each replica goes on by itself."""
        held, self._replicas = self._replicas, []
        for replica in held:
            replica.go_on(float(self._wake_s[replica.index]))

    def step(self) -> None:
        """Process the next event, then run the replicas up to the one after it."""
        super().step()
        while self._replicas:
            horizon_s = self.peek()
            answer = advance_due(
                self._requests,
                self._states,
                self._wake_s,
                horizon_s,
                _SPANS_PER_CALL,
                self._check,
            )
            if answer == DONE:
                return
            if answer == MORE:
                self.timeout(max(float(self._wake_s.min()) - self.now, 0.0))
                return
            self._replicas[answer].answer(int(-self._wake_s[answer]))
