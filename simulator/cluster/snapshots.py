"""What routers are shown of replicas: columns that are brought up to date where they have changed.

Between two ends of iterations nothing of a replica changes but its queue, and that only by what is
sent to it. So an entry is good until the next end of an iteration, which the span's closed form
gives, and a snapshot looks again only at replicas whose time has come or that were sent something:
a few of a thousand.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.engine.jit import Array, Record, entry, kernel
from simulator.engine.request import NONE, RUNNING, WAITING
from simulator.engine.samples import SAMPLE
from simulator.engine.sampling import note
from simulator.engine.spans import boundary_s, end_s, iterations_done
from simulator.engine.state import IDLE, IN_SPAN
from simulator.routers.base import Fleet, Snapshot

# Rows of the columns that the kernels fill: what is shown, then where in its span a replica was.
(NUM_WAITING, NUM_RUNNING, OUTSTANDING, WAITING_TOKENS, KV_USED_TOKENS, TOKENS) = range(6)
(KV_USED_BLOCKS, SPAN, DONE) = range(6, 9)
(KV_USED_FRAC, PREDICTED_LEFT, GOOD_UNTIL) = range(3)

_FEW = 8  # iterations; beyond, the closed form is faster


@entry
def look(states: Array, phases: Array, counts: Array, levels: Array, t_s: float) -> None:
    """Bring the columns of all replicas up to time t, where they are not good until then.

    states: STATE[R]; phases: int64[R, largest block size]; counts: int64[9, R] and levels:
    float64[3, R], rows as named above.
    """
    scratch = np.zeros(1, dtype=SAMPLE)
    for r in range(len(states)):
        if t_s < levels[GOOD_UNTIL, r]:
            continue
        s = states[r]
        same_span = s.phase == IN_SPAN and counts[SPAN, r] == s.spans
        if not (same_span and move_on(s, phases[r], counts, levels, r, t_s)):
            note(s, phases[r], scratch[0], t_s)
            look_anew(s, scratch[0], counts, levels, r, t_s)
        groups = s.kv_groups_full + s.kv_groups_window
        counts[KV_USED_TOKENS, r] = counts[KV_USED_BLOCKS, r] * s.block_size // groups
        counts[TOKENS, r] = counts[KV_USED_TOKENS, r] + counts[WAITING_TOKENS, r]
        levels[KV_USED_FRAC, r] = counts[KV_USED_BLOCKS, r] / s.usable_blocks


@kernel
def look_anew(s: Record, seen: Record, counts: Array, levels: Array, r: int, t_s: float) -> None:
    """Fill in the columns of replica r from what was `seen` at time t."""
    counts[NUM_WAITING, r] = seen.waiting
    counts[NUM_RUNNING, r] = seen.running
    counts[OUTSTANDING, r] = seen.waiting + seen.running
    counts[WAITING_TOKENS, r] = s.waiting_tokens
    counts[KV_USED_BLOCKS, r] = seen.kv_used_blocks
    counts[SPAN, r] = NONE
    if t_s < s.flight_end_s:
        until: float = s.flight_end_s
    elif s.phase == IDLE:
        until = math.inf
    else:
        until = -math.inf
    if s.phase == IN_SPAN:
        boundary = boundary_s(s, s.k)
        if boundary <= t_s:
            until = -math.inf  # it is about to be decided
        elif t_s < s.flight_end_s:
            until = min(until, boundary)
        elif s.k == 1:
            until = boundary
        else:
            done = iterations_done(s, t_s)
            until = end_s(s, done + 1)
            counts[SPAN, r] = s.spans
            counts[DONE, r] = done
    levels[GOOD_UNTIL, r] = until


@kernel
def move_on(s: Record, phases: Array, counts: Array, levels: Array, r: int, t_s: float) -> bool:
    """Add the blocks of the iterations that replica r, still in its span, has ended by time t.

    False, with nothing done, if there are many, or the span is over.
    """
    last = s.k - s.lag  # whose end is the boundary
    before = counts[DONE, r]
    done = before
    until: float = levels[GOOD_UNTIL, r]
    while until <= t_s:
        done += 1
        if done >= last or done > before + _FEW:
            return False
        until = end_s(s, done + 1)
    taken_at = (s.n + 1 + s.lag + before) % s.block_size
    for _ in range(before, done):
        counts[KV_USED_BLOCKS, r] += phases[taken_at]
        taken_at += 1
        if taken_at == s.block_size:
            taken_at = 0
    counts[DONE, r] = done
    levels[GOOD_UNTIL, r] = until
    return True


@kernel
def generated_by(s: Record, r: Record, t_s: float) -> int:
    """Output tokens that request r, which is at the replica, has at time t.

    While some decoding requests are left out of an iteration for its budget, it may be one more or
    less.
    """
    if not r.decoding:
        known: int = r.generated_tokens
        return known
    n: int = s.n
    if s.phase == IN_SPAN and s.k > 1:
        n += iterations_done(s, t_s)
    if s.lag > 0 and t_s < s.flight_end_s:
        n -= 1
    generated: int = n + r.offset + 1 - r.prompt_tokens
    return generated


@entry
def add_up_left(
    req: Array,
    states: Array,
    levels: Array,
    head: Array,
    following: Array,
    predicted: Array,
    t_s: float,
) -> None:
    """Work out `predicted_left` at time t; to be called before `look`.

    The requests of replica r are a list: head[r], then following[...] of each, NONE at its end;
    those that have left are taken off it. head: int64[R]; following: int64[n]; predicted:
    float64[n], output tokens.
    """
    for r in range(len(states)):
        if t_s < levels[GOOD_UNTIL, r]:
            continue
        s = states[r]
        left = 0.0
        before = NONE
        i = head[r]
        while i != NONE:
            after = following[i]
            if req[i].status == WAITING or req[i].status == RUNNING:
                left += max(predicted[i] - generated_by(s, req[i], t_s), 1.0)
                before = i
            elif before == NONE:
                head[r] = after
            else:
                following[before] = after
            i = after
        levels[PREDICTED_LEFT, r] = left


class Snapshots:
    """The columns behind the router's `view`, a `Snapshot` of all replicas that `take` renews.

    `states` (STATE[R]) and `phases` (int64[R, largest block size]) are where the replicas keep
    theirs, `requests` their REQUEST table; `predicted` (float64[n]) says how many output tokens
    each request is expected to have, None if nobody asks. `counts_sent`: whether what is sent
    between two snapshots shows; false where every decision has a fresh one.
    """

    def __init__(
        self,
        fleet: Fleet,
        requests: Array,
        states: Array,
        phases: Array,
        predicted: NDArray[np.float64] | None = None,
        *,
        counts_sent: bool = True,
    ) -> None:
        count = len(fleet)
        self._requests, self._states, self._phases = requests, states, phases
        self._counts = np.zeros((9, count), dtype=np.int64)
        self._levels = np.zeros((3, count))
        self._levels[GOOD_UNTIL] = -np.inf
        self._counts[SPAN] = NONE
        self._predicted = predicted
        if predicted is None:
            self._levels[PREDICTED_LEFT] = np.nan
        else:
            self._head = np.full(count, NONE, dtype=np.int64)
            self._following = np.full(len(requests), NONE, dtype=np.int64)
        self._sent = np.zeros((2, count), dtype=np.int64)
        self._sent_predicted = np.zeros(count)
        self._counts_sent = counts_sent
        self.view = Snapshot(
            index=np.arange(count),
            pool=fleet.pool,
            kv_capacity_tokens=fleet.kv_capacity_tokens,
            block_size=fleet.block_size,
            seats=fleet.seats,
            num_waiting=_shown(self._counts[NUM_WAITING]),
            num_running=_shown(self._counts[NUM_RUNNING]),
            outstanding=_shown(self._counts[OUTSTANDING]),
            waiting_tokens=_shown(self._counts[WAITING_TOKENS]),
            kv_used_tokens=_shown(self._counts[KV_USED_TOKENS]),
            tokens=_shown(self._counts[TOKENS]),
            kv_used_frac=_shown(self._levels[KV_USED_FRAC]),
            predicted_left=_shown(self._levels[PREDICTED_LEFT]),
            sent=_shown(self._sent[0]),
            sent_tokens=_shown(self._sent[1]),
            sent_predicted=_shown(self._sent_predicted),
        )

    def take(self, t_s: float) -> None:
        """Show the replicas as they are at time t (seconds), which no replica has run past."""
        if self._predicted is not None:
            add_up_left(
                self._requests,
                self._states,
                self._levels,
                self._head,
                self._following,
                self._predicted,
                t_s,
            )
        look(self._states, self._phases, self._counts, self._levels, t_s)
        if self._counts_sent:
            self._sent[:] = 0
            self._sent_predicted[:] = 0.0
        self.view.taken_s = t_s

    def count_in(self, request: int, replica: int) -> None:
        """`request` is now at `replica`: look at that one again, and show what has been sent."""
        self._levels[GOOD_UNTIL, replica] = -np.inf
        self._counts[SPAN, replica] = NONE
        if self._predicted is not None:
            self._following[request] = self._head[replica]
            self._head[replica] = request
        if self._counts_sent:
            self._sent[0, replica] += 1
            self._sent[1, replica] += self._requests["prompt_tokens"][request]
            if self._predicted is not None:
                self._sent_predicted[replica] += self._predicted[request]


def _shown(column: NDArray[Any]) -> NDArray[Any]:
    """The same numbers, which who sees them cannot change."""
    column = column.view()
    column.flags.writeable = False
    return column
