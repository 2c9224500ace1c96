"""When the engine registers, finds and gives back blocks of the prefix cache.

Rules of vLLM 0.33.0: full blocks of known tokens are registered when an iteration is scheduled;
under async scheduling a decode's token is known one iteration later. What a decoding request has
filled is registered late here, before anybody can look for it, in one run.
"""

from __future__ import annotations

from simulator.engine.blocks import known_tokens
from simulator.engine.jit import Array, Kv, Record, kernel
from simulator.engine.prefix_cache import lookup, register
from simulator.engine.request import NOTHING
from simulator.engine.state import KV_PATHS, KV_POOL, ROW_RUNNING, ROW_TOKENS
from simulator.engine.waiting import next_up


@kernel
def settle(s: Record, req: Array, kv: Kv, i: int, scheduled: int) -> None:
    """Register what request i, which runs, has filled by now.

    `scheduled`: tokens that it has been given in the iteration being decided. What a prefill fills
    has been registered when it was scheduled.
    """
    r = req[i]
    if r.decoding:
        tokens = s.n + r.offset + scheduled - (s.lag > 0 and not r.stalled)
    elif r.ending:
        tokens = r.computed_tokens - 1
    else:
        return
    register(s, kv[KV_POOL], kv[KV_PATHS], r, tokens // s.block_size)


@kernel
def settle_shared(s: Record, req: Array, lists: Array, kv: Kv, decided: bool) -> None:
    """Register what running requests have filled and another request could look for.

    `decided`: with the iteration being decided, of which they have got their tokens.
    """
    for position in range(s.num_running - s.num_admitted):
        i = lists[ROW_RUNNING, position]
        r = req[i]
        if r.registered_blocks < r.shared_blocks:
            scheduled = 0
            if decided:
                scheduled = 1 if s.pure else min(lists[ROW_TOKENS, position], 1)
            settle(s, req, kv, i, scheduled)


@kernel
def head_may_hit_more(s: Record, req: Array, lists: Array, kv: Kv) -> bool:
    """Whether a running request is filling the very blocks that the head of the queue lacks."""
    i = next_up(s)
    r = req[i]
    if r.keeps != NOTHING:
        return False
    paths = kv[KV_PATHS]
    most = (known_tokens(r) - 1) // s.block_size
    hit, _, _ = lookup(s, kv[KV_POOL], paths, r, most, s.free_blocks)
    if hit >= min(most, r.shared_blocks):
        return False
    k = r.path
    while paths[k].end_block <= hit:
        k += 1
    node = paths[k].node
    for position in range(s.num_running):
        other = req[lists[ROW_RUNNING, position]]
        if other.registered_blocks < other.shared_blocks:
            for j in range(other.path + other.path_place, other.path + other.path_nodes):
                if paths[j].node == node:
                    return True
    return False
