"""What the kernels show a scheduler, and how its answers come back to them."""

from __future__ import annotations

import math

import numpy as np

from simulator.engine.addresses import kv_of, lists_of, phases_of
from simulator.engine.admission import admissible_tokens, could_be_admitted, free_for_queue
from simulator.engine.blocks import blocks_for, decoded_tokens, held_blocks
from simulator.engine.decoding import review_iteration
from simulator.engine.jit import Array, Kv, Record, entry, kernel
from simulator.engine.queueing import evict, park
from simulator.engine.request import IN_HOST, NEVER, NEW, NONE, RUNNING, WAITING
from simulator.engine.scheduler import long_threshold
from simulator.engine.spans import reach_s
from simulator.engine.state import PREFILL_FIRST, ROW_RUNNING, STATIC, SWAP
from simulator.engine.waiting import comes_before, next_up, push, remove

# The values of `simulator.schedulers.base.Action`.
KEEP, PARK, RECOMPUTE, OFFLOAD = range(4)

ENDLESS = 1e15  # tokens: as good as never
ROUNDING, RELATIVE_ROUNDING = 1e-6, 1e-12  # above a whole number of tokens by so little is none


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
    """Fill in what can be seen of requests `ids`: int64[3, k] and float64[2, k].

    Output tokens, answer tokens, tokens in the KV cache; time of the first token and of the first
    answer token.
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
        floats[0, j] = r.first_token_s if generated > 0 else math.nan
        floats[1, j] = r.first_answer_s if generated > r.thinking_tokens else math.nan


@entry
def waiting_ids(req: Array, state: Array, ids: Array) -> None:
    """Fill `ids` (int64[num_waiting]) with the waiting requests, in the order of the list."""
    i = state[0].wait_head
    for j in range(len(ids)):
        ids[j] = i
        i = req[i].next


@entry
def due_reviews(req: Array, state: Array, ids: Array) -> int:
    """Fill `ids` with the running requests whose review has come; returns how many.

    All of them must be given a new one.
    """
    s = state[0]
    lists = lists_of(s)
    count = 0
    earliest = NEVER
    for position in range(s.num_running):
        i = lists[ROW_RUNNING, position]
        r = req[i]
        if not r.decoding:
            continue
        if r.review_n <= s.n:
            ids[count] = i
            count += 1
        else:
            earliest = min(earliest, r.review_n)
    s.next_review_n = earliest
    return count


@entry
def take_progress(
    req: Array, state: Array, ids: Array, served: Array, tokens: Array
) -> tuple[int, int]:
    """Fill `served` with those of `ids` that run or have left: `tokens` since this was last called.

    ids, served, tokens: int64[k]. Returns how many are `served`, and how many have not left: those
    are moved to the front of `ids`.
    """
    s = state[0]
    count = here = 0
    for j in range(len(ids)):
        i = ids[j]
        r = req[i]
        if r.status <= RUNNING:
            ids[here] = i
            here += 1
        if r.status == NEW:
            continue
        generated = seen_tokens(s, r)
        if r.status != WAITING or generated > r.reported_tokens:
            served[count] = i
            tokens[count] = generated - r.reported_tokens
            count += 1
            r.reported_tokens = generated
    return count, here


@entry
def set_reviews(req: Array, state: Array, ids: Array, more: Array, times_s: Array) -> int:
    """The scheduler will be asked about `ids` in `more` tokens (float64[k]), or at `times_s`.

    A time that has come is none. Returns how many have one; -1 if a number of tokens is none.
    """
    s = state[0]
    timed = 0
    for j in range(len(ids)):
        r = req[ids[j]]
        r.review_tokens = NEVER
        if math.isnan(more[j]):
            return -1
        if more[j] < ENDLESS:
            whole = math.ceil(more[j] - ROUNDING - RELATIVE_ROUNDING * abs(more[j]))
            r.review_tokens = seen_tokens(s, r) + int(max(whole, 1))
        if times_s[j] <= reach_s(s.now_s):
            times_s[j] = math.inf
        timed += times_s[j] < math.inf
        r.review_s = times_s[j]
        if r.decoding:
            generated = r.generated_tokens
            r.generated_tokens = decoded_tokens(s, r)
            if r.review_n == s.next_review_n:
                s.next_review_n = -1
            r.review_n = max(review_iteration(s, r), s.n + 1)
            r.generated_tokens = generated
            if s.next_review_n >= 0:
                s.next_review_n = min(s.next_review_n, r.review_n)
    return timed


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


@kernel
def head_fits_without(
    s: Record, req: Array, phases: Array, kv: Kv, gone: Array, budget: int
) -> bool:
    """Whether the first of the queue could be admitted now, if `gone` (int64[k]) left the batch.

    `budget`: tokens of the iteration that decodes do not take.
    """
    running, reserved = s.num_running, s.reserved_blocks
    free = free_for_queue(s, phases)
    for j in range(len(gone)):
        r = req[gone[j]]
        s.num_running -= 1
        s.reserved_blocks -= blocks_for(s, r.reserve_tokens)
        if r.decoding:
            budget += 1
            free += blocks_for(s, s.n + r.offset + 1)  # with what it would take now
        else:
            free += blocks_for(s, r.computed_tokens)
    fits = head_fits(s, req, kv, free, budget)
    s.num_running, s.reserved_blocks = running, reserved
    return fits


@kernel
def head_fits(s: Record, req: Array, kv: Kv, free: int, budget: int) -> bool:
    """Whether the first of the queue could be admitted now, were `free` blocks free."""
    s.budget_left = budget
    return could_be_admitted(s, req, kv, free, long_threshold(s))


@kernel
def anyone_fits(s: Record, req: Array, kv: Kv, free: int) -> bool:
    """Whether any who wait could be admitted with `free` blocks, were it the first of the queue."""
    if s.batching == STATIC:
        return bool(s.num_running == 0)
    if s.num_running >= s.seat_limit:
        return False
    budget = s.max_num_batched_tokens
    if s.batching != PREFILL_FIRST:
        budget -= s.num_decodes
    threshold = long_threshold(s)
    i = s.wait_head
    while i != NONE:
        room = free + s.parked_blocks - held_blocks(s, req[i])
        if admissible_tokens(s, req, kv, i, budget, room, threshold, False) > 0:
            return True
        i = req[i].next
    return False


@entry
def head_would_fit(req: Array, state: Array, gone: Array) -> bool:
    """Whether the first of the queue could be admitted now, if `gone` (int64[k]) left the batch."""
    s = state[0]
    budget = s.max_num_batched_tokens - s.num_decodes
    return bool(head_fits_without(s, req, phases_of(s), kv_of(s), gone, budget))


@entry
def head_of_queue(state: Array) -> int:
    """The waiting request that is admitted next; NONE if none waits."""
    return next_up(state[0])


@entry
def put_off(req: Array, state: Array, i: int, action: int) -> None:
    """Running request i gives up its seat; what becomes of its KV cache is an `Action`."""
    s = state[0]
    lists, phases, kv = lists_of(s), phases_of(s), kv_of(s)
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


@entry
def yield_seats(
    req: Array,
    state: Array,
    ids: Array,
    ranks: Array,
    actions: Array,
) -> int:
    """Of running requests `ids` that would give up their seats, those do that others come before.

    ids, ranks, actions: int64[k], float64[k], int64[k], sorted here, the last in rank first. The
    last gives its seat to the first of the queue, if that ranks before it, the last but one to the
    second, and so on; more do where the first needs the KV of several. If it would not fit even so,
    nobody does. Returns how many do: the first so many of `ids`.
    """
    s = state[0]
    phases, kv = phases_of(s), kv_of(s)
    count = len(ids)
    for j in range(count):
        i, rank, action = ids[j], ranks[j], actions[j]
        req[i].rank = rank
        place = j
        while place > 0 and comes_before(req, ids[place - 1], i):
            ids[place], ranks[place] = ids[place - 1], ranks[place - 1]
            actions[place] = actions[place - 1]
            place -= 1
        ids[place], ranks[place], actions[place] = i, rank, action
    best = np.empty(count, dtype=np.int64)  # of those who wait, in their order
    found = 0
    i = s.wait_head
    while i != NONE:
        if found < count or comes_before(req, i, best[found - 1]):
            place = found if found < count else count - 1
            while place > 0 and comes_before(req, i, best[place - 1]):
                best[place] = best[place - 1]
                place -= 1
            best[place] = i
            found = min(found + 1, count)
        i = req[i].next
    leaving = 0
    while leaving < found and comes_before(req, best[leaving], ids[leaving]):
        leaving += 1
    budget = s.max_num_batched_tokens - s.num_decodes
    needed = min(leaving, 1)
    while not head_fits_without(s, req, phases, kv, ids[:needed], budget):
        needed += 1
        if needed > count or not comes_before(req, best[0], ids[needed - 1]):
            return 0
    leaving = max(leaving, needed)
    for j in range(leaving):
        put_off(req, state, ids[j], actions[j])
    return leaving
