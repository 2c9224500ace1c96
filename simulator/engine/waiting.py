"""The waiting queue: a list in order of arrival and, where a scheduler ranks, a heap beside it.

The list is vLLM's deque: arrivals join at its end, preempted requests at its head. The heap is an
intrusive pairing heap (Fredman, Sedgewick, Sleator, Tarjan: Algorithmica 1, 1986) over (rank,
arrival, row): a request joins in O(1) and leaves, from anywhere, in O(log n) amortised.
"""

from __future__ import annotations

from simulator.engine.jit import Array, Record, kernel
from simulator.engine.request import NONE, ON_GPU, WAITING


@kernel
def join_queue(s: Record, req: Array, i: int, front: bool) -> None:
    """Put request i into the waiting queue: at its end or front and, where ranked, by its rank."""
    r = req[i]
    r.status = WAITING
    r.queued_since_s = max(s.now_s, r.arrival_s)
    if front:
        r.previous = NONE
        r.next = s.wait_head
        if s.wait_head == NONE:
            s.wait_tail = i
        else:
            req[s.wait_head].previous = i
        s.wait_head = i
    else:
        r.next = NONE
        r.previous = s.wait_tail
        if s.wait_tail == NONE:
            s.wait_head = i
        else:
            req[s.wait_tail].next = i
        s.wait_tail = i
    s.num_waiting += 1
    s.waiting_tokens += tokens_without_kv(r)
    if s.ranked:
        push(s, req, i)


@kernel
def leave_queue(s: Record, req: Array, i: int) -> None:
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
    s.waiting_tokens -= tokens_without_kv(r)
    if s.ranked:
        remove(s, req, i)


@kernel
def tokens_without_kv(r: Record) -> int:
    """Known tokens of a waiting request that hold no block on the GPU."""
    held = r.computed_tokens if r.keeps == ON_GPU else 0
    tokens: int = r.prompt_tokens + r.generated_tokens - held
    return tokens


@kernel
def next_up(s: Record) -> int:
    """The waiting request that is admitted next, which blocks all others; NONE if none waits."""
    i: int = s.heap_root if s.ranked else s.wait_head
    return i


@kernel
def comes_before(req: Array, i: int, j: int) -> bool:
    """Whether request i is served before request j: by rank, then arrival, then row."""
    a, b = req[i], req[j]
    if a.rank != b.rank:
        return bool(a.rank < b.rank)
    if a.arrival_s != b.arrival_s:
        return bool(a.arrival_s < b.arrival_s)
    return i < j


@kernel
def push(s: Record, req: Array, i: int) -> None:
    """Put request i, which is in no heap, into the heap."""
    r = req[i]
    r.heap_child = r.heap_next = r.heap_previous = NONE
    s.heap_root = i if s.heap_root == NONE else meld(req, s.heap_root, i)


@kernel
def meld(req: Array, i: int, j: int) -> int:
    """Make one heap of two with the roots i and j; returns its root."""
    if comes_before(req, j, i):
        i, j = j, i
    child = req[i].heap_child
    req[j].heap_next = child
    req[j].heap_previous = i
    if child != NONE:
        req[child].heap_previous = j
    req[i].heap_child = j
    req[i].heap_next = req[i].heap_previous = NONE
    return i


@kernel
def remove(s: Record, req: Array, i: int) -> None:
    """Take request i out of the heap."""
    below = meld_siblings(req, req[i].heap_child)
    if s.heap_root == i:
        s.heap_root = below
        return
    before, after = req[i].heap_previous, req[i].heap_next
    if req[before].heap_child == i:
        req[before].heap_child = after
    else:
        req[before].heap_next = after
    if after != NONE:
        req[after].heap_previous = before
    if below != NONE:
        s.heap_root = meld(req, s.heap_root, below)


@kernel
def meld_siblings(req: Array, first: int) -> int:
    """Make one heap of a list of siblings, in two passes; returns its root, NONE if there is none.

    The first pass links the results of its pairs backwards, by heap_previous.
    """
    done = NONE
    while first != NONE:
        second = req[first].heap_next
        rest = NONE
        pair = first
        if second == NONE:
            req[first].heap_next = req[first].heap_previous = NONE
        else:
            rest = req[second].heap_next
            req[first].heap_next = req[second].heap_next = NONE
            pair = meld(req, first, second)
        req[pair].heap_previous = done
        done = pair
        first = rest
    root = NONE
    while done != NONE:
        before = req[done].heap_previous
        req[done].heap_previous = NONE
        root = done if root == NONE else meld(req, root, done)
        done = before
    return root
