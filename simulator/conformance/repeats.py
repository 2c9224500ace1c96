"""Serving a case again must give the same: anew, later, or one iteration at a time."""

from __future__ import annotations

import numpy as np

from simulator.conformance.serving import MakeScheduler, Run, first_difference, serve

SHIFT_S = 77.0 + 2.0**-7
"""No multiple of any period that a policy may have; exact, as all times are."""

_TIMES = (
    "first_scheduled_s",
    "first_token_s",
    "first_answer_s",
    "finish_s",
    "lost_prefill_s",
    "lost_thinking_s",
    "lost_answer_s",
)
_DURATIONS = _TIMES[4:]
_COUNTS = ("status", "generated_tokens", "preemptions", "recomputed_tokens")


def differs_when_repeated(run: Run, make: MakeScheduler) -> str:
    """Same seed, same bytes: also of a scheduler that has served a run already."""
    again = serve(run.case, run.scheduler)
    if again.same_bytes(run):
        return ""
    if serve(run.case, make()).same_bytes(run):
        return f"started again, it remembers the run before: {_difference(run, again)}"
    return f"a second run is not the first one again: {_difference(run, again)}"


def differs_when_later(run: Run, make: MakeScheduler) -> str:
    """Time-shift invariance: if all arrives later by a constant, all happens later by it."""
    return _difference(run, serve(run.case.later(SHIFT_S), make()), SHIFT_S)


def differs_in_steps(run: Run, make: MakeScheduler) -> str:
    """Spans = iterations: what happens does not depend on how the engine jumps."""
    return _difference(run, serve(run.case.stepping(), make()))


def _difference(run: Run, other: Run, shift_s: float = 0.0) -> str:
    """The first thing that differs beyond 1e-9 relative, "" if nothing does."""
    if other.error is not None:
        return f"{type(other.error).__name__}: {other.error}"
    decided = first_difference(run.steps, other.steps)
    if decided:
        return decided
    for name in _COUNTS:
        for i in np.flatnonzero(run.requests[name] != other.requests[name]):
            return f"{name} of request {i}: {run.requests[name][i]}, {other.requests[name][i]}"
    for name in _TIMES:
        mine, theirs = run.requests[name], other.requests[name]
        if name not in _DURATIONS:
            theirs = theirs - shift_s
        near = np.isclose(mine, theirs, rtol=1e-9, atol=1e-9, equal_nan=True)
        for i in np.flatnonzero(~near):
            return f"{name} of request {i}: {mine[i]:.9g} s, {theirs[i]:.9g} s"
    if len(run.steps) != len(other.steps):
        return f"{len(run.steps)} iterations, {len(other.steps)}"
    return ""
