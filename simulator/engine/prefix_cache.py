"""vLLM's prefix cache of one replica, in steps of runs of blocks.

A lookup, an admission or a release costs as much as the runs of blocks it touches, however long
they are. Rules of vLLM 0.33.0, `vllm/v1/core/block_pool.py` and `kv_cache_manager.py`, for one
group of layers: a block is found by the tokens of all blocks up to it; a lookup takes the longest
run of cached blocks, of each the copy registered first; blocks are registered when the iteration
that fills them is scheduled; they are released last block first, and evicted in that order.

The engine counts free blocks, hashed or not, in one number, and passes it to `lookup` and
`release`, which first evict what blocks taken since have overwritten.
"""

from __future__ import annotations

import numpy as np

from simulator.engine.content import ContentPaths
from simulator.engine.extents import (
    append,
    evict_to,
    find,
    new_extent,
    registered_since,
    retire,
    split,
    unlist,
)
from simulator.engine.jit import Array, Record, kernel
from simulator.engine.request import NONE

# Extents that a request may make between two questions for room, above its nodes: one for each call
# of `register`, of which there are at most these (one while it decoded, one when it is scheduled,
# one when it leaves).
_REGISTRATIONS = 3


@kernel
def lookup(
    c: Record, pool: Array, paths: Array, r: Record, most_blocks: int, free_blocks: int
) -> tuple[int, int, int]:
    """How much of request r is cached: blocks hit, blocks of these that nobody holds, runs.

    `most_blocks`: (known tokens - 1) // block_size, as the last token must be computed.
    `free_blocks`: those free at that moment, hashed ones included.
    """
    evict_to(c, pool, free_blocks)
    k = r.path
    block = 0
    idle = 0
    runs = 0
    if r.path_nodes > 0:
        most_blocks = min(most_blocks, paths[r.path + r.path_nodes - 1].end_block)
        while block < most_blocks:
            while paths[k].end_block <= block:
                k += 1
            e = find(c, pool, paths[k].node, block)
            if e == NONE:
                break
            until = min(pool[e].hi, paths[k].end_block, most_blocks)
            if pool[e].refs == 0:
                idle += until - block
            block = until
            runs += 1
    return block, idle, runs


@kernel
def take(c: Record, pool: Array, paths: Array, r: Record, hit_blocks: int) -> None:
    """Request r is admitted: it now holds the blocks that `lookup` just found, if any.

    The caller's free blocks become fewer by those of them that nobody held.
    """
    k = r.path
    block = 0
    while block < hit_blocks:
        while paths[k].end_block <= block:
            k += 1
        e = find(c, pool, paths[k].node, block)
        until = min(pool[e].hi, paths[k].end_block, hit_blocks)
        if pool[e].lo < block:
            split(c, pool, e, block)
        if until < pool[e].hi:
            e = split(c, pool, e, until)
        if pool[e].refs == 0:
            unlist(c, pool, e)
            c.cached_free -= until - block
        pool[e].refs += 1
        hold(c, pool, r, e)
        block = until
    r.registered_blocks = block
    r.path_place = k - r.path
    c.reserved += r.path_nodes - r.path_place + _REGISTRATIONS


@kernel
def hold(c: Record, pool: Array, r: Record, e: int) -> None:
    """Request r, which holds all blocks before extent e, holds e too."""
    x = pool[e]
    if r.hold != NONE and pool[r.hold].extent == x.before:
        pool[r.hold].extent = e
        return
    h = c.unused_hold
    if h == NONE:
        raise RuntimeError("the prefix cache has no record left")
    c.unused_hold = pool[h].shallower
    c.holds_left -= 1
    pool[h].extent = e
    pool[h].begin = x.lo
    pool[h].shallower = r.hold
    r.hold = h


@kernel
def register(c: Record, pool: Array, paths: Array, r: Record, blocks: int) -> None:
    """The first `blocks` blocks of request r are full, of known tokens, and carry a hash from now.

    Those that do already are left alone.
    """
    block: int = r.registered_blocks
    if block >= blocks:
        return
    place: int = r.path_place
    while block < blocks:
        while paths[r.path + place].end_block <= block:
            place += 1
        until = min(blocks, paths[r.path + place].end_block)
        extend(c, pool, r, paths[r.path + place].node, block, until)
        block = until
    c.reserved -= place - r.path_place
    r.path_place = place
    r.registered_blocks = block


@kernel
def extend(c: Record, pool: Array, r: Record, node: int, lo: int, hi: int) -> None:
    """Register blocks lo to hi - 1 of `node`, which request r has just filled."""
    last: int = NONE
    if r.hold != NONE:
        last = pool[r.hold].extent
        x = pool[last]
        alone = x.refs == 1 and x.node == node
        if alone and not registered_since(pool, last, NONE, lo, hi):
            x.hi = hi
            return
    e = new_extent(c, pool, node, lo, hi, 1)
    pool[e].before = last
    append(c, pool, e)
    hold(c, pool, r, e)


@kernel
def release(c: Record, pool: Array, r: Record, held_blocks: int, free_blocks: int) -> int:
    """Request r gives back its `held_blocks` blocks, last block first: the free blocks then.

    What it has filled must have been registered.
    """
    evict_to(c, pool, free_blocks)
    cached = c.cached_free
    h = r.hold
    while h != NONE:
        begin = pool[h].begin
        e = pool[h].extent
        while True:
            x = pool[e]
            last = x.lo == begin
            before = x.before
            x.refs -= 1
            if x.refs == 0:
                retire(c, pool, e)
            if last:
                break
            e = before
        shallower = pool[h].shallower
        pool[h].shallower = c.unused_hold
        c.unused_hold = h
        c.holds_left += 1
        h = shallower
    free: int = free_blocks + held_blocks - r.registered_blocks + c.cached_free - cached
    c.reserved -= r.path_nodes - r.path_place + _REGISTRATIONS
    r.hold = NONE
    r.registered_blocks = 0
    r.path_place = 0
    return free


@kernel
def room_to_run(c: Record) -> bool:
    """Whether no registration of the requests admitted so far can exhaust the pool.

    To be asked before the first one at each boundary; if not, `grown` makes room.
    """
    enough: bool = min(c.extents_left, c.holds_left) >= c.reserved
    return enough


@kernel
def room_to_admit(c: Record, r: Record, runs: int) -> bool:
    """Whether the pool suffices to `take` what `lookup` found in `runs` runs, and to run on."""
    need = c.reserved + 2 * runs + r.path_nodes + _REGISTRATIONS
    enough: bool = min(c.extents_left, c.holds_left) >= need
    return enough


def set_holders(requests: np.ndarray, paths: ContentPaths) -> None:
    """Sets HOLDER_FIELDS of a table of requests, none of which holds anything yet."""
    requests["path"] = paths.start[:-1]
    requests["path_nodes"] = np.diff(paths.start)
    requests["shared_blocks"] = paths.shared_blocks
    requests["path_place"] = requests["registered_blocks"] = 0
    requests["hold"] = NONE
