"""Moving a request between waiting, running and gone: queue, seats, blocks and counters."""

from __future__ import annotations

import math

from simulator.engine.jit import Array, Record, kernel
from simulator.engine.request import CANCELLED, COMPLETED, NEVER, NONE, RUNNING, WAITING
from simulator.engine.state import ROW_EVICTED, ROW_FINISHED, ROW_RUNNING


@kernel
def blocks_for(s: Record, tokens: int) -> int:
    """KV blocks that hold `tokens` tokens of one request."""
    size: int = s.block_size
    return (tokens + size - 1) // size


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
def start_decoding(s: Record, r: Record, phases: Array, computed: int) -> None:
    """Request r decodes from now on, `computed` of its tokens being in the cache."""
    r.decoding = 1
    r.offset = computed - s.n
    r.finish_n = s.n + r.target_tokens - r.generated_tokens
    r.answer_n = NEVER
    if r.generated_tokens <= r.thinking_tokens and r.thinking_tokens < r.target_tokens:
        r.answer_n = s.n + r.thinking_tokens + 1 - r.generated_tokens
    phases[-r.offset % s.block_size] += 1
    s.num_decodes += 1
    s.decode_context += computed
    s.num_measured += r.measured
    if s.next_finish_n >= 0:
        s.next_finish_n = min(s.next_finish_n, r.finish_n)
    if s.next_answer_n >= 0:
        s.next_answer_n = min(s.next_answer_n, r.answer_n)


@kernel
def stop_decoding(s: Record, r: Record, phases: Array) -> None:
    """Write a decoding request's progress back into its record and take it off the counters."""
    r.computed_tokens = s.n + r.offset
    r.generated_tokens = r.computed_tokens + 1 - r.prompt_tokens
    r.decoding = 0
    if r.stalled:
        r.stalled = 0
        s.num_stalled -= 1
    phases[-r.offset % s.block_size] -= 1
    s.num_decodes -= 1
    s.decode_context -= r.computed_tokens
    s.num_measured -= r.measured
    if r.finish_n == s.next_finish_n:
        s.next_finish_n = -1
    if r.answer_n == s.next_answer_n:
        s.next_answer_n = -1


@kernel
def stall(s: Record, r: Record, phases: Array) -> None:
    """A decoding request gets no token in this iteration: everything of it comes one later."""
    if not r.stalled:
        r.stalled = 1
        r.last_token_s = s.now_s
        s.num_stalled += 1
    phases[-r.offset % s.block_size] -= 1
    r.offset -= 1
    phases[-r.offset % s.block_size] += 1
    r.finish_n += 1
    if r.answer_n != NEVER:
        r.answer_n += 1
    s.next_finish_n = -1
    s.next_answer_n = -1


@kernel
def admit(s: Record, req: Array, lists: Array, i: int, tokens: int) -> None:
    """Give request i a seat and the blocks for its first `tokens` tokens."""
    unlink(s, req, i)
    r = req[i]
    r.status = RUNNING
    r.computed_tokens = 0
    if math.isnan(r.first_scheduled_s):
        # An arrival within the tolerance after the boundary counts as at it.
        r.first_scheduled_s = max(s.now_s, r.arrival_s)
    elif r.generated_tokens == 0:
        r.lost_prefill_s += s.now_s - r.lost_since_s
        r.lost_since_s = math.nan
    lists[ROW_RUNNING, s.num_running] = i
    s.num_running += 1
    s.num_admitted += 1
    s.free_blocks -= blocks_for(s, tokens)


@kernel
def evict_last(s: Record, req: Array, lists: Array, phases: Array) -> None:
    """Preempt the last admitted request: blocks freed, to be recomputed from zero, next in line."""
    s.num_running -= 1
    i = lists[ROW_RUNNING, s.num_running]
    r = req[i]
    if r.decoding:
        if not r.stalled:
            r.last_token_s = s.now_s
        stop_decoding(s, r, phases)
    s.free_blocks += blocks_for(s, r.computed_tokens)
    r.recomputed_tokens += r.computed_tokens
    r.computed_tokens = 0
    r.preemptions += 1
    s.preemptions += 1
    if math.isnan(r.lost_since_s):
        r.lost_since_s = s.now_s
    lists[ROW_EVICTED, s.num_evicted] = i
    s.num_evicted += 1
    push_front(s, req, i)


@kernel
def finish(s: Record, r: Record, lists: Array, i: int) -> None:
    """A request that has stopped decoding gave its last token at `now`: it leaves."""
    r.status = COMPLETED
    r.finish_s = s.now_s
    s.free_blocks += blocks_for(s, r.computed_tokens)
    lists[ROW_FINISHED, s.num_finished] = i
    s.num_finished += 1
    s.departed += 1


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
        if r.decoding:
            stop_decoding(s, r, phases)
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
