"""Moving a request between waiting, running and gone: queue, seats and blocks."""

from __future__ import annotations

import math

from simulator.engine.blocks import (
    blocks_for,
    find_prefix,
    give_back,
    held_blocks,
    known_tokens,
    take_blocks,
)
from simulator.engine.caching import settle
from simulator.engine.decoding import stop_decoding
from simulator.engine.jit import Array, Kv, Record, kernel
from simulator.engine.prefix_cache import register, take
from simulator.engine.request import (
    CANCELLED,
    COMPLETED,
    IN_HOST,
    NEVER,
    NONE,
    NOTHING,
    ON_GPU,
    RUNNING,
)
from simulator.engine.state import (
    KV_PATHS,
    KV_POOL,
    ROW_EVICTED,
    ROW_FINISHED,
    ROW_LATE,
    ROW_RUNNING,
    ROW_TOKENS,
    SWAP,
)
from simulator.engine.waiting import join_queue, leave_queue


@kernel
def admit(s: Record, req: Array, lists: Array, kv: Kv, i: int, tokens: int) -> None:
    """Give request i a seat, and the blocks for its next `tokens` tokens.

    What it kept of its KV cache counts as computed; what it kept in host memory is fetched.
    """
    leave_queue(s, req, i)
    r = req[i]
    held = held_blocks(s, r)
    if s.prefix_caching and r.keeps != ON_GPU:
        held = take_prefix(s, req, kv, i)
    elif r.keeps == NOTHING:
        r.computed_tokens = 0
    if r.keeps == ON_GPU:
        s.num_parked -= 1
        s.parked_blocks -= held
    elif r.keeps == IN_HOST:
        s.transfer_s += r.computed_tokens * s.host_token_s
        s.host_tokens_left += r.computed_tokens
    r.keeps = NOTHING
    r.status = RUNNING
    r.answer_n = NEVER
    if math.isnan(r.first_scheduled_s):
        # An arrival within the tolerance after the boundary counts as at it.
        r.first_scheduled_s = max(s.start_s, r.arrival_s)
    elif r.generated_tokens == 0:
        r.lost_prefill_s += s.start_s - r.lost_since_s
        r.lost_since_s = math.nan
    lists[ROW_RUNNING, s.num_running] = i
    lists[ROW_TOKENS, s.num_running] = tokens
    s.num_running += 1
    s.num_admitted += 1
    s.reserved_blocks += blocks_for(s, r.reserve_tokens)
    full = r.computed_tokens + tokens
    take_blocks(s, blocks_for(s, full) - held)
    if s.prefix_caching:
        known = min(full, known_tokens(r))
        register(s, kv[KV_POOL], kv[KV_PATHS], r, known // s.block_size)


@kernel
def take_prefix(s: Record, req: Array, kv: Kv, i: int) -> int:
    """Request i takes what is cached of it, unless its KV comes from the host: blocks in use."""
    r = req[i]
    hit = idle = 0
    if r.keeps == NOTHING:
        hit, idle, _ = find_prefix(s, req, kv, i)
        r.computed_tokens = hit * s.block_size
        s.prefix_query_tokens += known_tokens(r)
        s.prefix_hit_tokens += r.computed_tokens
        if math.isnan(r.first_scheduled_s):
            r.cached_tokens = r.computed_tokens
        r.recomputed_tokens -= min(r.computed_tokens, r.lost_tokens)
        r.lost_tokens = 0
    take(s, kv[KV_POOL], kv[KV_PATHS], r, hit)
    return hit - idle


@kernel
def evict(
    s: Record, req: Array, lists: Array, phases: Array, kv: Kv, position: int, scheduled: int
) -> None:
    """Preempt the request at `position` of the running list; its KV is dropped or goes to the host.

    `scheduled`: tokens that it has been given in the iteration being decided, which it loses.
    A token in flight still comes, as the span starts; it may be the last (see `finish_evicted`).
    """
    i = lists[ROW_RUNNING, position]
    r = req[i]
    leave_batch(s, req, lists, phases, kv, position, scheduled)
    give_back(s, req, kv, i, blocks_for(s, r.computed_tokens + scheduled))
    keep_in_host(s, r, s.preemption)
    r.preemptions += 1
    s.preemptions += 1
    join_queue(s, req, i, True)


@kernel
def keep_in_host(s: Record, r: Record, mode: int) -> None:
    """What request r, whose blocks are gone, has left of its KV: in host memory, if it fits there.

    SWAP copies all of it out now; a checkpoint had copied whole chunks while they were computed.
    """
    kept = 0
    if mode == SWAP:
        kept = r.computed_tokens
    elif s.checkpoint_tokens > 0:
        kept = r.computed_tokens - r.computed_tokens % s.checkpoint_tokens
    if kept == 0 or kept > s.host_tokens_left:
        kept = 0
    r.recomputed_tokens += r.computed_tokens - kept
    if kept == 0:
        r.lost_tokens = r.computed_tokens
        r.dropped_tokens = 0
    r.computed_tokens = kept
    r.keeps = NOTHING
    if kept > 0:
        r.keeps = IN_HOST
        s.host_tokens_left -= kept
        if mode == SWAP:
            s.transfer_s += kept * s.host_token_s


@kernel
def park(s: Record, req: Array, lists: Array, phases: Array, kv: Kv, position: int) -> None:
    """The request at `position` of the running list gives up its seat, and keeps its KV."""
    i = lists[ROW_RUNNING, position]
    r = req[i]
    leave_batch(s, req, lists, phases, kv, position, 0)
    if r.computed_tokens > 0:
        r.keeps = ON_GPU
        s.num_parked += 1
        s.parked_blocks += blocks_for(s, r.computed_tokens)
    join_queue(s, req, i, True)


@kernel
def unpark(s: Record, req: Array, kv: Kv, i: int) -> None:
    """Waiting request i loses the KV that it kept on the GPU, as if preempted only now."""
    r = req[i]
    blocks = blocks_for(s, r.computed_tokens)
    s.num_parked -= 1
    s.parked_blocks -= blocks
    give_back(s, req, kv, i, blocks)
    s.waiting_tokens += r.computed_tokens
    keep_in_host(s, r, s.preemption)
    r.preemptions += 1
    s.preemptions += 1


@kernel
def leave_batch(
    s: Record, req: Array, lists: Array, phases: Array, kv: Kv, position: int, scheduled: int
) -> None:
    """Take the request at `position` out of the running list, and note it as evicted."""
    i = lists[ROW_RUNNING, position]
    r = req[i]
    if s.prefix_caching:
        settle(s, req, kv, i, scheduled)
    for later in range(position + 1, s.num_running):
        lists[ROW_RUNNING, later - 1] = lists[ROW_RUNNING, later]
        lists[ROW_TOKENS, later - 1] = lists[ROW_TOKENS, later]
    s.num_running -= 1
    if r.decoding:
        if not r.stalled:
            r.last_token_s = s.start_s
        stop_decoding(s, r, phases)
    elif r.ending:
        r.last_token_s = s.start_s
        r.ending = 0
        s.num_ending -= 1
    s.reserved_blocks -= blocks_for(s, r.reserve_tokens)
    if math.isnan(r.lost_since_s):
        r.lost_since_s = s.start_s
    r.evicted_n = s.n
    lists[ROW_EVICTED, s.num_evicted] = i
    s.num_evicted += 1


@kernel
def finish(s: Record, req: Array, lists: Array, kv: Kv, i: int) -> None:
    """A request that no longer decodes gave its last token at `now`: it leaves."""
    r = req[i]
    leave_kv(s, req, kv, i)
    r.status = COMPLETED
    r.finish_s = s.now_s
    lists[ROW_FINISHED, s.num_finished] = i
    s.num_finished += 1
    s.departed += 1


@kernel
def leave_kv(s: Record, req: Array, kv: Kv, i: int) -> None:
    """Request i, which is leaving for good, gives back whatever it holds."""
    r = req[i]
    blocks = blocks_for(s, r.computed_tokens)
    if r.keeps == IN_HOST:
        s.host_tokens_left += r.computed_tokens
    elif r.keeps == ON_GPU:
        s.num_parked -= 1
        s.parked_blocks -= blocks
    if r.keeps == ON_GPU or r.status == RUNNING:
        give_back(s, req, kv, i, blocks)
    r.keeps = NOTHING


@kernel
def finish_running(s: Record, req: Array, lists: Array, phases: Array, kv: Kv) -> None:
    """At a boundary: running requests leave whose last token is out, or, if foreseen, end."""
    kept = 0
    for position in range(s.num_running):
        i = lists[ROW_RUNNING, position]
        r = req[i]
        done = False
        filled = r.computed_tokens
        if r.ending:
            r.ending = 0
            s.num_ending -= 1
            done = True
        elif r.decoding and r.limit_n == s.n:
            stop_decoding(s, r, phases)
            filled = r.computed_tokens - r.dead_tokens
            done = s.lag == 0 or r.dead_tokens > 0
            if not done:
                r.ending = 1
                s.num_ending += 1
            elif r.dead_tokens > 0:
                r.generated_tokens = r.target_tokens
                s.flight_tokens -= 1
                s.flight_measured -= r.measured
        elif r.stalled and r.limit_n - r.dead_tokens == s.n:
            stop_decoding(s, r, phases)  # the budget spared it the dead token
            filled = r.computed_tokens
            done = True
        if done:
            if s.prefix_caching:
                register(s, kv[KV_POOL], kv[KV_PATHS], r, filled // s.block_size)
            s.reserved_blocks -= blocks_for(s, r.reserve_tokens)
            finish(s, req, lists, kv, i)
        else:
            lists[ROW_RUNNING, kept] = i
            kept += 1
    s.num_running = kept


@kernel
def finish_evicted(s: Record, req: Array, lists: Array, kv: Kv) -> None:
    """At a boundary: requests preempted at the last one leave the queue if they have all tokens."""
    for position in range(s.num_evicted - 1, -1, -1):
        i = lists[ROW_EVICTED, position]
        r = req[i]
        if r.status != RUNNING and r.generated_tokens == r.target_tokens:
            leave_queue(s, req, i)
            finish(s, req, lists, kv, i)


@kernel
def drop_in_flight(s: Record, r: Record, lists: Array, i: int) -> None:
    """The token in flight of request i, which is leaving, is thrown away."""
    r.generated_tokens -= 1
    if r.first_answer_s > s.now_s:
        r.first_answer_s = math.nan
    for position in range(s.num_late):
        if lists[ROW_LATE, position] == i:
            s.num_late -= 1
            lists[ROW_LATE, position] = lists[ROW_LATE, s.num_late]
            return
    s.flight_tokens -= 1
    s.flight_measured -= r.measured


@kernel
def drop_cancelled(s: Record, req: Array, lists: Array, phases: Array, kv: Kv) -> None:
    """At a boundary: requests whose cancel is due leave the queue or the batch."""
    kept = 0
    for position in range(s.num_running):
        i = lists[ROW_RUNNING, position]
        r = req[i]
        if not r.cancelled:
            lists[ROW_RUNNING, kept] = i
            kept += 1
            continue
        if s.prefix_caching:
            settle(s, req, kv, i, 0)
        in_flight = s.lag > 0 and (r.ending or (r.decoding and not r.stalled))
        if r.decoding:
            stop_decoding(s, r, phases)
        elif r.ending:
            r.ending = 0
            s.num_ending -= 1
        if in_flight:
            drop_in_flight(s, r, lists, i)
        s.reserved_blocks -= blocks_for(s, r.reserve_tokens)
        cancel_now(s, req, kv, i)
    s.num_running = kept
    i = s.wait_head
    while i != NONE:
        following = req[i].next
        if req[i].cancelled:
            leave_queue(s, req, i)
            cancel_now(s, req, kv, i)
        i = following
    s.num_cancelled = 0


@kernel
def cancel_now(s: Record, req: Array, kv: Kv, i: int) -> None:
    """Mark request i, which is out of batch and queue, as cancelled at `now`."""
    leave_kv(s, req, kv, i)
    r = req[i]
    r.status = CANCELLED
    r.finish_s = s.now_s
    s.departed += 1
