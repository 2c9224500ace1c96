"""Moving a request between waiting, running and gone: queue, seats and blocks."""

from __future__ import annotations

import math

from simulator.engine.decoding import stop_decoding
from simulator.engine.jit import Array, Record, kernel
from simulator.engine.request import CANCELLED, COMPLETED, NEVER, NONE, RUNNING, WAITING
from simulator.engine.state import ROW_EVICTED, ROW_FINISHED, ROW_LATE, ROW_RUNNING


@kernel
def blocks_for(s: Record, tokens: int) -> int:
    """KV blocks that hold `tokens` tokens of one request, in all groups of layers."""
    size: int = s.block_size
    whole = (tokens + size - 1) // size
    if s.kv_groups_window == 0:
        full_only: int = s.kv_groups_full * whole
        return full_only
    inside = min(whole, (s.window_tokens + size - 1) // size)
    blocks: int = s.kv_groups_full * whole + s.kv_groups_window * inside
    return blocks


@kernel
def push_back(s: Record, req: Array, i: int) -> None:
    """Put request i at the end of the waiting queue."""
    r = req[i]
    r.status = WAITING
    r.next = NONE
    r.previous = s.wait_tail
    if s.wait_tail == NONE:
        s.wait_head = i
    else:
        req[s.wait_tail].next = i
    s.wait_tail = i
    s.num_waiting += 1


@kernel
def push_front(s: Record, req: Array, i: int) -> None:
    """Put request i at the head of the waiting queue."""
    r = req[i]
    r.status = WAITING
    r.previous = NONE
    r.next = s.wait_head
    if s.wait_head == NONE:
        s.wait_tail = i
    else:
        req[s.wait_head].previous = i
    s.wait_head = i
    s.num_waiting += 1


@kernel
def unlink(s: Record, req: Array, i: int) -> None:
    """Take request i out of the waiting queue, wherever it stands."""
    r = req[i]
    if r.previous == NONE:
        s.wait_head = r.next
    else:
        req[r.previous].next = r.next
    if r.next == NONE:
        s.wait_tail = r.previous
    else:
        req[r.next].previous = r.previous
    r.next = NONE
    r.previous = NONE
    s.num_waiting -= 1


@kernel
def admit(s: Record, req: Array, lists: Array, i: int, tokens: int) -> None:
    """Give request i a seat and the blocks for its first `tokens` tokens."""
    unlink(s, req, i)
    r = req[i]
    r.status = RUNNING
    r.computed_tokens = 0
    r.answer_n = NEVER
    if math.isnan(r.first_scheduled_s):
        # An arrival within the tolerance after the boundary counts as at it.
        r.first_scheduled_s = max(s.start_s, r.arrival_s)
    elif r.generated_tokens == 0:
        r.lost_prefill_s += s.start_s - r.lost_since_s
        r.lost_since_s = math.nan
    lists[ROW_RUNNING, s.num_running] = i
    s.num_running += 1
    s.num_admitted += 1
    s.free_blocks -= blocks_for(s, tokens)


@kernel
def evict_last(s: Record, req: Array, lists: Array, phases: Array) -> None:
    """Preempt the last admitted request: blocks freed, to be recomputed from zero, next in line.

    A token in flight still comes, as the span starts; it may be the last (see `finish_evicted`).
    """
    s.num_running -= 1
    i = lists[ROW_RUNNING, s.num_running]
    r = req[i]
    if r.decoding:
        if not r.stalled:
            r.last_token_s = s.start_s
        stop_decoding(s, r, phases)
    elif r.ending:
        r.last_token_s = s.start_s
        r.ending = 0
        s.num_ending -= 1
    s.free_blocks += blocks_for(s, r.computed_tokens)
    r.recomputed_tokens += r.computed_tokens
    r.computed_tokens = 0
    r.preemptions += 1
    s.preemptions += 1
    if math.isnan(r.lost_since_s):
        r.lost_since_s = s.start_s
    lists[ROW_EVICTED, s.num_evicted] = i
    s.num_evicted += 1
    push_front(s, req, i)


@kernel
def finish(s: Record, r: Record, lists: Array, i: int) -> None:
    """A request that no longer decodes gave its last token at `now`: it leaves."""
    r.status = COMPLETED
    r.finish_s = s.now_s
    s.free_blocks += blocks_for(s, r.computed_tokens)
    lists[ROW_FINISHED, s.num_finished] = i
    s.num_finished += 1
    s.departed += 1


@kernel
def finish_running(s: Record, req: Array, lists: Array, phases: Array) -> None:
    """At a boundary: running requests leave whose last token is out, or, if foreseen, end."""
    kept = 0
    for position in range(s.num_running):
        i = lists[ROW_RUNNING, position]
        r = req[i]
        done = False
        if r.ending:
            r.ending = 0
            s.num_ending -= 1
            done = True
        elif r.decoding and r.limit_n == s.n:
            stop_decoding(s, r, phases)
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
            done = True
        if done:
            finish(s, r, lists, i)
        else:
            lists[ROW_RUNNING, kept] = i
            kept += 1
    s.num_running = kept


@kernel
def finish_evicted(s: Record, req: Array, lists: Array) -> None:
    """At a boundary: requests preempted at the last one leave the queue if they have all tokens."""
    for position in range(s.num_evicted - 1, -1, -1):
        i = lists[ROW_EVICTED, position]
        r = req[i]
        if r.generated_tokens == r.target_tokens:
            unlink(s, req, i)
            finish(s, r, lists, i)


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
def drop_cancelled(s: Record, req: Array, lists: Array, phases: Array) -> None:
    """At a boundary: requests whose cancel is due leave the queue or the batch."""
    kept = 0
    for position in range(s.num_running):
        i = lists[ROW_RUNNING, position]
        r = req[i]
        if not r.cancelled:
            lists[ROW_RUNNING, kept] = i
            kept += 1
            continue
        in_flight = s.lag > 0 and (r.ending or (r.decoding and not r.stalled))
        if r.decoding:
            stop_decoding(s, r, phases)
        elif r.ending:
            r.ending = 0
            s.num_ending -= 1
        if in_flight:
            drop_in_flight(s, r, lists, i)
        s.free_blocks += blocks_for(s, r.computed_tokens)
        cancel_now(s, r)
    s.num_running = kept
    i = s.wait_head
    while i != NONE:
        following = req[i].next
        if req[i].cancelled:
            unlink(s, req, i)
            cancel_now(s, req[i])
        i = following
    s.num_cancelled = 0


@kernel
def cancel_now(s: Record, r: Record) -> None:
    """Mark a request that holds nothing any more as cancelled at `now`."""
    r.status = CANCELLED
    r.finish_s = s.now_s
    s.departed += 1
