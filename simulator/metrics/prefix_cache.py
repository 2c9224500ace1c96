"""How much of the prompts the prefix cache spared."""

from __future__ import annotations

from typing import Any

import pandas as pd


def prefix_summary(measured: pd.DataFrame, query_tokens: int, hit_tokens: int) -> dict[str, Any]:
    """The hit ratio of measured requests that were admitted, and the counters of the run.

    The ratio is prompt tokens found at the first admission over prompt tokens. `query_tokens` and
    `hit_tokens` are those looked up and found at every admission of the run, what a request that
    comes back after a preemption has generated included (vLLM's prefix_cache_queries and _hits). If
    nothing was looked up no pool has a prefix cache, and the ratio is None.
    """
    admitted = measured[measured["first_scheduled_s"].notna()]
    asked, found = int(admitted["prompt_tokens"].sum()), int(admitted["cached_tokens"].sum())
    return {
        "prefix_hit_ratio": found / asked if query_tokens and asked else None,
        "prefix_cached_tokens": found,
        "prefix_query_tokens": query_tokens,
        "prefix_hit_tokens": hit_tokens,
    }
