"""The radix tree of the streams of all requests: runs of blocks, parted where streams part."""

from __future__ import annotations

import numpy as np

from simulator.engine.jit import Array, Record, entry, kernel
from simulator.engine.request import NONE

NODE = np.dtype(
    [
        ("owner", "i4"),  # a request that runs through all of the node, whose tokens describe it
        ("piece", "i4"),  # the owner's piece (from its first) in which the node begins
        ("lo", "i4"),  # blocks of the stream, from `lo` to before `hi`
        ("hi", "i4"),
        ("parent", "i4"),
        ("next", "i4"),  # in the hash chain
        ("inner", "i4"),  # whether streams part at its end
        ("deepest", "i4"),  # of a leaf: where the longest and the next stream end
        ("second", "i4"),
    ],
    align=True,
)


@entry
def stream_pieces(
    start: Array,
    segment_id: Array,
    tokens: Array,
    output_id: Array,
    thinking: Array,
    answer: Array,
    unique: int,
) -> tuple[Array, Array, Array, Array]:
    """The streams as runs of one segment each, as long as can be.

    Piece j holds the tokens from `offset[j]` of `segment[j]`, and ends at token `end[j]` of its
    stream. Equal tokens are equal pieces: there is one way only to cut a stream like this.
    """
    n = len(thinking)
    first_piece = np.empty(n + 1, dtype=np.int64)
    segment = np.empty(len(segment_id) + 2 * n, dtype=np.int64)
    offset = np.empty(len(segment), dtype=np.int32)
    end = np.empty(len(segment), dtype=np.int32)
    m = 0
    for i in range(n):
        first_piece[i] = m
        total = 0
        for j in range(start[i], start[i + 1]):
            total += tokens[j]
            segment[m], offset[m], end[m] = segment_id[j], 0, total
            m += 1
        for part in range(2):
            length = thinking[i] if part == 0 else answer[i]
            if length == 0:
                continue
            total += length
            name = output_id[i, part]
            if name < 0:
                name = unique + i
            j = m - 1
            while j >= first_piece[i] and segment[j] != name:
                j -= 1
            if j == m - 1 and j >= first_piece[i]:
                end[j] = total
                continue
            begins = 0
            if j >= first_piece[i]:
                before = end[j - 1] if j > first_piece[i] else 0
                begins = end[j] - before  # of a prompt's piece, which begins at offset 0
            segment[m], offset[m], end[m] = name, begins, total
            m += 1
    first_piece[n] = m
    return first_piece, segment, offset, end


@kernel
def _same_tokens(
    segment: Array, offset: Array, end: Array, a: int, b: int, a0: int, b0: int, at: int, limit: int
) -> int:
    """Token up to which two streams agree from token `at` on, at most `limit`.

    a, b: the pieces in which they have token `at`; a0, b0: the first pieces of the streams.
    """
    a_begins = end[a - 1] if a > a0 else 0
    b_begins = end[b - 1] if b > b0 else 0
    while at < limit:
        if segment[a] != segment[b] or offset[a] - a_begins != offset[b] - b_begins:
            break
        at = min(end[a], end[b], limit)
        if end[a] == at:
            a_begins = at
            a += 1
        if end[b] == at:
            b_begins = at
            b += 1
    return at


@kernel
def _hash(
    segment: Array, offset: Array, end: Array, j: int, j0: int, at: int, until: int, parent: int
) -> int:
    """A number for the tokens `at` to `until` of a stream after `parent`; j holds token `at`."""
    x = parent + 1
    while at < until:
        begins = end[j - 1] if j > j0 else 0
        stop = min(end[j], until)
        for word in (segment[j], offset[j] + at - begins, stop - at):
            x = (x ^ word) * -7046029254386353131  # 2^64 / golden ratio, modulo 2^64
            x ^= x >> 29
        at = stop
        j += 1
    return x


@kernel
def _piece_at(end: Array, j: int, token: int) -> int:
    """The piece that holds `token`, from piece j on."""
    while end[j] <= token:
        j += 1
    return j


@kernel
def _replace(nodes: Array, heads: Array, slot: int, old: int, new: int) -> None:
    """Put node `new` into the place of `old` in its hash chain."""
    nodes[new].next = nodes[old].next
    if heads[slot] == old:
        heads[slot] = new
        return
    c = heads[slot]
    while nodes[c].next != old:
        c = nodes[c].next
    nodes[c].next = new


@kernel
def _fill(d: Record, owner: int, piece: int, lo: int, hi: int, parent: int) -> None:
    d.owner = owner
    d.piece = piece
    d.lo = lo
    d.hi = hi
    d.parent = parent
    d.inner = 0


@entry
def content_tree(
    first_piece: Array,
    segment: Array,
    offset: Array,
    end: Array,
    blocks: Array,
    size: int,
    bits: int,
) -> tuple[Array, int, Array]:
    """Insert all streams: the nodes, how many there are, and for each stream where to look for it.

    A child is found by a hash of its parent and its first block; what it leads to is compared. A
    node is split where a stream leaves it, and the lower part stays itself, so that its children
    need not move. A leaf that a stream only goes on from grows. There are 2^bits hash chains.
    """
    n = len(blocks)
    nodes = np.empty(2 * n, dtype=NODE)
    leaf = np.full(n, NONE, dtype=np.int32)
    heads = np.full(1 << bits, NONE, dtype=np.int32)
    mask = (1 << bits) - 1
    count = 0
    for j in range(n):
        j0 = first_piece[j]
        piece = j0
        parent = NONE
        at = 0
        while at < blocks[j]:
            piece = _piece_at(end, piece, at * size)
            mixed = _hash(segment, offset, end, piece, j0, at * size, (at + 1) * size, parent)
            slot = mixed & mask
            c = heads[slot]
            until = at
            while c != NONE:
                d = nodes[c]
                if d.parent == parent:
                    o0 = first_piece[d.owner]
                    limit = min(d.hi, blocks[j]) * size
                    until = (
                        _same_tokens(
                            segment, offset, end, o0 + d.piece, piece, o0, j0, at * size, limit
                        )
                        // size
                    )
                    if until > at:
                        break
                c = d.next
            if c == NONE:
                c = count
                count += 1
                _fill(nodes[c], j, piece - j0, at, blocks[j], parent)
                nodes[c].next = heads[slot]
                heads[slot] = c
                until = blocks[j]
            d = nodes[c]
            leaf[j] = c
            if until == blocks[j]:
                break
            if until == d.hi and not d.inner:
                _fill(d, j, piece - j0, at, blocks[j], parent)
                break
            if until < d.hi:
                upper = count
                count += 1
                _fill(nodes[upper], d.owner, d.piece, at, until, parent)
                nodes[upper].inner = 1
                _replace(nodes, heads, slot, c, upper)
                o0 = first_piece[d.owner]
                below = _piece_at(end, o0 + d.piece, until * size)
                mixed = _hash(
                    segment, offset, end, below, o0, until * size, (until + 1) * size, upper
                )
                d.piece = below - o0
                d.lo = until
                d.parent = upper
                d.next = heads[mixed & mask]
                heads[mixed & mask] = c
                c = upper
            parent = c
            at = until
    return nodes, count, leaf
