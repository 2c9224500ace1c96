"""One replica's cache, driven twice: by runs of blocks, and block by block as vLLM does it.

A `Scenario` holds requests of given content, admits, runs, preempts and finishes them as a
scheduler could, and compares everything that can be seen of the two caches.
"""

import numpy as np

from simulator.engine.content import content_paths
from simulator.prefix import PromptSegments

from ..conformance.caches import BlockCache, RunCache, check, do_evict


def stream(i, prompt, outputs, generated):
    """The tokens of request i, (segment, offset) each."""
    tokens = [(segment, k) for segment, length in prompt for k in range(length)]
    for segment, length in zip(outputs, generated, strict=True):
        name = segment if segment >= 0 else -1 - i
        begun = [token[1] for token in tokens if token[0] == name]
        first = begun[-1] + 1 if begun else 0
        tokens += [(name, first + k) for k in range(length)]
    return tokens


def tree_of(prompts, outputs, generated, block_size):
    """`ContentPaths` of requests given as lists."""
    segments = PromptSegments.from_lists(prompts, np.array(outputs, dtype=np.int64))
    thinking, answer = np.array(generated, dtype=np.int64).T.copy()
    return content_paths(segments, segments.prompt_tokens(), thinking, answer, block_size)


class Scenario:
    """Requests and both caches; an operation that cannot be carried out does nothing.

    prompts: [(segment, tokens), ...] of each request; outputs, generated: segments and tokens of
    thinking and answer. `lazy`, `pool_size` as for `RunCache`; `crowded`: all in one hash chain.
    """

    def __init__(
        self,
        prompts,
        outputs,
        generated,
        block_size,
        usable_blocks,
        *,
        lazy=False,
        pool_size=64,
        crowded=False,
    ):
        self.size, self.usable = block_size, usable_blocks
        self.streams = [
            stream(i, *each) for i, each in enumerate(zip(prompts, outputs, generated, strict=True))
        ]
        tree = tree_of(prompts, outputs, generated, block_size)
        self.blocks = BlockCache(self.streams, block_size, usable_blocks)
        self.runs = RunCache(tree, usable_blocks, lazy=lazy, pool_size=pool_size)
        if crowded:
            self.runs.state[0]["bucket_shift"] = 32
        self.content = {}  # (node, block) -> hash
        for i in range(len(prompts)):
            block = 0
            for k in range(tree.start[i], tree.start[i + 1]):
                while block < tree.end_block[k]:
                    self.content[int(tree.node[k]), block] = self.blocks.hashes[i][block]
                    block += 1
        self.known = [sum(length for _, length in prompt) for prompt in prompts]  # T
        self.computed = [0] * len(prompts)  # C
        self.running = []
        self.hits = self.shared_hits = self.copies = 0

    @property
    def evictions(self):
        return int(self.runs.state[0]["evicted_blocks"])

    def look(self, i):
        """Look up request i, if it does not run: blocks hit, and those that nobody holds."""
        if i in self.running:
            return 0, 0
        most = max(self.known[i] - 1, 0) // self.size
        hit, idle = self.runs.look_up(i, most)
        assert (hit, idle) == self.blocks.look_up(i, most)
        assert self.runs.runs <= hit
        return hit, idle

    def admit(self, i, tokens):
        """Admit request i with up to `tokens` tokens, if it fits."""
        if i in self.running or self.known[i] == 0:
            return
        hit, idle = self.look(i)
        base = hit * self.size
        n = max(min(tokens, self.known[i] - base), 1)
        new = -(-(base + n) // self.size) - hit
        if new + idle > self.runs.free_blocks:
            return
        self.hits += hit
        self.shared_hits += hit - idle
        self.computed[i] = base + n
        self.running.append(i)
        full = self.computed[i] // self.size
        self.count_copies(i, hit, full)
        for cache in (self.blocks, self.runs):
            cache.admit(i, hit, new, full)

    def run(self, i, tokens):
        """Schedule up to `tokens` more tokens of running request i, preempting the last if short.

        With all its tokens computed it first gets to know one more, if there is one.
        """
        if i not in self.running:
            return
        if self.computed[i] == self.known[i]:
            if self.known[i] == len(self.streams[i]):
                return
            self.known[i] += 1
        n = min(tokens, self.known[i] - self.computed[i])
        new = -(-(self.computed[i] + n) // self.size) - len(self.blocks.held[i])
        while new > self.runs.free_blocks:
            victim = self.running[-1]
            self.leave(victim)
            if victim == i:
                return
        self.computed[i] += n
        full = self.computed[i] // self.size
        self.count_copies(i, self.blocks.full[i], full)
        for cache in (self.blocks, self.runs):
            cache.add(i, new, full)

    def leave(self, i):
        """Running request i gives up its blocks: it has finished or is preempted."""
        if i not in self.running:
            return
        self.running.remove(i)
        self.computed[i] = 0
        for cache in (self.blocks, self.runs):
            cache.release(i)

    def count_copies(self, i, first, full):
        """Blocks that are registered although the cache has them already."""
        hashes = self.blocks.hashes[i]
        self.copies += sum(hashes[k] in self.blocks.pool.copies for k in range(first, full))

    def compare(self):
        """Both caches hold the same, in the same order, for the same requests."""
        runs, blocks = self.runs, self.blocks
        do_evict(runs.state, runs.pool, runs.free_blocks)
        assert runs.free_blocks == blocks.free_blocks
        sound, held = check(runs.state, runs.pool)
        assert sound
        table = runs.table
        registered = table["registered_blocks"].tolist()
        for i in self.running:
            path = runs.paths["end_block"][table["path"][i] :][: table["path_nodes"][i]]
            assert table["path_place"][i] == (path < registered[i]).sum()
        ahead = (table["path_nodes"] - table["path_place"])[self.running]
        assert runs.state[0]["reserved"] == ahead.sum() + 3 * len(self.running)
        unhashed = sum(runs.held[i] - registered[i] for i in self.running)
        assert held + unhashed + runs.free_blocks == self.usable
        pending = {
            id(block)
            for i in self.running
            for block in blocks.held[i][registered[i] : blocks.full[i]]
        }
        wanted, number = {}, {}
        for content, copies in blocks.pool.copies.items():
            kept = [block for block in copies if id(block) not in pending]
            if kept:
                wanted[content] = [block.refs for block in kept]
            for k, block in enumerate(kept):
                number[id(block)] = (content, k)
        copies, free = self.expanded()
        assert copies == wanted
        assert free == [number[id(block)] for block in blocks.pool.free if block.hash is not None]
        assert runs.state[0]["cached_free"] == len(free)
        assert runs.state[0]["evicted_blocks"] == blocks.pool.forgotten

    def expanded(self):
        """Block by block: holders of each copy of each content; free list of (content, copy)."""
        pool, copies, place = self.runs.pool.tolist(), {}, {}
        names = {name: k for k, name in enumerate(self.runs.pool.dtype.names)}
        node, lo, hi, refs, following, newer, bucket = (
            names[name] for name in ("node", "lo", "hi", "refs", "next", "newer", "bucket")
        )
        for record in pool:
            e = record[bucket]
            while e >= 0:
                x = pool[e]
                for block in range(x[lo], x[hi]):
                    content = self.content[x[node], block]
                    found = copies.setdefault(content, [])
                    place[e, block] = (content, len(found))
                    found.append(x[refs])
                e = x[following]
        free = []
        e = int(self.runs.state[0]["oldest"])
        while e >= 0:
            x = pool[e]
            free += [place[e, block] for block in range(x[hi] - 1, x[lo] - 1, -1)]
            e = x[newer]
        return copies, free
