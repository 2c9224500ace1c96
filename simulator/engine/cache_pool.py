"""The records of a prefix cache: how they begin, and how there come to be more."""

from __future__ import annotations

import numpy as np

from simulator.engine.extents import POOL, append
from simulator.engine.jit import Array, Record, entry
from simulator.engine.request import NONE

MIN_POOL = 64


def new_pool(c: np.void, size: int = MIN_POOL) -> np.ndarray:
    """Sets the fields of `c` (a record with CACHE_FIELDS) to those of an empty cache: POOL[size].

    `size` is a power of 2.
    """
    pool = np.zeros(size, dtype=POOL)
    for field in ("node", "before", "bucket", "extent"):
        pool[field] = NONE
    _link_unused(pool, 0)
    c["cached_free"] = c["evicted_blocks"] = c["reserved"] = 0
    c["oldest"] = c["newest"] = NONE
    c["unused_extent"] = c["unused_hold"] = 0
    c["extents_left"] = c["holds_left"] = size
    c["bucket_shift"] = 32 - (size.bit_length() - 1)
    return pool


def grown(c: np.void, pool: np.ndarray) -> np.ndarray:
    """The pool with room for twice as many; `c` is brought up to date. Nothing else changes."""
    size = len(pool)
    bigger = np.zeros(2 * size, dtype=POOL)
    bigger[:size] = pool
    bigger["bucket"] = NONE
    bigger["node"][size:] = NONE
    _link_unused(bigger, size)
    bigger["next"][-1] = c["unused_extent"]
    bigger["shallower"][-1] = c["unused_hold"]
    c["unused_extent"] = c["unused_hold"] = size
    c["extents_left"] += size
    c["holds_left"] += size
    c["bucket_shift"] -= 1
    _rehash(c, bigger, pool["bucket"].copy())
    return bigger


def _link_unused(pool: np.ndarray, first: int) -> None:
    """Chain the unused records from `first` to the end."""
    following = np.arange(first + 1, len(pool) + 1, dtype=np.int32)
    following[-1] = NONE
    pool["next"][first:] = following
    pool["shallower"][first:] = following


@entry
def _rehash(c: Record, pool: Array, buckets: Array) -> None:
    """Move all hash chains, each in its order, from the old buckets to those of the pool."""
    for k in range(len(buckets)):
        e = buckets[k]
        while e != NONE:
            following = pool[e].next
            append(c, pool, e)
            e = following
