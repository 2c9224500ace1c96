"""A prefix cache twice, behind one interface: one object a block, and the engine's kernels.

Both answer what a scheduler asks, so that either can serve it, or both be compared.
"""

import numpy as np

from simulator.engine.cache_checks import cache_is_sound, hashed_blocks_held
from simulator.engine.cache_pool import grown, new_pool
from simulator.engine.extents import CACHE_FIELDS
from simulator.engine.jit import entry
from simulator.engine.prefix_cache import (
    evict_to,
    lookup,
    register,
    release,
    room_to_admit,
    room_to_run,
    set_holders,
    take,
)
from simulator.engine.request import HOLDER_FIELDS

from .block_pool import BlockPool

CACHE = np.dtype(CACHE_FIELDS)
HOLDER = np.dtype(HOLDER_FIELDS, align=True)


@entry
def do_lookup(state, pool, paths, table, i, most, free):
    return lookup(state[0], pool, paths, table[i], most, free)


@entry
def do_take(state, pool, paths, table, i, hit, free):
    take(state[0], pool, paths, table[i], hit)
    evict_to(state[0], pool, free)


@entry
def do_register(state, pool, paths, table, i, full):
    register(state[0], pool, paths, table[i], full)


@entry
def do_release(state, pool, table, i, held, free):
    return release(state[0], pool, table[i], held, free)


@entry
def do_evict(state, pool, free):
    evict_to(state[0], pool, free)


@entry
def ask_room(state, table, i, runs):
    return room_to_run(state[0]), room_to_admit(state[0], table[i], runs)


@entry
def check(state, pool):
    return cache_is_sound(state[0], pool), hashed_blocks_held(pool)


class BlockCache:
    """Requests' blocks, one by one. `streams`: the tokens of each request, any hashable values."""

    def __init__(self, streams, block_size, usable_blocks):
        numbers = {}
        self.size = block_size
        self.hashes = []
        for tokens in streams:
            chain = [-1]
            for end in range(block_size, len(tokens) + 1, block_size):
                block = (chain[-1], tuple(tokens[end - block_size : end]))
                chain.append(numbers.setdefault(block, len(numbers)))
            self.hashes.append(chain[1:])
        self.pool = BlockPool(usable_blocks)
        self.held = [[] for _ in streams]
        self.full = [0] * len(streams)

    @property
    def free_blocks(self):
        return len(self.pool.free)

    def look_up(self, i, most_blocks):
        """Blocks hit, and how many of them nobody holds."""
        hits = self.pool.lookup(self.hashes[i][:most_blocks])
        return len(hits), sum(block.refs == 0 for block in hits)

    def admit(self, i, hit_blocks, new_blocks, full_blocks):
        """Request i gets a hit just looked up, new blocks, and `full_blocks` are registered."""
        hits = self.pool.lookup(self.hashes[i][:hit_blocks])
        self.pool.touch(hits)
        self.held[i] = hits
        self.full[i] = hit_blocks
        self.add(i, new_blocks, full_blocks)

    def add(self, i, new_blocks, full_blocks):
        """Request i gets more blocks; of all it has the first `full_blocks` are registered."""
        self.held[i] += self.pool.allocate(new_blocks)
        for block in range(self.full[i], full_blocks):
            self.pool.register(self.held[i][block], self.hashes[i][block])
        self.full[i] = max(self.full[i], full_blocks)

    def release(self, i):
        """Request i gives back all its blocks."""
        self.pool.release(self.held[i])
        self.held[i], self.full[i] = [], 0


class RunCache:
    """The same by the engine's kernels, over the paths of `tree` (`ContentPaths`).

    `lazy`: decoded blocks that no other request can have are registered when they are released.
    """

    def __init__(self, tree, usable_blocks, *, lazy=True, pool_size=64):
        self.state = np.zeros(1, dtype=CACHE)
        self.pool = new_pool(self.state[0], pool_size)
        self.paths = tree.table
        self.table = np.zeros(len(tree), dtype=HOLDER)
        set_holders(self.table, tree)
        self.lazy = lazy
        self.free_blocks = usable_blocks
        self.held = [0] * len(tree)
        self.full = [0] * len(tree)
        self.runs = 0

    def look_up(self, i, most_blocks):
        hit, idle, self.runs = do_lookup(
            self.state, self.pool, self.paths, self.table, i, most_blocks, self.free_blocks
        )
        return hit, idle

    def admit(self, i, hit_blocks, new_blocks, full_blocks):
        _, idle = self.look_up(i, hit_blocks)
        while not ask_room(self.state, self.table, i, self.runs)[1]:
            self.grow()
        self.free_blocks -= idle + new_blocks
        self.held[i] = hit_blocks + new_blocks
        self.full[i] = full_blocks
        do_take(self.state, self.pool, self.paths, self.table, i, hit_blocks, self.free_blocks)
        self._register(i)

    def add(self, i, new_blocks, full_blocks):
        self.make_room()
        self.free_blocks -= new_blocks
        self.held[i] += new_blocks
        self.full[i] = max(self.full[i], full_blocks)
        self._register(i)

    def release(self, i):
        if not self.held[i]:
            return
        self.make_room()
        do_register(self.state, self.pool, self.paths, self.table, i, self.full[i])
        self.free_blocks = do_release(
            self.state, self.pool, self.table, i, self.held[i], self.free_blocks
        )
        self.held[i] = self.full[i] = 0

    def _register(self, i):
        full = self.full[i]
        if self.lazy:
            full = min(full, int(self.table["shared_blocks"][i]))
        do_register(self.state, self.pool, self.paths, self.table, i, full)

    def make_room(self):
        while not ask_room(self.state, self.table, 0, 0)[0]:
            self.grow()

    def grow(self):
        self.pool = grown(self.state[0], self.pool)
