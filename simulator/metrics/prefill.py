"""What computing prompts asks of a replica, for many prompts at once.

A prompt is computed in chunks. What one chunk costs is a sum of terms of its length and of the
context it reaches (`simulator.cost.terms`); here are those terms for arrays of chunks, and their
sums over whole prompts.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from simulator.cost.terms import FloatArray
from simulator.engine.config import EngineConfig

IntArray = NDArray[np.int64]

TERMS = 6  # as many as `CostTable.prefill_s` has


def chunk_tokens(config: EngineConfig) -> int:
    """Most prompt tokens that one iteration gives a request that is alone on its replica."""
    threshold = config.long_prefill_token_threshold
    spared = config.long_prefill_spares_lone_request or config.long_prefill_token_threshold_adaptive
    if threshold == 0 or spared:  # adaptive: raised to its share of the budget, which is all of it
        return config.max_num_batched_tokens
    return min(threshold, config.max_num_batched_tokens)


def chunks(
    prompt_tokens: IntArray, cached_tokens: IntArray, size: int
) -> Iterator[tuple[IntArray, IntArray, IntArray]]:
    """The first, second, ... chunks of prompts that are computed `size` tokens at a time.

    `prompt_tokens`, `cached_tokens`: int64[n]; cached ones are not computed. Yields int64 arrays of
    one length: which prompts have such a chunk, its new tokens, and its context after them.
    """
    rows = np.flatnonzero(prompt_tokens > cached_tokens)
    reached = cached_tokens[rows]
    while len(rows):
        new = np.minimum(prompt_tokens[rows] - reached, size)
        reached = reached + new
        yield rows, new, reached
        more = reached < prompt_tokens[rows]
        rows, reached = rows[more], reached[more]


def terms(new: IntArray, context: IntArray, window_tokens: int) -> FloatArray:
    """What the six prefill terms are multiplied by for each of n chunks; float64[n, 6].

    1, new tokens, context, query-key pairs, and in a sliding window (`window_tokens`, 0: none)
    tokens seen and pairs: `simulator.cost.terms.chunk_terms` for arrays.
    """
    n, c = new.astype(np.float64), context.astype(np.float64)
    pairs = n * (c - (n - 1.0) / 2.0)
    seen = window_pairs = np.zeros_like(n)
    if window_tokens:
        seen = np.minimum(c, window_tokens + n - 1.0)
        growing = np.clip(window_tokens - (c - n), 0.0, n)
        window_pairs = growing * (c - n + (growing + 1.0) / 2.0) + (n - growing) * window_tokens
    return np.stack((np.ones_like(n), n, c, pairs, seen, window_pairs), axis=1)


def mean_terms(
    prompt_tokens: IntArray, cached_tokens: IntArray, size: int, window_tokens: int
) -> FloatArray:
    """The six terms summed over all chunks of all prompts, per computed token; float64[6].

    Zeros where nothing is computed.
    """
    total = np.zeros(TERMS)
    for _, new, context in chunks(prompt_tokens, cached_tokens, size):
        total += terms(new, context, window_tokens).sum(axis=0)
    return total / total[1] if total[1] else total
