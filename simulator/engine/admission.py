"""Whether a waiting request may join the batch, with how many tokens, and at whose expense."""

from __future__ import annotations

from simulator.engine.blocks import blocks_for, cached_prefix, held_blocks, known_tokens
from simulator.engine.jit import Array, Kv, Record, kernel
from simulator.engine.queueing import unpark
from simulator.engine.request import NONE, NOTHING, ON_GPU
from simulator.engine.state import PREFILL_FIRST, STATIC
from simulator.engine.waiting import comes_before, next_up


@kernel
def admissible_tokens(
    s: Record,
    req: Array,
    kv: Kv,
    i: int,
    budget: int,
    free: int,
    threshold: int,
    held: bool,
) -> int:
    """Tokens that waiting request i would get now, with `free` blocks; 0 if it must wait.

    A static batch has room for all that its requests have so far, computed in chunks in any case.
    """
    r = req[i]
    if budget <= 0 or s.num_running >= s.seat_limit:
        return 0
    if s.lag > 0 and s.num_evicted > 0 and r.evicted_n == s.n:  # its last token is in flight
        return 0
    known = known_tokens(r)
    mine = held_blocks(s, r)
    have: int = r.computed_tokens
    if r.keeps == NOTHING and s.prefix_caching:
        have, mine = cached_prefix(s, req, kv, i)
    if held and known - have > 1:
        return 0
    tokens: int = known - have
    if 0 < threshold < tokens:
        tokens = threshold
    static = s.batching == STATIC
    if not s.chunked and not static and tokens > budget:
        return 0
    tokens = min(tokens, budget)
    if s.num_running > 0 and r.keeps != ON_GPU and not static:
        free -= s.watermark_blocks
    if (s.reserve_full_isl or static) and blocks_for(s, min(known, s.max_model_len)) - mine > free:
        return 0
    if blocks_for(s, min(have + tokens, s.max_model_len)) - mine > free:
        return 0
    reserve = blocks_for(s, r.reserve_tokens)
    if reserve > 0 and s.num_running > 0 and s.reserved_blocks + reserve > s.usable_blocks:
        return 0
    return tokens


@kernel
def could_be_admitted(s: Record, req: Array, kv: Kv, free: int, threshold: int) -> bool:
    """Whether the head of the queue could join the batch as it runs, were `free` blocks free."""
    i = next_up(s)
    if s.batching == STATIC:
        return False
    budget = s.max_num_batched_tokens if s.batching == PREFILL_FIRST else s.budget_left
    free += s.parked_blocks - held_blocks(s, req[i])
    return admissible_tokens(s, req, kv, i, budget, free, threshold, False) > 0


@kernel
def free_for_queue(s: Record, phases: Array) -> int:
    """Blocks free when the queue is looked at: after the decodes took theirs, or before."""
    if s.batching == PREFILL_FIRST:
        all_free: int = s.free_blocks
        return all_free
    left: int = s.free_blocks - phases[s.n % s.block_size]
    return left


@kernel
def make_room(s: Record, req: Array, kv: Kv, i: int, budget: int, promised: int) -> int:
    """Blocks free for head i, but for `promised` ones; others without a seat give up theirs.

    They do only if that lets it in.
    """
    reclaimable = s.parked_blocks - held_blocks(s, req[i])
    if reclaimable > 0:
        threshold, held = s.threshold, s.held
        free = s.free_blocks - promised + reclaimable
        if admissible_tokens(s, req, kv, i, budget, free, threshold, held) > 0:
            while admissible_tokens(
                s, req, kv, i, budget, s.free_blocks - promised, threshold, held
            ) == 0 and s.parked_blocks > held_blocks(s, req[i]):
                unpark(s, req, kv, last_parked(s, req, i))
    left: int = s.free_blocks - promised
    return left


@kernel
def last_parked(s: Record, req: Array, but: int) -> int:
    """The waiting request that holds blocks and comes last, `but` excepted."""
    last = NONE
    i = s.wait_head
    while i != NONE:
        if req[i].keeps == ON_GPU and i != but and (last == NONE or comes_before(req, last, i)):
            last = i
        i = req[i].next
    return last
