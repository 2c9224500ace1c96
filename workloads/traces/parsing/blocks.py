"""Hashes of prompt blocks, as traces hold them, mapped onto segments."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.errors import InputError, Problem
from simulator.prefix import PromptSegments
from workloads.traces.parsing.columns import Lists, Piece
from workloads.traces.parsing.problems import BadRows

MAX_BLOCK_SIZE = 1 << 20


def check_block_size(block_size: object) -> None:
    """Raises InputError if it is no number of tokens."""
    if type(block_size) is not int or not 1 <= block_size <= MAX_BLOCK_SIZE:
        message = f"must be a whole number from 1 to {MAX_BLOCK_SIZE:,}, not {block_size!r}"
        raise InputError(Problem(message, field="block_size"))


def check_blocks(
    piece: Piece, prompt: str, hashes: str, block_size: int | NDArray[np.int64], bad: BadRows
) -> None:
    """Puts rows into `bad` whose hashes do not fit their prompt.

    `prompt` and `hashes` name the columns. P tokens have ceil(P / block_size) blocks, or one less
    if only full blocks were hashed; a row may have no hashes at all. Anything else means another
    block size, which would make nonsense of every prefix.
    """
    tokens = piece.numbers(prompt)
    column = piece.columns.get(hashes)
    if not isinstance(column, Lists):
        return
    counts = column.lengths
    size = np.broadcast_to(block_size, tokens.shape)
    wrong = (counts > 0) & (counts != -(-tokens // size)) & (counts != tokens // size)
    for i in np.flatnonzero(wrong).tolist():
        needed = -(-int(tokens[i]) // int(size[i]))
        message = (
            f"{int(counts[i]):,} hashes of {int(size[i])}-token blocks, where "
            f"{int(tokens[i]):,} prompt tokens have {needed:,}: another block_size?"
        )
        bad.add(int(piece.lines[i]), (hashes, message))


def segments_of_blocks(
    prompt_tokens: NDArray[np.int64],
    hashes: Lists | None,
    block_size: int | NDArray[np.int64],
    rows: NDArray[np.int64],
) -> PromptSegments | None:
    """The prompts of `rows` (int64[k], in that order): a segment for each block; None without any.

    The hash of a block stands for all that is before it too, so equal hashes are equal segments,
    numbered from 0. A block is `block_size` tokens long, the last one as long as is left of the
    prompt: prompts whose last blocks have one hash share the shorter one's tokens. What no hash
    covers is a segment of its own, that no other prompt has.
    """
    if hashes is None or not (hashes.lengths[rows] > 0).any():
        return None
    counts = np.maximum(hashes.lengths, 0)
    first = np.concatenate(([0], np.cumsum(counts)))[:-1][rows]
    counts, tokens = counts[rows], prompt_tokens[rows]
    size = np.broadcast_to(block_size, prompt_tokens.shape)[rows]
    covered = np.minimum(counts * size, tokens)
    own = covered < tokens
    segments = counts + own
    start = np.concatenate(([0], np.cumsum(segments)))
    last = start[1:] - 1
    # Published traces have millions of blocks: few arrays of their number at a time.
    place = np.repeat(first - start[:-1], segments)
    place += np.arange(int(start[-1]))
    hashed = np.ones(int(start[-1]), dtype=bool)
    hashed[last[own]] = False
    used = hashes.flat[place[hashed]]
    ids = place
    ids[hashed], distinct = _numbered(used)
    del used
    ids[~hashed] = distinct + np.arange(int(own.sum()))
    length = np.repeat(size, segments)
    # The last segment has what is left: of the prompt if it is of its own, else of its block.
    length[last] = tokens - np.where(own, covered, (counts - 1) * size)
    return PromptSegments(
        start=start.astype(np.int64),
        segment_id=ids,
        tokens=length.astype(np.int64, copy=False),
        output_id=np.full((len(rows), 2), -1, dtype=np.int64),
    )


def _numbered(values: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """The rank of each value among the distinct ones, and how many these are."""
    if len(values) and values.min() >= 0 and values.max() < 4 * len(values):
        # As published, ids are dense already: no need to sort.
        present = np.zeros(int(values.max()) + 1, dtype=bool)
        present[values] = True
        rank = np.cumsum(present) - 1
        return rank[values].astype(np.int64, copy=False), int(present.sum())
    distinct, inverse = np.unique(values, return_inverse=True)
    return inverse.astype(np.int64).reshape(-1), len(distinct)
