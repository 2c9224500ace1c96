"""Mooncake's format, which benchmark tools replay: time, lengths, hashes of 512-token blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from simulator.prefix import PromptSegments
from workloads.batch import RequestBatch

BLOCK_SIZE = 512
CHUNK_ROWS = 1 << 15


def write_mooncake(pieces: Iterator[RequestBatch], file: BinaryIO) -> int:
    """One object a line; times in whole milliseconds, output_length = thinking + answer.

    A prompt of unknown content has hash_ids that no other has. Requests that wait for an answer are
    written at the earliest time that they could be sent: the format has no word for waiting.
    """
    rows = fresh = 0
    for batch in pieces:
        for start in range(0, len(batch), CHUNK_ROWS):
            part = np.arange(start, min(start + CHUNK_ROWS, len(batch)))
            prompt = batch.prompt_tokens[part]
            counts = -(-prompt // BLOCK_SIZE)
            if batch.segments is None:
                hashes = fresh + np.arange(int(counts.sum()))
                fresh += len(hashes)
            else:
                hashes = block_hashes(batch.segments.take(part))
            output = batch.thinking_tokens[part] + batch.answer_tokens[part]
            time_ms = np.rint(batch.arrival_s[part] * 1e3).astype(np.int64)
            texts = list(map(str, hashes.tolist()))
            ends = np.cumsum(counts)
            columns = (time_ms, prompt, output, ends - counts, ends)
            lines = [
                f'{{"timestamp": {time}, "input_length": {tokens}, "output_length": {made}, '
                f'"hash_ids": [{", ".join(texts[first:end])}]}}\n'
                for time, tokens, made, first, end in zip(
                    *(column.tolist() for column in columns), strict=True
                )
            ]
            file.write("".join(lines).encode())
            rows += len(lines)
    return rows


def block_hashes(segments: PromptSegments, block_size: int = BLOCK_SIZE) -> NDArray[np.int64]:
    """A hash of every block of every prompt, one prompt after the other, int64 from 0.

    The hash of a block stands for it and all that is before it: it is equal in two prompts if and
    only if they hold the same tokens up to its end (but for a chance of n^2 / 2^64 among n blocks).
    It depends on nothing else, so it is the same in every file.
    """
    prompt = segments.prompt_tokens()
    ends = np.cumsum(segments.tokens)  # of segments, all prompts laid end to end
    before = _chain(segments)
    counts = -(-prompt // block_size)
    first = np.cumsum(counts) - counts
    within = np.arange(int(counts.sum())) - np.repeat(first, counts)
    offset = np.repeat(np.cumsum(prompt) - prompt, counts)
    end = offset + np.minimum((within + 1) * block_size, np.repeat(prompt, counts))
    at = np.searchsorted(ends, end, side="left")
    tokens = end - (ends[at] - segments.tokens[at])
    mixed = _mixed(before[at], segments.segment_id[at], tokens)
    return (mixed >> np.uint64(1)).astype(np.int64)


def _chain(segments: PromptSegments) -> NDArray[np.uint64]:
    """For each segment, a hash of all segments before it in its prompt, uint64[m]."""
    before = np.zeros(len(segments.segment_id), dtype=np.uint64)
    place = segments.start[:-1]
    left = np.diff(segments.start) - 1
    while True:
        place = place[left > 0]
        left = left[left > 0] - 1
        if not len(place):
            return before
        before[place + 1] = _mixed(
            before[place], segments.segment_id[place], segments.tokens[place]
        )
        place = place + 1


def _mixed(
    chain: NDArray[np.uint64], segment_id: NDArray[np.int64], tokens: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """Two rounds of the finaliser of SplitMix64 (Steele et al., OOPSLA'14) over three words."""
    mixed = _finalised(chain + segment_id.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    return _finalised(mixed + tokens.astype(np.uint64) * np.uint64(0xD1B54A32D192ED03))


def _finalised(word: NDArray[np.uint64]) -> NDArray[np.uint64]:
    word = word + np.uint64(0x9E3779B97F4A7C15)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))
