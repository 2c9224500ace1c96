"""Which blocks of KV cache two requests would share: a tree over the tokens of all of them.

A request's stream is its prompt and then what it generates. The streams, cut into whole blocks,
make a radix tree: a node is a run of blocks, and nodes end only where streams part. Whether two
requests share a block is then a comparison of two numbers, and a long run costs no more than one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from simulator.engine.content_tree import content_tree, stream_pieces
from simulator.engine.jit import Array, entry
from simulator.engine.request import NONE
from simulator.prefix import PromptSegments

PATH = np.dtype([("node", "i4"), ("end_block", "i4")], align=True)


@dataclass(frozen=True, eq=False)
class ContentPaths:
    """Where the blocks of each request lie in the tree.

    start: int64[n + 1]. node, end_block: int64[m]. Request i's known tokens, in whole blocks, run
    through the nodes `node[start[i]:start[i + 1]]`; the j-th of them ends, exclusively, at block
    `end_block[j]` of the request; the first begins at block 0. Two requests share a block if and
    only if they run through the same node there.
    shared_blocks: int64[n], how many blocks of request i, from the first, another request has too.
    num_nodes: nodes are numbered from 0 to this.
    """

    start: NDArray[np.int64]
    node: NDArray[np.int64]
    end_block: NDArray[np.int64]
    shared_blocks: NDArray[np.int64]
    num_nodes: int

    def __len__(self) -> int:
        return len(self.start) - 1

    @cached_property
    def table(self) -> NDArray[np.void]:
        """`node` and `end_block` as the kernels take them, PATH[m]."""
        table = np.empty(len(self.node), dtype=PATH)
        table["node"], table["end_block"] = self.node, self.end_block
        return table


def content_paths(
    segments: PromptSegments | None,
    prompt_tokens: NDArray[np.int64],
    thinking_tokens: NDArray[np.int64],
    answer_tokens: NDArray[np.int64],
    block_size: int,
) -> ContentPaths:
    """The tree of the streams of n requests; all columns int64[n], in tokens.

    `segments` None: no request shares anything. Raises ValueError if the segments of a prompt do
    not add up to its tokens, or a stream has 2^31 tokens or more.
    """
    total = prompt_tokens + thinking_tokens + answer_tokens
    n = len(total)
    if n and total.max() >= 2**31:
        raise ValueError("a request has 2^31 tokens or more")
    blocks = total // block_size
    if segments is None:
        present = blocks > 0
        start = np.concatenate(([0], np.cumsum(present))).astype(np.int64)
        node = np.arange(start[-1], dtype=np.int64)
        unshared = np.zeros(n, dtype=np.int64)
        return ContentPaths(start, node, blocks[present], unshared, len(node))
    if len(segments) != n or (segments.prompt_tokens() != prompt_tokens).any():
        raise ValueError("segments: must add up to prompt_tokens")
    first_piece, segment, offset, end = stream_pieces(
        segments.start,
        segments.segment_id,
        segments.tokens,
        segments.output_id,
        thinking_tokens,
        answer_tokens,
        segments.highest_id + 1,
    )
    nodes, count, leaf = content_tree(
        first_piece, segment, offset, end, blocks, block_size, _hash_bits(n)
    )
    start, node, end_block, shared = _paths(nodes[:count], leaf, blocks)
    return ContentPaths(start, node, end_block, shared, count)


def _hash_bits(n: int) -> int:
    return max(n - 1, 1).bit_length()


@entry
def _paths(nodes: Array, leaf: Array, blocks: Array) -> tuple[Array, Array, Array, Array]:
    """start, node, end_block and shared_blocks of `ContentPaths`."""
    n = len(leaf)
    start = np.zeros(n + 1, dtype=np.int64)
    for c in range(len(nodes)):
        nodes[c].deepest = nodes[c].second = nodes[c].lo
    for i in range(n):
        c = leaf[i]
        while c != NONE and nodes[c].lo >= blocks[i]:  # split since: the stream ends above
            c = nodes[c].parent
        leaf[i] = c
        if c != NONE:
            d = nodes[c]
            if blocks[i] > d.deepest:
                d.second = d.deepest
                d.deepest = blocks[i]
            elif blocks[i] > d.second:
                d.second = blocks[i]
        while c != NONE:
            start[i + 1] += 1
            c = nodes[c].parent
        start[i + 1] += start[i]
    node = np.empty(start[n], dtype=np.int64)
    end_block = np.empty(start[n], dtype=np.int64)
    shared = np.zeros(n, dtype=np.int64)
    for i in range(n):
        c = leaf[i]
        if c != NONE:
            d = nodes[c]
            alone = not d.inner and blocks[i] == d.deepest
            shared[i] = d.second if alone else blocks[i]
        at = start[i + 1]
        until = blocks[i]
        while c != NONE:
            at -= 1
            node[at] = c
            end_block[at] = until
            until = nodes[c].lo
            c = nodes[c].parent
    return start, node, end_block, shared
