"""What routers are shown of replicas: columns that are brought up to date where they have changed.

Between two ends of iterations nothing of a replica changes but its queue, and that only by what is
sent to it. So an entry is good until the next end of an iteration, which the span's closed form
gives, and a snapshot looks again only at replicas whose time has come or that were sent something:
a few of a thousand.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from simulator.engine.jit import Array, Record, entry, kernel
from simulator.engine.request import NONE, RUNNING, WAITING
from simulator.engine.spans import blocks_taken, boundary_at, boundary_s, reach_s
from simulator.engine.state import IDLE, IN_SPAN
from simulator.facts import read_only
from simulator.routers.base import Fleet, Snapshot

# Rows of the columns that the kernels fill.
(NUM_WAITING, NUM_RUNNING, OUTSTANDING, WAITING_TOKENS, KV_USED_TOKENS, TOKENS) = range(6)
(KV_USED_FRAC, PREDICTED_LEFT, GOOD_UNTIL) = range(3)

# What is known of the span that a replica was in, so that moving on in it touches little of its
# state: a thousand states are more than the processor's caches hold.
SEEN = np.dtype(
    [
        ("now_s", "f8"),  # the boundary that the span began at; -infinity: look anew
        ("start_s", "f8"),
        ("a_s", "f8"),
        ("b_s", "f8"),
        ("k", "i8"),
        ("next", "i8"),  # the first boundary that had not passed
        ("taken_at", "i8"),  # whose blocks are phases[taken_at]
        ("lag", "i4"),
        ("block_size", "i4"),
        ("used_blocks", "i8"),
        ("usable_blocks", "i8"),
        ("groups", "i8"),
        ("waiting_tokens", "i8"),
    ],
    align=True,
)

_FEW = 8  # boundaries; beyond, the closed form is faster


@entry
def look(
    states: Array, phases: Array, seen: Array, counts: Array, levels: Array, t_s: float
) -> None:
    """Bring the columns of all replicas up to time t, where they are not good until then.

    states: STATE[R]; phases: int64[R, largest block size]; seen: SEEN[R]; counts: int64[6, R] and
    levels: float64[3, R], rows as named above.
    """
    for r in range(len(states)):
        if t_s <= levels[GOOD_UNTIL, r]:
            continue
        s, last = states[r], seen[r]
        # A span that is over has left another time of the last boundary behind.
        same_span = s.phase == IN_SPAN and s.now_s == last.now_s
        if not (same_span and move_on(last, phases[r], levels, r, t_s)):
            look_anew(s, phases[r], last, counts, levels, r, t_s)
        tokens = last.used_blocks * last.block_size
        if last.groups > 1:
            tokens //= last.groups
        counts[KV_USED_TOKENS, r] = tokens
        counts[TOKENS, r] = tokens + last.waiting_tokens
        levels[KV_USED_FRAC, r] = last.used_blocks / last.usable_blocks


@kernel
def boundaries_passed(s: Record, t_s: float) -> int:
    """Boundaries of the span under way that lie before time t; t itself, with its tolerance, not.

    A replica that runs iteration by iteration has passed just these.
    """
    if s.phase != IN_SPAN:
        return 0
    passed: int = boundary_at(s, t_s) - 1
    return passed


@kernel
def look_anew(
    s: Record, phases: Array, last: Record, counts: Array, levels: Array, r: int, t_s: float
) -> None:
    """See where replica r is at time t."""
    passed = boundaries_passed(s, t_s)
    counts[NUM_WAITING, r] = s.num_waiting
    counts[NUM_RUNNING, r] = s.num_running
    counts[OUTSTANDING, r] = s.num_waiting + s.num_running
    counts[WAITING_TOKENS, r] = s.waiting_tokens
    last.waiting_tokens = s.waiting_tokens
    last.used_blocks = s.usable_blocks - s.free_blocks + blocks_taken(s, phases, passed)
    last.usable_blocks = s.usable_blocks
    last.groups = s.kv_groups_full + s.kv_groups_window
    last.block_size = s.block_size
    last.now_s = s.now_s
    last.start_s = s.start_s
    last.a_s = s.a_s
    last.b_s = s.b_s
    last.k = s.k
    last.lag = s.lag
    last.next = passed + 1
    last.taken_at = (s.n + passed + 1) % s.block_size
    if s.phase == IN_SPAN:
        levels[GOOD_UNTIL, r] = reach_s(boundary_s(s, passed + 1))
    else:
        levels[GOOD_UNTIL, r] = math.inf if s.phase == IDLE else -math.inf


@kernel
def move_on(last: Record, phases: Array, levels: Array, r: int, t_s: float) -> bool:
    """Add the blocks taken at the boundaries that replica r, still in its span, has passed since.

    False, with nothing done, if there are many, or the span is over.
    """
    j = last.next
    until: float = levels[GOOD_UNTIL, r]
    while until < t_s:
        j += 1
        if j > last.k or j > last.next + _FEW:
            return False
        i = j - last.lag  # as in `spans.boundary_s`
        until = reach_s(last.start_s + i * (last.a_s + last.b_s * (0.5 * (i - 1))))
    at = last.taken_at
    for _ in range(last.next, j):
        last.used_blocks += phases[at]
        at += 1
        if at == last.block_size:
            at = 0
    last.taken_at = at
    last.next = j
    levels[GOOD_UNTIL, r] = until
    return True


@kernel
def iterations_out(s: Record, t_s: float) -> int:
    """Iterations of the run whose tokens are out at time t."""
    n: int = s.n + boundaries_passed(s, t_s)
    if s.lag > 0 and (s.phase == IN_SPAN or t_s < s.flight_end_s):
        n -= 1
    return n


@kernel
def generated_by(r: Record, iterations: int) -> int:
    """Output tokens of request r when those of so many iterations of its replica are out.

    While some decoding requests are left out of an iteration for its budget, it may be one more or
    less.
    """
    if not r.decoding:
        known: int = r.generated_tokens
        return known
    generated: int = iterations + r.offset + 1 - r.prompt_tokens
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
        if t_s <= levels[GOOD_UNTIL, r]:
            continue
        out = iterations_out(states[r], t_s)
        left = 0.0
        before = NONE
        i = head[r]
        while i != NONE:
            after = following[i]
            if req[i].status == WAITING or req[i].status == RUNNING:
                left += max(predicted[i] - generated_by(req[i], out), 1.0)
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
        self._counts = np.zeros((6, count), dtype=np.int64)
        self._levels = np.zeros((3, count))
        self._levels[GOOD_UNTIL] = -np.inf
        self._seen = np.zeros(count, dtype=SEEN)
        self._seen["now_s"] = -np.inf
        self._touched_s = self._seen["now_s"]
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
            index=read_only(np.arange(count)),
            pool=fleet.pool,
            kv_capacity_tokens=fleet.kv_capacity_tokens,
            block_size=fleet.block_size,
            seats=fleet.seats,
            num_waiting=read_only(self._counts[NUM_WAITING]),
            num_running=read_only(self._counts[NUM_RUNNING]),
            outstanding=read_only(self._counts[OUTSTANDING]),
            waiting_tokens=read_only(self._counts[WAITING_TOKENS]),
            kv_used_tokens=read_only(self._counts[KV_USED_TOKENS]),
            tokens=read_only(self._counts[TOKENS]),
            kv_used_frac=read_only(self._levels[KV_USED_FRAC]),
            predicted_left=read_only(self._levels[PREDICTED_LEFT]),
            sent=read_only(self._sent[0]),
            sent_tokens=read_only(self._sent[1]),
            sent_predicted=read_only(self._sent_predicted),
            fresh=not counts_sent,
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
        look(self._states, self._phases, self._seen, self._counts, self._levels, t_s)
        if self._counts_sent:
            self._sent[:] = 0
            self._sent_predicted[:] = 0.0
        self.view.taken_s = t_s

    def count_in(self, request: int, replica: int) -> None:
        """`request` is now at `replica`: look at that one again, and show what has been sent."""
        self._levels[GOOD_UNTIL, replica] = -np.inf
        self._touched_s[replica] = -np.inf
        if self._predicted is not None:
            self._following[request] = self._head[replica]
            self._head[replica] = request
        if self._counts_sent:
            self._sent[0, replica] += 1
            self._sent[1, replica] += self._requests["prompt_tokens"][request]
            if self._predicted is not None:
                self._sent_predicted[replica] += self._predicted[request]
