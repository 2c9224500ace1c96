"""What planned prompts are made of, put together for all requests of a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simulator.prefix import PromptSegments
from simulator.strategies.calls import Call
from simulator.strategies.prompts import Column

_AFTER = 1 << 20  # more segments than any prompt that a workload draws


def own_segments(prompt_tokens: Column) -> PromptSegments:
    """Prompts (int64[n], tokens) of which each is a segment of its own."""
    n = len(prompt_tokens)
    return PromptSegments(
        start=np.arange(n + 1),
        segment_id=np.arange(n),
        tokens=prompt_tokens,
        output_id=np.full((n, 2), -1, dtype=np.int64),
    )


def segments_of(own: PromptSegments, calls: Sequence[tuple[Call, Column]]) -> PromptSegments:
    """The prompts of all requests of `calls`, one call after the other.

    Each call comes with the rows in `own` of its draft's queries.
    """
    request, position, segment, tokens, outputs = [], [], [], [], []
    first = 0
    for call, rows in calls:
        here = np.flatnonzero(call.where)
        mine = np.arange(first, first + len(here))
        first += len(here)
        quoting = call.prompt.own_tokens[here] > 0
        quoted = own.take(rows[here[quoting]])
        counts = np.diff(quoted.start)
        request.append(np.repeat(mine[quoting], counts))
        position.append(np.arange(len(quoted.segment_id)) - np.repeat(quoted.start[:-1], counts))
        segment.append(quoted.segment_id)
        tokens.append(quoted.tokens)
        for level, part in enumerate(call.prompt.parts):
            there = part.tokens[here] > 0
            request.append(mine[there])
            position.append(np.full(there.sum(), _AFTER + level))
            segment.append(part.segment[here[there]])
            tokens.append(part.tokens[here[there]])
        outputs.append(np.repeat(call.segment[here, np.newaxis], 2, axis=1))
    owner = np.concatenate(request)
    order = np.lexsort((np.concatenate(position), owner))
    start = np.concatenate(([0], np.cumsum(np.bincount(owner, minlength=first))))
    return PromptSegments(
        start=start.astype(np.int64),
        segment_id=np.concatenate(segment)[order],
        tokens=np.concatenate(tokens)[order],
        output_id=np.concatenate(outputs),
    )
