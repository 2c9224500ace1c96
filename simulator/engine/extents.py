"""Runs of cached blocks: where they are found, split, joined and evicted.

An *extent* is a run of physical blocks that hold consecutive blocks of one node of content, all
held by the same number of requests. vLLM keeps a free list of blocks and a hash map of lists of
blocks; here both are lists of extents.

- Hash chain: extents of a node (and of others in its bucket), in the order in which their blocks
  were registered. Of several copies of a block, a lookup takes the first of the chain.
- Free list: extents that nobody holds, least recently released first; of one extent the last block
  goes first. Blocks without a hash come before all of them and are only counted.
"""

from __future__ import annotations

import numpy as np

from simulator.engine.jit import Array, Record, kernel
from simulator.engine.request import NONE

# Three pools of one size: record k is extent k, hold k and the head of bucket k.
POOL = np.dtype(
    [
        ("node", "i4"),  # NONE: unused
        ("lo", "i4"),  # blocks of the request, from `lo` to before `hi`
        ("hi", "i4"),
        ("refs", "i4"),  # requests that hold it
        ("before", "i4"),  # the extent before `lo` of holds that begin earlier
        ("next", "i4"),  # in the hash chain; of unused extents, the next unused one
        ("previous", "i4"),  # ... backwards, from the first round to the last
        ("newer", "i4"),  # in the free list
        ("older", "i4"),
        ("bucket", "i4"),  # first extent of the bucket
        ("extent", "i4"),  # hold: blocks `begin` to the end of `extent`, through `before`
        ("begin", "i4"),
        ("shallower", "i4"),  # the hold before it; of unused holds, the next unused one
    ],
    align=True,
)

# What a cache counts, in a record that may have other fields too.
CACHE_FIELDS = [
    ("cached_free", "i8"),  # blocks that carry a hash and that nobody holds
    ("evicted_blocks", "i8"),  # hashes lost so far
    ("oldest", "i8"),  # ends of the free list
    ("newest", "i8"),
    ("unused_extent", "i8"),
    ("unused_hold", "i8"),
    ("extents_left", "i8"),
    ("holds_left", "i8"),
    ("reserved", "i8"),  # records that the running requests may still need
    ("bucket_shift", "i8"),
]

_FEW = 8  # extents looked at before a join is given up: joining saves work, and is never needed


@kernel
def bucket_of(c: Record, node: int) -> int:
    """Fibonacci hashing: the upper bits of the lower 32."""
    slot: int = ((node * 2654435769) & 0xFFFFFFFF) >> c.bucket_shift
    return slot


@kernel
def find(c: Record, pool: Array, node: int, block: int) -> int:
    """The first-registered extent that has `block` of `node`, or NONE.

    It is the first-registered of all its blocks from there on. For whoever held a block held copies
    of those before it that were registered earlier, and released them later: while a copy of a
    block is there, so is an earlier one of each block before it.
    """
    e: int = pool[bucket_of(c, node)].bucket
    while e != NONE:
        x = pool[e]
        if x.node == node and x.lo <= block < x.hi:
            break
        e = x.next
    return e


@kernel
def append(c: Record, pool: Array, e: int) -> None:
    """Put extent e at the end of its hash chain."""
    x = pool[e]
    b = pool[bucket_of(c, x.node)]
    x.next = NONE
    if b.bucket == NONE:
        b.bucket = e
        x.previous = e
        return
    first = pool[b.bucket]
    x.previous = first.previous
    pool[first.previous].next = e
    first.previous = e


@kernel
def insert_before(c: Record, pool: Array, e: int, behind: int) -> None:
    """Put extent e into the hash chain of extent `behind`, before it."""
    x, y = pool[e], pool[behind]
    b = pool[bucket_of(c, y.node)]
    x.next = behind
    x.previous = y.previous
    y.previous = e
    if b.bucket == behind:
        b.bucket = e
    else:
        pool[x.previous].next = e


@kernel
def unchain(c: Record, pool: Array, e: int) -> None:
    """Take extent e out of its hash chain."""
    x = pool[e]
    b = pool[bucket_of(c, x.node)]
    if x.next != NONE:
        pool[x.next].previous = x.previous
    elif b.bucket != e:
        pool[b.bucket].previous = x.previous
    if b.bucket == e:
        b.bucket = x.next
    else:
        pool[x.previous].next = x.next


