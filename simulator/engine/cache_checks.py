"""What must hold of a prefix cache at any time; for tests, and for runs that check themselves."""

from __future__ import annotations

from simulator.engine.extents import bucket_of
from simulator.engine.jit import Array, Record, kernel
from simulator.engine.request import NONE


@kernel
def hashed_blocks_held(pool: Array) -> int:
    """Blocks with a hash that requests hold, each counted once however many hold it."""
    blocks = 0
    for e in range(len(pool)):
        if pool[e].node != NONE and pool[e].refs > 0:
            blocks += pool[e].hi - pool[e].lo
    return blocks


@kernel
def cache_is_sound(c: Record, pool: Array) -> bool:
    """Whether counters, free list and hash chains agree with one another."""
    extents = 0
    idle = 0
    for e in range(len(pool)):
        x = pool[e]
        if x.node == NONE:
            continue
        extents += 1
        idle += x.refs == 0
        if x.lo >= x.hi or x.refs < 0:
            return False
    blocks = 0
    older = NONE
    e = c.oldest
    while e != NONE:
        x = pool[e]
        if x.node == NONE or x.refs != 0 or x.older != older:
            return False
        blocks += x.hi - x.lo
        idle -= 1
        older = e
        e = x.newer
    if c.newest != older or idle != 0 or blocks != c.cached_free:
        return False
    chained = 0
    for k in range(len(pool)):
        e = pool[k].bucket
        last = e
        while e != NONE:
            x = pool[e]
            if x.node == NONE or bucket_of(c, x.node) != k:
                return False
            if x.next != NONE and pool[x.next].previous != e:
                return False
            chained += 1
            last = e
            e = x.next
        if last != NONE and pool[pool[k].bucket].previous != last:
            return False
    if extents != chained or extents + c.extents_left != len(pool):
        return False
    left = 0
    e = c.unused_extent
    while e != NONE:
        left += 1
        e = pool[e].next
    if left != c.extents_left:
        return False
    left = 0
    h = c.unused_hold
    while h != NONE:
        left += 1
        h = pool[h].shallower
    return bool(left == c.holds_left)
