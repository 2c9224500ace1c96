"""The engine's invariants, checked at every iteration boundary where tests ask for it."""

from __future__ import annotations

from simulator.engine.kernel import STUCK

_INVARIANTS = (
    "a running request's last token lies in the past",
    "a running request's progress and its finishing iteration disagree",
    "KV blocks held and free do not add up to the cache",
    "more KV blocks are held than exist",
    "the count of decoding requests is wrong",
    "the sum of context lengths is wrong",
    "the count of stalled requests is wrong",
    "more requests run than there are seats",
    "the length of the waiting queue is wrong",
)


def explain(number: int) -> str:
    """What `kernel.advance` reports by this number."""
    if number == STUCK:
        return "requests wait, nothing runs, and none of them can ever be scheduled"
    return f"invariant broken: {_INVARIANTS[number - 1]}"
