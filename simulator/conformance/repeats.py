"""Serving a case again must give the same: anew, later, or one iteration at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from simulator.conformance.case import Run, first_difference

SHIFT_S = 77.0 + 2.0**-7
"""No multiple of any period that a policy may have; exact, as all times are."""

_TIMES = ("first_scheduled_s", "first_token_s", "first_answer_s", "finish_s")
_DURATIONS = ("lost_prefill_s", "lost_thinking_s", "lost_answer_s")
_COUNTS = ("status", "generated_tokens", "preemptions", "recomputed_tokens", "cached_tokens")


def differs_when_repeated(run: Run, make: Callable[[], Any]) -> str:
    """Same seed, same bytes: also of a policy that has served a run already."""
    again = run.case.serve(run.policy)
    if again.same_bytes(run):
        return ""
    if run.case.serve(make()).same_bytes(run):
        return f"started again, it remembers the run before: {_difference(run, again)}"
    return f"a second run is not the first one again: {_difference(run, again)}"


def differs_when_later(run: Run, make: Callable[[], Any]) -> str:
    """Time-shift invariance: if all arrives later by a constant, all happens later by it."""
    return _difference(run, run.case.later(SHIFT_S).serve(make()), SHIFT_S)


def differs_in_steps(run: Run, make: Callable[[], Any]) -> str:
    """Spans = iterations: what happens does not depend on how the engine jumps."""
    return _difference(run, run.case.stepping().serve(make()))


def _difference(run: Run, other: Run, shift_s: float = 0.0) -> str:
    """The first thing that differs beyond 1e-9 relative, "" if nothing does."""
    if other.error is not None:
        return f"{type(other.error).__name__}: {other.error}"
    decided = first_difference(run.steps, other.steps)
    if decided:
        return decided
    for name in _COUNTS:
        for i in np.flatnonzero(run.requests[name] != other.requests[name]):
            return f"{name} of request {i} is {run.requests[name][i]} or {other.requests[name][i]}"
    for name in (*_TIMES, *_DURATIONS):
        mine = run.requests[name]
        theirs = other.requests[name] - (shift_s if name in _TIMES else 0.0)
        near = np.isclose(mine, theirs, rtol=1e-9, atol=1e-9, equal_nan=True)
        for i in np.flatnonzero(~near):
            return f"{name} of request {i} is {mine[i]:.9g} or {theirs[i]:.9g}"
    if len(run.steps) != len(other.steps):
        return f"there are {len(run.steps)} or {len(other.steps)} decisions"
    return ""
