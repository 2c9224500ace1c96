"""What the prefix cache costs a request: the tree of content, and admission to release.

    python benchmarks/prefix_cache_speed.py [--json]

CPU time of one core, best of three, per request. "cycle": one lookup, admission, registration in
four chunks, registration of what was decoded, and release, of prompts of about 8,000 tokens in a
cache of 20,000 blocks of 16, of which 20 requests at a time hold some.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.engine.cache_pool import new_pool
from simulator.engine.content import ContentPaths, content_paths
from simulator.engine.extents import CACHE_FIELDS, evict_to
from simulator.engine.jit import entry
from simulator.engine.prefix_cache import (
    lookup,
    register,
    release,
    set_holders,
    take,
)
from simulator.engine.request import HOLDER_FIELDS
from simulator.prefix import PromptSegments

REPEATS = 3
BLOCK_SIZE, USABLE_BLOCKS, AT_ONCE, POOL = 16, 20_000, 20, 16_384
THINKING, ANSWER = 200, 100


@dataclass(frozen=True)
class Timing:
    """Nanoseconds and counts per request of one load."""

    load: str
    requests: int
    tree_ns: float
    nodes: float
    cycle_ns: float
    hit_blocks: float


@entry
def cycles(
    state: Any, pool: Any, paths: Any, table: Any, prompt_tokens: Any, full: Any, at_once: int
) -> int:
    """Serve all requests, each leaving when so many more have come; blocks hit, or -1."""
    c = state[0]
    free = USABLE_BLOCKS
    hits = 0
    for i in range(len(table)):
        tokens = prompt_tokens[i]
        whole = tokens // BLOCK_SIZE
        hit, idle, _ = lookup(c, pool, paths, table[i], (tokens - 1) // BLOCK_SIZE, free)
        take(c, pool, paths, table[i], hit)
        free -= idle + -(-tokens // BLOCK_SIZE) - hit
        if free < 0:
            return -1
        evict_to(c, pool, free)
        for quarter in range(1, 5):
            register(c, pool, paths, table[i], max(hit, whole * quarter // 4))
        hits += hit
        j = i - at_once
        if j >= 0:
            register(c, pool, paths, table[j], full[j])
            before = -(-prompt_tokens[j] // BLOCK_SIZE)
            held = max(full[j], before)
            free = release(c, pool, table[j], held, free - held + before)
    return hits


def segments(ids: NDArray[np.int64], tokens: NDArray[np.int64]) -> PromptSegments:
    """Prompts of equally many segments, int64[n, k] each."""
    n, k = ids.shape
    return PromptSegments(
        start=np.arange(n + 1) * k,
        segment_id=ids.ravel().astype(np.int64),
        tokens=np.broadcast_to(tokens, ids.shape).ravel().astype(np.int64),
        output_id=np.full((n, 2), -1, dtype=np.int64),
    )


def loads(n: int) -> dict[str, PromptSegments]:
    """Prompts by the name of the load."""
    rng = np.random.default_rng(0)
    own = 100 + np.arange(n)
    system = rng.integers(0, 8, n)
    session, turn = 40 * (np.arange(n) // 400) + np.arange(n) % 40, np.arange(n) // 40 % 10
    context = np.column_stack([np.full(n, 2_000), 1_000 + 1_000 * turn])
    two = np.array([2_000, 6_000])
    return {
        "nothing shared": segments(own[:, None], np.array([8_000])),
        "a system prompt of 2,000": segments(np.column_stack([system, own]), two),
        "8 samples of each prompt": segments(np.column_stack([system, 100 + own // 8]), two),
        "conversations of 10 turns": segments(
            np.column_stack([np.zeros(n), 100 + session]), context
        ),
        "tree of 16 forks": segments(
            rng.integers(0, 2, (n, 16)) + 2 * np.arange(16), np.array([500])
        ),
    }


def best(run: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of the fastest of some runs, and what the last one returned."""
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        answer = run()
        times.append(time.process_time() - start)
    return min(times), answer


def measure(load: str, prompts: PromptSegments) -> Timing:
    """Both costs of one load."""
    n = len(prompts)
    prompt_tokens = prompts.prompt_tokens()
    thinking, answer = np.full(n, THINKING), np.full(n, ANSWER)

    def grow_tree() -> ContentPaths:
        return content_paths(prompts, prompt_tokens, thinking, answer, BLOCK_SIZE)

    tree_s, tree = best(grow_tree)
    paths = tree.table
    full = (prompt_tokens + thinking + answer - 1) // BLOCK_SIZE

    def serve() -> int:
        table = np.zeros(n, dtype=np.dtype(HOLDER_FIELDS, align=True))
        set_holders(table, tree)
        state = np.zeros(1, dtype=np.dtype(CACHE_FIELDS))
        pool = new_pool(state[0], POOL)
        return cycles(state, pool, paths, table, prompt_tokens, full, AT_ONCE)

    cycle_s, hits = best(serve)
    return Timing(
        load, n, tree_s / n * 1e9, len(tree.node) / n, cycle_s / n * 1e9, max(hits, 0) / n
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--requests", type=int, default=100_000)
    arguments = parser.parse_args()
    timings = [measure(*item) for item in loads(arguments.requests).items()]
    if arguments.json:
        print(json.dumps([asdict(timing) for timing in timings], indent=1))
        return
    print(f"{'load':28} {'tree ns':>8} {'nodes':>6} {'cycle ns':>9} {'blocks hit':>11}")
    for t in timings:
        print(f"{t.load:28} {t.tree_ns:8.0f} {t.nodes:6.1f} {t.cycle_ns:9.0f} {t.hit_blocks:11.1f}")


if __name__ == "__main__":
    main()
