"""vLLM's block pool, one object a block: what the run-based prefix cache must be equal to.

Rules: vLLM 0.33.0, as written down in ../shared/data/vllm_schedules/SPEC.md, section 6. It shares
no code with `simulator.engine`. A block's hash may be any hashable value that stands for the tokens
of the block and of all blocks before it.
"""

from collections import deque


class Block:
    """One physical block; without a hash it cannot be found."""

    def __init__(self):
        self.refs = 0
        self.hash = None


class BlockPool:
    """Free list and hash map of the usable blocks."""

    def __init__(self, usable_blocks):
        self.free = deque(Block() for _ in range(usable_blocks))
        self.copies = {}  # hash -> its blocks, in order of registration
        self.forgotten = 0  # hashes lost

    def lookup(self, hashes):
        """The longest run of cached blocks from the first, of each the copy registered first."""
        hits = []
        for each in hashes:
            if each not in self.copies:
                break
            hits.append(self.copies[each][0])
        return hits

    def touch(self, blocks):
        """One more request holds these blocks."""
        for block in blocks:
            if block.refs == 0:
                self.free.remove(block)
            block.refs += 1

    def allocate(self, count):
        """Blocks from the front of the free list; what they held is lost."""
        blocks = [self.free.popleft() for _ in range(count)]
        for block in blocks:
            self.forget(block)
            block.refs = 1
        return blocks

    def forget(self, block):
        """A block taken for new use leaves the cache."""
        if block.hash is not None:
            copies = self.copies[block.hash]
            copies.remove(block)
            if not copies:
                del self.copies[block.hash]
            block.hash = None
            self.forgotten += 1

    def register(self, block, block_hash):
        """The block is full."""
        assert block.hash is None
        block.hash = block_hash
        self.copies.setdefault(block_hash, []).append(block)

    def release(self, blocks):
        """A request gives back its blocks, which are in its order."""
        unhashed = []
        for block in reversed(blocks):
            block.refs -= 1
            if block.refs > 0:
                continue
            if block.hash is None:
                unhashed.append(block)
            else:
                self.free.append(block)
        self.free.extendleft(reversed(unhashed))