@kernel
def new_extent(c: Record, pool: Array, node: int, lo: int, hi: int, refs: int) -> int:
    """An extent in no list yet. `room_to_run` and `room_to_admit` see to it that one is left."""
    e: int = c.unused_extent
    if e == NONE:
        raise RuntimeError("the prefix cache has no record left")
    x = pool[e]
    c.unused_extent = x.next
    c.extents_left -= 1
    x.node = node
    x.lo = lo
    x.hi = hi
    x.refs = refs
    x.before = NONE
    return e


@kernel
def drop_extent(c: Record, pool: Array, e: int) -> None:
    """Give back the record of extent e, which is in no list any more."""
    pool[e].node = NONE
    pool[e].next = c.unused_extent
    c.unused_extent = e
    c.extents_left += 1


@kernel
def insert_newer(c: Record, pool: Array, e: int, older: int) -> None:
    """Put extent e into the free list, to go right after `older`; NONE: before all others."""
    x = pool[e]
    x.older = older
    if older == NONE:
        x.newer = c.oldest
        c.oldest = e
    else:
        x.newer = pool[older].newer
        pool[older].newer = e
    if x.newer == NONE:
        c.newest = e
    else:
        pool[x.newer].older = e


@kernel
def unlist(c: Record, pool: Array, e: int) -> None:
    """Take extent e out of the free list."""
    x = pool[e]
    if x.older == NONE:
        c.oldest = x.newer
    else:
        pool[x.older].newer = x.newer
    if x.newer == NONE:
        c.newest = x.older
    else:
        pool[x.newer].older = x.older


@kernel
def split(c: Record, pool: Array, e: int, at: int) -> int:
    """Cut extent e before block `at`: e keeps what follows, and what precedes is a new extent.

    Holds name their last extent, and reach the new one from there.
    """
    x = pool[e]
    h = new_extent(c, pool, x.node, x.lo, at, x.refs)
    pool[h].before = x.before
    x.lo = at
    x.before = h
    insert_before(c, pool, h, e)
    if x.refs == 0:
        insert_newer(c, pool, h, e)
    return h


@kernel
def registered_since(pool: Array, e: int, until: int, lo: int, hi: int) -> bool:
    """Whether any of the blocks lo to hi - 1 may have been registered after extent e.

    Looks at what follows e in its hash chain, up to extent `until`.
    """
    node = pool[e].node
    e = pool[e].next
    for _ in range(_FEW):
        if e == until:
            return False
        if e == NONE:
            return True
        x = pool[e]
        if x.node == node and x.lo < hi and lo < x.hi:
            return True
        e = x.next
    return True


@kernel
def retire(c: Record, pool: Array, e: int) -> None:
    """Nobody holds extent e any more: it becomes the most recently released.

    If it goes on where the one released before it begins, the two become one.
    """
    x = pool[e]
    c.cached_free += x.hi - x.lo
    deeper: int = c.newest
    if deeper != NONE:
        y = pool[deeper]
        if y.node == x.node and y.lo == x.hi and not registered_since(pool, e, deeper, y.lo, y.hi):
            unchain(c, pool, deeper)
            insert_before(c, pool, deeper, e)
            y.lo = x.lo
            y.before = x.before
            unchain(c, pool, e)
            drop_extent(c, pool, e)
            return
    insert_newer(c, pool, e, deeper)


@kernel
def evict_to(c: Record, pool: Array, free_blocks: int) -> None:
    """Of the hashed blocks that nobody holds, keep no more than there are free blocks at all.

    Blocks taken for new use are the unhashed ones first, then these, least recently released first.
    """
    while c.cached_free > free_blocks:
        e: int = c.oldest
        x = pool[e]
        count = min(x.hi - x.lo, c.cached_free - free_blocks)
        x.hi -= count
        c.cached_free -= count
        c.evicted_blocks += count
        if x.hi == x.lo:
            unlist(c, pool, e)
            unchain(c, pool, e)
            drop_extent(c, pool, e)
