"""How long a request would take if it had a replica to itself."""

from __future__ import annotations

import numpy as np

from simulator.cost.cost_table import CostTable
from simulator.cost.terms import FloatArray
from simulator.metrics.prefill import IntArray, chunks, terms


def alone_s(
    cost: CostTable, prompt_tokens: IntArray, output_tokens: IntArray, chunk_tokens: int
) -> FloatArray:
    """Seconds from arrival to last token of each request, on an empty replica; float64[n].

    `prompt_tokens`, `output_tokens`: int64[n], at least 1 each. The prompt is computed
    `chunk_tokens` at a time, nothing of it found in a prefix cache, and gives the first token; each
    further one takes an iteration with a batch of one, its context growing by one: P + 1 up to
    P + O - 1 tokens. It is what the engine does with such a request, to rounding.
    """
    none = np.zeros_like(prompt_tokens)
    total = np.zeros(len(prompt_tokens))
    for rows, new, context in chunks(prompt_tokens, none, chunk_tokens):
        chunk_s = cost.token_s[new] + cost.seq_s[1]
        chunk_s += terms(new, context, cost.window_tokens) @ cost.prefill_s
        total[rows] += np.maximum(chunk_s, cost.floor_s[1])
    return total + _decoding_s(cost, prompt_tokens + 1, prompt_tokens + output_tokens - 1)


def _decoding_s(cost: CostTable, first: IntArray, last: IntArray) -> FloatArray:
    """Seconds of the iterations of one decode whose context goes from `first` to `last` tokens.

    Linear in the context up to the sliding window and, with another slope, beyond it.
    """
    window, floor = cost.window_tokens, float(cost.floor_s[1])
    base = float(cost.token_s[1] + cost.seq_s[1] + cost.decode_fixed_s[1])
    slope, inside = float(cost.decode_context_s[1]), float(cost.decode_window_s[1])
    within = _series(base, slope + inside, floor, first, np.minimum(last, window))
    full = base + inside * window
    return within + _series(full, slope, floor, np.maximum(first, window + 1), last)


def _series(base: float, slope: float, floor: float, first: IntArray, last: IntArray) -> FloatArray:
    """Sum of max(floor, base + slope c) over whole numbers c from `first` to `last`; 0 if none."""
    count = np.maximum(last - first + 1, 0).astype(np.float64)
    if slope <= 0.0:
        return np.asarray(count * max(floor, base))
    low = np.floor(np.clip((floor - base) / slope - first + 1.0, 0.0, count))
    high = count - low
    mean_c = first + low + (high - 1.0) / 2.0
    return np.asarray(low * floor + high * (base + slope * mean_c))
