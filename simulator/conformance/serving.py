"""Serving a case under a scheduler, to the end or to where it fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from simulator.cluster.source import Source
from simulator.conformance.case import Case
from simulator.engine.clock import Clock
from simulator.engine.request import COMPLETED
from simulator.engine.trace import Step, TracedReplica
from simulator.schedulers.base import Scheduler

_DECIDED = ("scheduled", "admitted", "preempted", "free_blocks", "num_running", "num_waiting")

MakeScheduler = Callable[[], Scheduler]


@dataclass(frozen=True, eq=False)
class Run:
    """What became of a case under a scheduler.

    `requests`: the table, REQUEST[n]. `steps`: every iteration. `state`: STATE, the replica's
    counters at the end. `error`: what the scheduler or the engine raised, None if nothing.
    """

    case: Case
    scheduler: Scheduler
    requests: np.ndarray
    steps: list[Step]
    state: np.void
    error: Exception | None

    @property
    def served(self) -> bool:
        """Whether every request got to its end."""
        return self.error is None and bool((self.requests["status"] == COMPLETED).all())

    def same_bytes(self, other: Run) -> bool:
        """Whether not one bit of what happened differs."""
        return self.requests.tobytes() == other.requests.tobytes() and self.steps == other.steps


def first_difference(steps: list[Step], others: list[Step]) -> str:
    """Where two runs first decided something else, "" if nowhere as far as both go."""
    for step, other in zip(steps, others, strict=False):
        for name in _DECIDED:
            one, two = getattr(step, name), getattr(other, name)
            if one != two:
                return f"in the iteration at {step.t_s:g} s, {name} is {one} or {two}"
    return ""


def serve(case: Case, scheduler: Scheduler, until_s: float | None = None) -> Run:
    """Serve `case` on one replica, up to a time in seconds (None: its `limit_s`)."""
    clock = Clock()
    requests = case.table()
    steps: list[Step] = []
    state = np.void(0)
    error = None
    try:
        replica = TracedReplica(
            clock,
            case.config,
            case.cost,
            requests,
            scheduler=scheduler,
            facts=case.facts,
            check_integrity=True,
        )
        steps = replica.steps
        state = replica.arrays.state[0]
        Source(clock, case.arrival_s, replica.offer)
        clock.run(until=case.limit_s if until_s is None else until_s)
        replica.finish(clock.now)
    except Exception as raised:  # whatever a policy does wrong
        error = raised
    return Run(case, scheduler, requests, steps, state, error)
