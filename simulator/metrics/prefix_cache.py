"""How much of the prompts the prefix cache spared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from simulator.metrics.prefill import IntArray


def column(table: np.ndarray, name: str) -> np.ndarray:
    """A count of a table of the engine, int64[n]; zeros from an engine that does not keep it."""
    if name in (table.dtype.names or ()):
        return np.asarray(table[name], dtype=np.int64)
    return np.zeros(len(table), dtype=np.int64)


def cached_tokens(requests: pd.DataFrame) -> IntArray:
    """Prompt tokens of each request that were in the cache when it was first admitted, int64[n]."""
    if "cached_tokens" not in requests:
        return np.zeros(len(requests), dtype=np.int64)
    return requests["cached_tokens"].to_numpy(np.int64)


def hit_ratio(cached: IntArray, prompt: IntArray) -> float | None:
    """Share of prompt tokens found in the cache; None if nothing was asked for."""
    asked = int(prompt.sum())
    return int(cached.sum()) / asked if asked else None


def prefix_summary(measured: pd.DataFrame, query_tokens: int, hit_tokens: int) -> dict[str, Any]:
    """The hit ratio of measured requests that were admitted, and the counters of the run.

    `query_tokens`, `hit_tokens`: prompt tokens looked up and found over the run, those of requests
    that come back after a preemption included (vLLM's prefix_cache_queries and _hits). No token
    looked up means that no pool has a prefix cache: the ratio is None.
    """
    admitted = measured[measured["first_scheduled_s"].notna().to_numpy(bool)]
    ratio = hit_ratio(cached_tokens(admitted), admitted["prompt_tokens"].to_numpy(np.int64))
    return {
        "prefix_hit_ratio": ratio if query_tokens else None,
        "prefix_cached_tokens": int(cached_tokens(admitted).sum()),
        "prefix_query_tokens": query_tokens,
        "prefix_hit_tokens": hit_tokens,
    }
