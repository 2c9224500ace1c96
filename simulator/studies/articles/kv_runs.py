"""The same concurrency out of the simulation: the largest burst that is served undisturbed."""

from __future__ import annotations

from simulator.cost.catalogue import load_architecture
from simulator.studies.articles.base import NEW_AXIS, Row, Study, graded
from simulator.studies.articles.kv_memory import MODEL, POOL_BYTES, QUERIES, fitting, pool_blocks
from simulator.studies.articles.runs import simulated

PROMPT_TOKENS, ANSWER_TOKENS = 1_000, 500


def preemptions(tokens: int, queries: int) -> int:
    """Of a burst of equal queries on a pool of 64 GB of KV cache."""
    blocks = pool_blocks(POOL_BYTES, load_architecture(MODEL))
    result = simulated(
        "kv_memory",
        (
            f"workload.num_requests={queries}",
            f"workload.thinking_tokens.tokens={tokens - PROMPT_TOKENS - ANSWER_TOKENS}",
            f"pools.main.engine.num_gpu_blocks={blocks + 1}",  # one is never usable
        ),
    )
    return int(result.summary["num_preemptions"])


def most_undisturbed(tokens: int) -> int:
    """The largest burst of which nobody is preempted, by bisection."""
    few, many = 1, 2 * fitting(tokens, POOL_BYTES, load_architecture(MODEL)) + 2
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if preemptions(tokens, middle) else (middle, many)
    return few


def _rows() -> list[Row]:
    rows = []
    for kind, tokens, _, said in QUERIES:
        found = most_undisturbed(tokens)
        rows.append(
            Row(
                f"largest burst of {kind} queries that runs without preemption",
                f"~{said}",
                f"{found}",
                graded(abs(found - said) <= 1),
                "queries that start together are all at full length at once; out of step, more fit",
            )
        )
    return rows


STUDY = Study("kv_runs", "Concurrency, simulated", NEW_AXIS, _rows, simulates=True)
