"""What the replica counts about its decoding requests, kept up to date as they come and go."""

from __future__ import annotations

from simulator.engine.blocks import decoded_tokens
from simulator.engine.jit import Array, Record, kernel
from simulator.engine.request import NEVER
from simulator.engine.state import ROW_RUNNING


@kernel
def add_phase(s: Record, r: Record, phases: Array, sign: int) -> None:
    """Add to (or take off) `phases` the blocks that decoding request r takes per block size."""
    phases[-r.offset % s.block_size] += sign * (s.kv_groups_full + r.below * s.kv_groups_window)


@kernel
def start_decoding(s: Record, r: Record, phases: Array, computed: int) -> None:
    """Request r decodes from now on, `computed` of its tokens being in the cache."""
    r.decoding = 1
    r.offset = computed - s.n
    r.limit_n = s.n + r.target_tokens - r.generated_tokens + r.dead_tokens
    r.answer_n = NEVER
    if r.generated_tokens <= r.thinking_tokens and r.thinking_tokens < r.target_tokens:
        r.answer_n = s.n + r.thinking_tokens + 1 - r.generated_tokens
    r.review_n = review_iteration(s, r)
    r.below = computed < s.window_tokens
    add_phase(s, r, phases, 1)
    s.num_decodes += 1
    s.num_below += r.below
    s.decode_context += computed
    s.window_context += min(computed, s.window_tokens)
    s.num_measured += r.measured
    if r.below and s.next_knee_n >= 0:
        s.next_knee_n = min(s.next_knee_n, s.window_tokens - r.offset)
    if s.next_limit_n >= 0:
        s.next_limit_n = min(s.next_limit_n, r.limit_n)
    if s.next_answer_n >= 0:
        s.next_answer_n = min(s.next_answer_n, r.answer_n)
    if s.next_review_n >= 0:
        s.next_review_n = min(s.next_review_n, r.review_n)


@kernel
def review_iteration(s: Record, r: Record) -> int:
    """Iteration count at which a scheduler is asked about r, which begins to decode: NEVER if not.

    It sees tokens when they are out: async, an iteration later than they are decided.
    """
    due = r.review_tokens
    if s.reviews_phase and r.answer_n != NEVER:
        due = min(due, r.thinking_tokens + 1)
    if due == NEVER:
        return NEVER
    n: int = s.n + s.lag + max(due - r.generated_tokens, 0)
    return n


@kernel
def stop_decoding(s: Record, r: Record, phases: Array) -> None:
    """Write a decoding request's progress back into its record and take it off the counters."""
    r.computed_tokens = s.n + r.offset
    r.generated_tokens = decoded_tokens(s, r)
    r.decoding = 0
    if r.stalled:
        r.stalled = 0
        s.num_stalled -= 1
    add_phase(s, r, phases, -1)
    s.num_decodes -= 1
    s.decode_context -= r.computed_tokens
    s.window_context -= min(r.computed_tokens, s.window_tokens)
    s.num_measured -= r.measured
    if r.below:
        r.below = 0
        s.num_below -= 1
        if s.window_tokens - r.offset == s.next_knee_n:
            s.next_knee_n = -1
    if r.limit_n == s.next_limit_n:
        s.next_limit_n = -1
    if r.answer_n == s.next_answer_n:
        s.next_answer_n = -1
    if r.review_n == s.next_review_n:
        s.next_review_n = -1


@kernel
def stall(s: Record, r: Record, phases: Array) -> None:
    """A decoding request gets no token in this iteration: everything of it comes one later."""
    if not r.stalled:
        r.stalled = 1
        r.last_token_s = s.start_s
        s.num_stalled += 1
    add_phase(s, r, phases, -1)
    r.offset -= 1
    add_phase(s, r, phases, 1)
    r.limit_n += 1
    if r.answer_n != NEVER:
        r.answer_n += 1
    if r.review_n != NEVER:
        r.review_n += 1
    s.next_limit_n = -1
    s.next_review_n = -1
    s.next_answer_n = -1
    s.next_knee_n = -1


@kernel
def fill_window(s: Record, r: Record, phases: Array) -> None:
    """The context of decoding request r has reached the window: there it needs no more blocks."""
    add_phase(s, r, phases, -1)
    r.below = 0
    add_phase(s, r, phases, 1)
    s.num_below -= 1
    s.next_knee_n = -1


@kernel
def fill_windows(s: Record, req: Array, lists: Array, phases: Array) -> None:
    """`fill_window` for all that have reached it by now, and when the next ones will."""
    earliest = NEVER
    for position in range(s.num_running):
        r = req[lists[ROW_RUNNING, position]]
        if not r.below:
            continue
        knee_n = s.window_tokens - r.offset
        if knee_n <= s.n:
            fill_window(s, r, phases)
        else:
            earliest = min(earliest, knee_n)
    s.next_knee_n = earliest
