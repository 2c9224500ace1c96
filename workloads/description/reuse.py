"""How many prompt tokens an unlimited prefix cache would have held."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.prefix import PromptSegments
from workloads.batch import RequestBatch
from workloads.traces import TraceRows


def reusable_tokens(rows: TraceRows | RequestBatch) -> NDArray[np.int64] | None:
    """Tokens at the beginning of each prompt that a request before it has left, int64[n].

    The longest common prefix with any earlier prompt and what was generated after it; None if the
    trace does not say what prompts share. Requests before are taken as answered, whenever that
    was, and nothing is ever evicted: no cache can do better.
    """
    if rows.segments is None:
        return None
    n = len(rows)
    thinking = np.zeros(n, np.int64) if rows.thinking_tokens is None else rows.thinking_tokens
    return _reusable(rows.segments, thinking, rows.answer_tokens)


def _reusable(
    segments: PromptSegments, thinking: NDArray[np.int64], answer: NDArray[np.int64]
) -> NDArray[np.int64]:
    """A tree of chains: a node is what follows a segment of exactly that length.

    `longest` is the most tokens of a segment seen at a node: a prompt that has more or fewer of
    them shares what both have, and nothing after it.
    """
    nodes: dict[tuple[int, int, int], int] = {}
    longest: dict[tuple[int, int], int] = {}
    shared = np.zeros(len(segments), dtype=np.int64)
    ids, tokens, start = (
        segments.segment_id.tolist(), segments.tokens.tolist(), segments.start.tolist()
    )  # fmt: skip
    outputs = segments.output_id.tolist()
    generated = np.column_stack((thinking, answer)).tolist()
    for i in range(len(segments)):
        prompt = list(
            zip(ids[start[i] : start[i + 1]], tokens[start[i] : start[i + 1]], strict=True)
        )
        node, total = 0, 0
        for segment, length in prompt:
            total += min(length, longest.get((node, segment), 0))
            following = nodes.get((node, segment, length))
            if following is None:
                break
            node = following
        shared[i] = total
        node = 0
        for segment, length in _chain(prompt, outputs[i], generated[i]):
            if length > longest.get((node, segment), 0):
                longest[node, segment] = length
            node = nodes.setdefault((node, segment, length), len(nodes) + 1)
    return shared


def _chain(
    prompt: list[tuple[int, int]], output: list[int], generated: list[int]
) -> list[tuple[int, int]]:
    """A prompt and what was generated after it, up to what no later prompt can name.

    Output that goes on in the prompt's last segment makes that longer. The prompt itself is in it
    too, as a shorter chain of its own.
    """
    chain = list(prompt)
    for segment, length in zip(output, generated, strict=True):
        if length == 0:
            continue
        if segment < 0:
            break
        if chain and chain[-1][0] == segment:
            chain[-1] = (segment, chain[-1][1] + length)
        elif any(segment == other for other, _ in chain):
            break  # it goes on where an earlier part ended: no prompt begins a segment so
        else:
            chain.append((segment, length))
    return chain
