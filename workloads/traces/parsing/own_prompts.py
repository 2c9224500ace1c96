"""The columns of ponder's own format that say what prompts are made of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.errors import InputError, Problem
from simulator.prefix import PromptSegments
from workloads.traces.parsing.blocks import check_blocks, segments_of_blocks
from workloads.traces.parsing.columns import MISSING, Lists, Piece, Table
from workloads.traces.parsing.problems import BadRows


def check_prompts(piece: Piece, block_size: int, bad: BadRows) -> None:
    """Puts rows into `bad` whose segments, output_ids or prefix_hashes do not fit."""
    prompt = piece.numbers("prompt_tokens")
    segments = piece.columns.get("segments")
    if isinstance(segments, Lists):
        made = _sums(segments)
        for i in np.flatnonzero((segments.lengths >= 0) & (made != prompt)).tolist():
            message = f"add up to {int(made[i]):,} tokens, prompt_tokens is {int(prompt[i]):,}"
            bad.add(int(piece.lines[i]), ("segments", message))
    outputs = piece.columns.get("output_ids")
    if isinstance(outputs, Lists):
        low = np.minimum.reduceat(np.append(outputs.flat, 0), _firsts(outputs))
        wrong = (outputs.lengths >= 0) & ((outputs.lengths != 2) | (low < -1))
        for i in np.flatnonzero(wrong).tolist():
            message = "must be two ids, of the thinking and of the answer, -1 for none"
            bad.add(int(piece.lines[i]), ("output_ids", message))
    if "prefix_hashes" in piece.columns:
        sizes: int | NDArray[np.int64] = block_size
        if "block_size" in piece.columns:
            sizes = piece.numbers("block_size")
            sizes = np.where(sizes == MISSING, block_size, sizes)
        check_blocks(piece, "prompt_tokens", "prefix_hashes", sizes, bad)


def prompts(
    table: Table,
    prompt_tokens: NDArray[np.int64],
    block_size: int,
    rows: NDArray[np.int64],
    file: str,
) -> PromptSegments | None:
    """The prompts of `rows` (int64[k], in that order); None if the file says nothing of them.

    A row that says nothing is a segment of its own. Raises InputError if the file has both
    segments and prefix_hashes.
    """
    segments, hashes = table.lists("segments"), table.lists("prefix_hashes")
    if segments is None or (segments.lengths < 0).all():
        sizes = table.whole("block_size", block_size)
        return segments_of_blocks(
            prompt_tokens, hashes, block_size if sizes is None else sizes, rows
        )
    if hashes is not None and (hashes.lengths >= 0).any():
        message = "give segments or prefix_hashes, not both"
        raise InputError(Problem(message, file=file, field="prefix_hashes"))
    outputs = np.full((len(prompt_tokens), 2), -1, dtype=np.int64)
    lists = table.lists("output_ids")
    if lists is not None:
        outputs[lists.lengths == 2] = lists.flat.reshape(-1, 2)
    highest = max(int(segments.flat[:, 0].max(initial=-1)), int(outputs.max(initial=-1)))
    return PromptSegments(*_filled(segments, prompt_tokens, highest + 1), outputs).take(rows)


def _filled(
    segments: Lists, prompt_tokens: NDArray[np.int64], free_id: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """start, segment_id and tokens; a row without segments has one of its own, from `free_id`."""
    absent = (segments.lengths < 0) & (prompt_tokens > 0)
    counts = np.where(absent, 1, np.maximum(segments.lengths, 0))
    start = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    ids, tokens = np.empty((2, int(start[-1])), dtype=np.int64)
    own = np.zeros(int(start[-1]), dtype=bool)
    own[start[:-1][absent]] = True
    ids[own] = free_id + np.arange(int(absent.sum()))
    tokens[own] = prompt_tokens[absent]
    ids[~own], tokens[~own] = segments.flat[:, 0], segments.flat[:, 1]
    return start, ids, tokens


def _firsts(lists: Lists) -> NDArray[np.int64]:
    counts = np.maximum(lists.lengths, 0)
    return np.asarray(np.cumsum(counts) - counts, dtype=np.int64)


def _sums(segments: Lists) -> NDArray[np.int64]:
    """The tokens of each row's segments."""
    total = np.concatenate(([0], np.cumsum(segments.flat[:, 1])))
    first = _firsts(segments)
    return np.asarray(total[first + np.maximum(segments.lengths, 0)] - total[first])
