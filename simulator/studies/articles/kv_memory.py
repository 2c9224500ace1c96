"""KV cache of a query, and how many fit: the articles' two tables, from the model's shape alone."""

from __future__ import annotations

from simulator.cost.architecture import Architecture
from simulator.cost.catalogue import load_architecture
from simulator.studies.articles.base import FULL_ARC, NEW_AXIS, Row, Study, close, graded

MODEL = "llama-3.3-70b"
POOL_BYTES = 64e9
BLOCK_TOKENS = 16
QUERIES = (
    ("standard", 1_500, 490e6, 130),
    ("light reasoning", 3_500, 1.14e9, 56),
    ("heavy reasoning", 11_500, 3.76e9, 17),
    ("research", 51_500, 16.8e9, 3),
)
"""Kind of query, its tokens, the article's bytes and how many fit."""

A100_FREE_BYTES = 80e9 - 35e9
A100_QUERIES = (("standard", 2_200, 60), ("reasoning", 22_200, 6))


def query_bytes(tokens: int, model: Architecture) -> int:
    """KV of so many tokens in 16 bits."""
    return tokens * model.kv_bytes_per_token()


def pool_blocks(pool_bytes: float, model: Architecture) -> int:
    """Blocks of 16 tokens that a pool of KV cache holds."""
    return int(pool_bytes // (BLOCK_TOKENS * model.kv_bytes_per_token()))


def fitting(tokens: int, pool_bytes: float, model: Architecture) -> int:
    """Queries that are in the pool with all their tokens at once, in whole blocks."""
    return pool_blocks(pool_bytes, model) // -(-tokens // BLOCK_TOKENS)


def _by_vllms_rule() -> dict[int, int]:
    """Tokens -> queries on an A100 with 4-bit weights, as vLLM shares out its memory."""
    from hardware_profiles.profile import load_gpu
    from simulator.cost.memory import kv_capacity

    capacity = kv_capacity(
        load_architecture(MODEL),
        load_gpu("a100-sxm-80gb"),
        tensor_parallel_size=1,
        weight_dtype="int4",
        kv_cache_dtype="auto",
        gpu_memory_utilization=0.9,
        max_num_batched_tokens=2048,
        max_num_seqs=256,
        block_size=BLOCK_TOKENS,
    )
    usable = capacity.num_gpu_blocks - 1
    return {tokens: usable // -(-tokens // BLOCK_TOKENS) for _, tokens, _ in A100_QUERIES}


def _rows() -> list[Row]:
    model = load_architecture(MODEL)
    rows = []
    for kind, tokens, said_bytes, said_queries in QUERIES:
        found, queries = query_bytes(tokens, model), fitting(tokens, POOL_BYTES, model)
        rows.append(
            Row(
                f"KV of a {kind} query, {tokens:,} tokens",
                f"{said_bytes / 1e9:.3g} GB",
                f"{found / 1e9:.3g} GB",
                graded(close(found, said_bytes, 0.02)),
            )
        )
        rows.append(
            Row(
                f"{kind} queries at once in 64 GB",
                f"~{said_queries}",
                f"{queries}",
                graded(abs(queries - said_queries) <= 1),
                "the article says 80 GB; its counts are 64 GB over the KV of one, rounded",
            )
        )
    by_rule = _by_vllms_rule()
    for kind, tokens, said in A100_QUERIES:
        queries = fitting(tokens, A100_FREE_BYTES, model)
        rows.append(
            Row(
                f"A100 80 GB, 35 GB of weights: {kind} queries of {tokens:,} tokens",
                f"~{said}",
                f"{queries}",
                graded(close(queries, said)),
                f"by vLLM's rule, 90 % of memory less what a forward pass needs: {by_rule[tokens]}",
            )
        )
    return rows


STUDY = Study("kv_memory", "KV cache per query and concurrency", f"{NEW_AXIS}; {FULL_ARC}", _rows)
