"""Cost of a query, standard against reasoning, on GPUs that are always busy."""

from __future__ import annotations

from simulator.studies.articles.base import FULL_ARC, NEW_AXIS, Row, Study, graded, times
from simulator.studies.articles.runs import simulated

ANSWER_TOKENS = 500
QUERIES = ((0, 4_000), (2_000, 1_500), (10_000, 400), (50_000, 80))
"""Thinking tokens of a query, and how many are served: some twenty times what runs at once."""


def usd_per_query(thinking_tokens: int, queries: int) -> float:
    """GPU time of the whole batch, in US dollars, by queries."""
    summary = simulated(
        "query_cost",
        (
            f"workload.num_requests={queries}",
            f"workload.thinking_tokens.tokens={thinking_tokens}",
        ),
    ).summary
    return float(summary["cost_usd"]) / queries


def _rows() -> list[Row]:
    usd = {thinking: usd_per_query(thinking, queries) for thinking, queries in QUERIES}
    ratio = {thinking: cost / usd[0] for thinking, cost in usd.items()}
    tokens = {thinking: (thinking + ANSWER_TOKENS) / ANSWER_TOKENS for thinking in usd}
    longest = 50_000
    return [
        Row(
            "a query that thinks 50,000 tokens against one that answers in 500",
            "100x",
            times(ratio[longest]),
            graded(60 < ratio[longest] < 160, ratio[longest] > 10),
            f"{times(tokens[longest])} in tokens; in GPU time more, as fewer run at once and each"
            f" token reads more KV: ${usd[0]:.4f} and ${usd[longest]:.2f}",
        ),
        Row(
            "reasoning costs 10 to 100 times as much per query",
            "10-100x",
            f"{times(ratio[2_000])} (2K), {times(ratio[10_000])} (10K)",
            graded(ratio[2_000] >= 10 and ratio[10_000] <= 110, ratio[2_000] > 1),
            f"tokens: {times(tokens[2_000])} and {times(tokens[10_000])}",
        ),
    ]


STUDY = Study("query_cost", "Cost per query", f"{NEW_AXIS}; {FULL_ARC}", _rows, simulates=True)
