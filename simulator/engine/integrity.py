"""The engine's invariants, checked at every iteration boundary where tests ask for it."""

from __future__ import annotations

from simulator.engine.blocks import blocks_for, decoded_tokens, held_blocks
from simulator.engine.cache_checks import cache_is_sound, hashed_blocks_held
from simulator.engine.jit import Array, Kv, Record, kernel
from simulator.engine.state import KV_POOL, ROW_LATE, ROW_RUNNING
from simulator.engine.waiting import comes_before

# What `kernel.advance` answers, negated, if no request can be scheduled ever again.
STUCK = 100

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
    "the count of requests whose last token is in flight is wrong",
    "the tokens in flight do not add up",
    "the context inside the sliding window is wrong",
    "the blocks of requests without a seat are wrong",
    "the next of the waiting requests is not the first in rank",
    "the records of the prefix cache do not agree with one another",
)


def explain(number: int) -> str:
    """What `kernel.advance` reports by this number."""
    if number == STUCK:
        return "requests wait, nothing runs, and none of them can ever be scheduled"
    return f"invariant broken: {_INVARIANTS[number - 1]}"


@kernel
def integrity_error(s: Record, req: Array, lists: Array, phases: Array, kv: Kv) -> int:
    """Number of the first invariant that does not hold at a boundary, or 0."""
    held = 0
    unhashed = 0
    decodes = 0
    context = 0
    stalled = 0
    ending = 0
    measured = 0
    below = 0
    window_context = 0
    for position in range(s.num_running):
        r = req[lists[ROW_RUNNING, position]]
        computed = s.n + r.offset if r.decoding else r.computed_tokens
        held += blocks_for(s, computed)
        unhashed += blocks_for(s, computed) - r.registered_blocks
        if r.ending:
            ending += 1
            measured += r.measured
        if r.decoding:
            measured += r.measured * (1 - r.stalled)
            decodes += 1
            context += computed
            below += computed < s.window_tokens
            window_context += min(computed, s.window_tokens)
            stalled += r.stalled
            if r.limit_n <= s.n:
                return 1
            left = r.target_tokens - decoded_tokens(s, r)
            if left + r.dead_tokens != r.limit_n - s.n:
                return 2
    if not s.prefix_caching and held + s.parked_blocks + s.free_blocks != s.usable_blocks:
        return 3
    if s.free_blocks < 0:
        return 4
    per_cycle = s.kv_groups_full * decodes + s.kv_groups_window * below
    if decodes != s.num_decodes or phases.sum() != per_cycle:
        return 5
    if context != s.decode_context:
        return 6
    if stalled != s.num_stalled:
        return 7
    if s.num_running > s.seat_limit:
        return 8
    count = 0
    parked = 0
    i = s.wait_head
    while i >= 0:
        count += 1
        parked += held_blocks(s, req[i])
        unhashed += held_blocks(s, req[i]) - req[i].registered_blocks
        if s.ranked and comes_before(req, i, s.heap_root):
            return 14
        i = req[i].next
    if parked != s.parked_blocks:
        return 13
    if s.prefix_caching:
        if not cache_is_sound(s, kv[KV_POOL]):
            return 15
        hashed = hashed_blocks_held(kv[KV_POOL])
        if unhashed + hashed + s.free_blocks != s.usable_blocks:
            return 3
    if count != s.num_waiting:
        return 9
    if ending != s.num_ending:
        return 10
    if s.lag > 0:
        for position in range(s.num_late):
            measured -= req[lists[ROW_LATE, position]].measured
        if s.flight_tokens + s.num_late != decodes - stalled + ending:
            return 11
        if s.flight_measured != measured:
            return 11
    if below != s.num_below or window_context != s.window_context:
        return 12
    return 0
