"""Training against inference: when serving overtakes, and what 5,000 thinking tokens cost."""

from __future__ import annotations

from simulator.metrics.inference_economics import (
    crossover_queries,
    inference_share,
    training_flops,
)
from simulator.studies.articles.base import FULL_ARC, Row, Study, close, graded, times
from simulator.studies.articles.runs import simulated

PARAMETERS, TRAINING_TOKENS = 405e9, 15.6e12
"""Llama 3.1 405B (The Llama 3 herd of models, arXiv 2407.21783)."""
STANDARD_TOKENS, REASONING_TOKENS, HARD_TOKENS = 500, 5_500, 50_500
USD_PER_MILLION_TOKENS = 10.0


def usd_per_million_tokens() -> float:
    """Per million output tokens of a 405B model that thinks 5,000 tokens, on busy GPUs."""
    summary = simulated(
        "query_cost",
        (
            "pools.main.model=llama-3.1-405b",
            "pools.main.tensor_parallel_size=8",
            "workload.num_requests=600",
            "workload.thinking_tokens.tokens=5000",
        ),
    ).summary
    return float(summary["cost_usd_per_million_output_tokens"])


def _rows() -> list[Row]:
    flops = float(training_flops(PARAMETERS, TRAINING_TOKENS))
    few, many, most = (
        float(crossover_queries(TRAINING_TOKENS, tokens))
        for tokens in (STANDARD_TOKENS, REASONING_TOKENS, HARD_TOKENS)
    )
    billions = (1e9, 1e10, 1e11)
    shares = [
        f"{100 * float(inference_share(TRAINING_TOKENS, REASONING_TOKENS, queries)):.0f} %"
        for queries in billions
    ]
    usd = usd_per_million_tokens()
    return [
        Row(
            "with reasoning, inference takes more compute than training",
            "yes, at 5,000 tokens per query",
            f"after {many / 1e9:.1f} billion queries",
            "direction only",
            f"6 N D = {flops:.1e} FLOP against 2 N per token; after 1, 10 and 100 billion queries"
            f" {', '.join(shares)} of all. Standard queries overtake after {few / 1e9:.0f} billion,"
            f" with 50,000 tokens after {most / 1e9:.1f}: {times(few / most)} sooner",
        ),
        Row(
            "5,000 and 50,000 thinking tokens of a 405B model, per query",
            "$0.05, $0.50",
            f"${usd * 5_000e-6:.3f}, ${usd * 50_000e-6:.2f}",
            graded(close(usd, USD_PER_MILLION_TOKENS, 0.3)),
            f"the article's $10 per million tokens against ${usd:.2f} on eight busy H100s in fp8"
            " (5,000 tokens); a price is not a cost, and longer queries cost more per token",
        ),
    ]


STUDY = Study("training", "Training against inference", FULL_ARC, _rows, simulates=True)
