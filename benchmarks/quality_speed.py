"""What the quality model costs: 100,000 queries with a vote of 8, and one query at a time.

    python benchmarks/quality_speed.py [--json]

On one core, best of three. "800,000" rows are whole columns, in seconds; "one" rows are single
calls with 8 attempts of one query, in microseconds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np

from simulator.quality import AttemptLuck, optimal_tokens, plurality
from simulator.quality.presets import find_preset
from simulator.quality.probe import settled_tokens

QUERIES, VOTES, REPEATS, CALLS = 100_000, 8, 3, 2000


def best_of(work: Callable[[], object]) -> float:
    """Seconds of the fastest of three runs."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def measure() -> dict[str, float]:
    """Seconds (whole columns) and microseconds (one query) by what was done."""
    model = find_preset("r1-distill-qwen-32b/aime24").build()
    query, sample = np.arange(QUERIES)[:, None], np.arange(VOTES)
    difficulty = (query + 0.5) / QUERIES
    natural = np.random.default_rng(0).lognormal(9, 0.6, (QUERIES, VOTES))
    luck = AttemptLuck(1)(query, sample)
    answers = model.answers(difficulty, luck, sample, natural)
    kept = AttemptLuck(1)
    rows = {
        "800,000 lucks, s": best_of(lambda: AttemptLuck(1)(query, sample)),
        "800,000 correct, s": best_of(lambda: model.correct(difficulty, luck, natural)),
        "800,000 solve probabilities, s": best_of(
            lambda: model.solve_probability(difficulty, natural)
        ),
        "100,000 votes of 8, s": best_of(lambda: plurality(answers, difficulty[:, 0])),
        "100,000 settled lengths, s": best_of(
            lambda: settled_tokens(model, difficulty[:, 0], luck[:, 0], natural[:, 0])
        ),
        "100,000 optimal lengths, s": best_of(
            lambda: optimal_tokens(model, 1.0, 1e-5, difficulty=difficulty[:, 0])
        ),
    }

    def one_by_one() -> None:
        for j in range(CALLS):
            drawn = kept(j, sample)
            model.answers(0.3, drawn, sample, natural[j])

    rows["one query, luck and 8 answers, us"] = 1e6 * best_of(one_by_one) / CALLS
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    rows = measure()
    if parser.parse_args().json:
        print(json.dumps(rows, indent=2))
        return
    for name, value in rows.items():
        print(f"{name:36} {value:8.3f}")


if __name__ == "__main__":
    main()
