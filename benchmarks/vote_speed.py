"""How fast queries are that send many requests each: a vote of eight.

    python benchmarks/vote_speed.py [--json] [--queries N] [--samples N] [--stop]

Attempts think some 1,000 tokens; those of a query share its prompt in the prefix cache. Timed is
all that `ponder run` does but write files: drawing lengths and luck, planning, the tree of prompts,
the run itself, the tables. `--stop` cancels the attempts that can't change the vote any more, and
says how many KV blocks are left in use at the end.
"""

from __future__ import annotations

import argparse
import json
import time

from simulator.config.experiment import Experiment
from simulator.runner import simulate

REPLICAS, RATE_RPS = 16, 5.6


def vote(queries: int, samples: int, stop: bool) -> Experiment:
    """So many queries of so many attempts."""
    return Experiment.model_validate(
        {
            "name": "vote-speed",
            "pools": {
                "main": {
                    "model": "r1-distill-llama-8b",
                    "gpu": "h100-sxm",
                    "replicas": REPLICAS,
                    "quality": {"accuracy": 0.6, "rho": 0.5, "dominant_share": 0.3},
                }
            },
            "router": "session_affinity",  # all attempts of a query on one replica
            "strategy": {"kind": "majority_vote", "samples": samples, "stop_when_decided": stop},
            "workload": {
                "kind": "synthetic",
                "num_requests": queries,
                "arrivals": {"kind": "poisson", "rate_rps": RATE_RPS},
                "prompt_tokens": {"kind": "constant", "tokens": 300},
                "thinking_tokens": {"kind": "lognormal", "mu": 6.4, "sigma": 1.0},
                "answer_tokens": {"kind": "constant", "tokens": 200},
            },
        }
    )


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--queries", type=int, default=100_000)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--stop", action="store_true", help="cancel what can't change the vote")
    arguments = parser.parse_args()

    simulate(vote(50, arguments.samples, arguments.stop)).result()  # load what is compiled
    started_s = time.process_time()
    simulation = simulate(vote(arguments.queries, arguments.samples, arguments.stop))
    ran_s = time.process_time()
    summary = simulation.result().summary
    done_s = time.process_time()
    outcome = simulation.outcome
    usable = sum(outcome.configs[pool].usable_blocks for pool in outcome.pool_id)
    figures = {
        "queries": arguments.queries,
        "requests": len(outcome.requests),
        "cancelled": summary["run_cancelled"],
        "run_cpu_s": ran_s - started_s,
        "tables_cpu_s": done_s - ran_s,
        "total_cpu_s": done_s - started_s,
        "cpu_us_per_request": 1e6 * (done_s - started_s) / len(outcome.requests),
        "accuracy": summary["accuracy"],
        "prefix_hit_ratio": summary["prefix_hit_ratio"],
        "blocks_in_use_at_the_end": usable - int(outcome.states["free_blocks"].sum()),
    }
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    for name, value in figures.items():
        print(
            f"{name:<26}{value:>14,.3f}" if isinstance(value, float) else f"{name:<26}{value:>14,}"
        )


if __name__ == "__main__":
    main()
