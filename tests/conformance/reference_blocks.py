"""The blocks of the reference engine's KV cache, every one of them an object (6).

Numbers in brackets are sections of ../shared/data/vllm_schedules/SPEC.md.
"""

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass


@dataclass(eq=False)
class Block:
    """A block of the KV cache."""

    references: int = 0  # requests that hold it
    name: int | None = None  # of all tokens up to its end, while the prefix cache knows it


class BlockPool:
    """All usable blocks, and the prefix cache over them."""

    def __init__(self, usable: int, block_size: int) -> None:
        self.block_size = block_size
        self.free = deque(Block() for _ in range(usable))  # the next to be taken first
        self.cached: dict[int, list[Block]] = {}  # by name; the earliest registered copy first
        self.names: dict[tuple[int | None, tuple[Hashable, ...]], int] = {}

    def names_of(self, tokens: Sequence[Hashable]) -> list[int]:
        """The names of the full blocks of these tokens: equal where all tokens so far are."""
        names: list[int] = []
        before = None
        for end in range(self.block_size, len(tokens) + 1, self.block_size):
            key = (before, tuple(tokens[end - self.block_size : end]))
            before = self.names.setdefault(key, len(self.names))
            names.append(before)
        return names

    def lookup(self, names: Sequence[int]) -> list[Block]:
        """The blocks of the longest start of `names` that is cached."""
        hits: list[Block] = []
        for name in names:
            if name not in self.cached:
                break
            hits.append(self.cached[name][0])
        return hits

    def take(self, hits: Sequence[Block], count: int) -> list[Block]:
        """Hold the blocks found in the cache, and `count` from the front of the free list."""
        for block in hits:
            if block.references == 0:
                self.free.remove(block)
        fresh = [self.free.popleft() for _ in range(count)]
        for block in fresh:
            self.forget(block)
        for block in (*hits, *fresh):
            block.references += 1
        return [*hits, *fresh]

    def forget(self, block: Block) -> None:
        """Take the block out of the prefix cache: it is to hold other tokens."""
        if block.name is not None:
            self.cached[block.name].remove(block)
            if not self.cached[block.name]:
                del self.cached[block.name]
            block.name = None

    def register(self, block: Block, name: int) -> None:
        """Put a full block into the prefix cache; there may be another one of that name."""
        assert block.name is None
        block.name = name
        self.cached.setdefault(name, []).append(block)

    def release(self, blocks: Sequence[Block]) -> None:
        """A request gives its blocks back, the last one first.

        Those that nobody holds any more become free: cached ones are taken last, and the tail of a
        chain before its head; others are taken next.
        """
        nameless, named = [], []
        for block in reversed(blocks):
            block.references -= 1
            if block.references == 0:
                (nameless if block.name is None else named).append(block)
        self.free = deque([*nameless, *self.free, *named])
