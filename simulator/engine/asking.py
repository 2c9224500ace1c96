"""What the kernels show a scheduler, and how its answers come back to them."""

from __future__ import annotations

import math

from simulator.engine.admission import could_be_admitted
from simulator.engine.blocks import decoded_tokens
from simulator.engine.decoding import review_iteration
from simulator.engine.jit import Array, Kv, Record, entry, kernel
from simulator.engine.queueing import evict, park
from simulator.engine.request import IN_HOST, NONE, RUNNING, WAITING
from simulator.engine.scheduler import long_threshold
from simulator.engine.state import ROW_RUNNING, SWAP
from simulator.engine.waiting import next_up, push, remove

# The values of `simulator.schedulers.base.Action`.
KEEP, PARK, RECOMPUTE, OFFLOAD = range(4)


@kernel
def seen_tokens(s: Record, r: Record) -> int:
    """Output tokens of r that are out: not the one in flight."""
    generated: int = r.generated_tokens
    if r.decoding:
        generated = decoded_tokens(s, r)
    if s.lag > 0:
        if r.status == RUNNING:
            generated -= r.ending or (r.decoding and not r.stalled)
        elif r.status == WAITING and r.last_token_s > s.now_s:
            generated -= 1
    return generated


@entry
def observe(req: Array, state: Array, ids: Array, ints: Array, floats: Array) -> None:
    """Fill in what can be seen of requests `ids`: int64[3, k] and float64[4, k].

    Output tokens, answer tokens, tokens in the KV cache; arrival, time of joining the queue, time
    of the first token and of the first answer token.
    """
    s = state[0]
    for j in range(len(ids)):
        r = req[ids[j]]
        generated = seen_tokens(s, r)
        ints[0, j] = generated
        ints[1, j] = max(generated - r.thinking_tokens, 0)
        ints[2, j] = s.n + r.offset if r.decoding else r.computed_tokens
        if r.keeps == IN_HOST:
            ints[2, j] = 0
        floats[0, j] = r.arrival_s
        floats[1, j] = r.queued_since_s
        floats[2, j] = r.first_token_s if generated > 0 else math.nan
        floats[3, j] = r.first_answer_s if generated > r.thinking_tokens else math.nan


@entry
def waiting_ids(req: Array, state: Array, ids: Array) -> None:
    """Fill `ids` (int64[num_waiting]) with the waiting requests, in the order of the list."""
    i = state[0].wait_head
    for j in range(len(ids)):
        ids[j] = i
        i = req[i].next


@entry
def due_reviews(req: Array, state: Array, lists: Array, ids: Array) -> int:
    """Fill `ids` with the running requests whose review has come; returns how many."""
    s = state[0]
    count = 0
    for position in range(s.num_running):
        i = lists[ROW_RUNNING, position]
        if req[i].decoding and req[i].review_n <= s.n:
            ids[count] = i
            count += 1
    return count


@entry
def set_reviews(req: Array, state: Array, ids: Array, tokens: Array, times_s: Array) -> None:
    """The scheduler will be asked about `ids` again after `tokens` (int64[k]), or at `times_s`."""
    s = state[0]
    for j in range(len(ids)):
        r = req[ids[j]]
        r.review_tokens = tokens[j]
        r.review_s = times_s[j]
        if r.decoding:
            generated = r.generated_tokens
            r.generated_tokens = decoded_tokens(s, r)
            r.review_n = max(review_iteration(s, r), s.n + 1)
            r.generated_tokens = generated
            s.next_review_n = -1


@entry
def set_ranks(req: Array, state: Array, ids: Array, ranks: Array) -> None:
    """Give requests `ids` new `ranks` (float64[k]); those that wait take their new places."""
    s = state[0]
    for j in range(len(ids)):
        i = ids[j]
        waits = s.ranked and req[i].status == WAITING
        if waits:
            remove(s, req, i)
        req[i].rank = ranks[j]
        if waits:
            push(s, req, i)


@entry
def rebuild_ranks(req: Array, state: Array, ids: Array, ranks: Array) -> None:
    """As `set_ranks`, for all requests that wait."""
    s = state[0]
    s.heap_root = NONE
    for j in range(len(ids)):
        req[ids[j]].rank = ranks[j]
        push(s, req, ids[j])


@entry
def head_fits(req: Array, state: Array, phases: Array, kv: Kv) -> bool:
    """Whether the first of the queue could be admitted at this boundary, as things stand."""
    s = state[0]
    s.budget_left = s.max_num_batched_tokens - s.num_decodes
    free = s.free_blocks - phases[s.n % s.block_size]
    return bool(could_be_admitted(s, req, kv, free, long_threshold(s)))


@entry
def head_of_queue(state: Array) -> int:
    """The waiting request that is admitted next; NONE if none waits."""
    return next_up(state[0])


@entry
def put_off(
    req: Array, state: Array, lists: Array, phases: Array, kv: Kv, i: int, action: int
) -> None:
    """Running request i gives up its seat; what becomes of its KV cache is an `Action`."""
    s = state[0]
    for position in range(s.num_running):
        if lists[ROW_RUNNING, position] == i:
            if action == PARK:
                park(s, req, lists, phases, kv, position)
            else:
                mode = s.preemption
                if action == OFFLOAD:
                    s.preemption = SWAP
                evict(s, req, lists, phases, kv, position, 0)
                s.preemption = mode
            return
