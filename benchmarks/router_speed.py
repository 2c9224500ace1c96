"""How much it costs to route requests over many replicas.

    python benchmarks/router_speed.py [--json] [--quick] [--router NAME] [--all]

The reference load of `engine_speed.py` on each replica (0.85 of the rate at which one completes
requests), and a router before them. Sends a million requests to one replica and over a thousand;
`--quick`: 200,000. `--all`: every router over a hundred replicas instead, beside
round_robin, which looks at nothing. Times are those of the processor in the event loop alone, one
core, each in a fresh process.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from dataclasses import asdict, dataclass, replace

import numpy as np
from engine_speed import LOAD, MAX_OUTPUT, MAX_PROMPT, completion_rate_rps

from simulator.cluster.cluster import Cluster
from simulator.cluster.pool import PoolPlan
from simulator.difficulty import NoisyClassifier
from simulator.engine.config import EngineConfig
from simulator.engine.request import new_requests
from simulator.facts import RequestFacts
from simulator.routers import ROUTERS
from simulator.testing import linear_cost

REPEATS = 3


class Guess:
    """Predicts what it was told."""

    def __init__(self, tokens: np.ndarray) -> None:
        self.tokens = tokens.astype(float)

    def total_tokens(self, rows: np.ndarray, generated: np.ndarray) -> np.ndarray:
        """Output tokens of `rows`, whatever has been generated."""
        return self.tokens[rows]


@dataclass(frozen=True)
class Timing:
    """One run of the event loop."""

    router: str
    replicas: int
    requests: int
    cpu_s: float
    wall_s: float

    @property
    def request_us(self) -> float:
        """Microseconds of processor time a request."""
        return 1e6 * self.cpu_s / self.requests


def measure(router: str, replicas: int, n: int, rate_rps: float, seed: int = 0) -> Timing:
    """`n` requests over `replicas`, each of which gets `rate_rps` on average."""
    rng = np.random.default_rng(seed)
    prompts = np.clip(rng.lognormal(6.0, 0.8, n), 8, MAX_PROMPT).astype(np.int64)
    outputs = np.clip(rng.lognormal(8.0, 1.0, n), 16, MAX_OUTPUT).astype(np.int64)
    arrivals = np.cumsum(rng.exponential(1.0, n)) / (rate_rps * replicas)
    config = EngineConfig(
        num_gpu_blocks=27_000,
        max_model_len=MAX_PROMPT + MAX_OUTPUT,
        max_num_seqs=256,
        max_num_batched_tokens=8192,
    )
    cost = linear_cost(5e-3, 2e-6, 5e-9, max_tokens=8192, max_seqs=256)
    facts = replace(
        RequestFacts.plain(prompts),
        session_id=np.arange(n) // 4,
        predictor=Guess(outputs),
        classifier=NoisyClassifier(rng.random(n)),
    )
    cluster = Cluster(
        new_requests(arrivals, prompts, outputs, thinking_tokens=outputs * 3 // 4),
        ROUTERS[router](),
        [PoolPlan("pool", config, cost, replicas)],
        sample_interval_s=max(float(arrivals[-1]) / 1000, 0.01),
        marks_s=(0.0,),
        itl_span_s=(0.0, float(arrivals[-1])),
        facts=facts,
    )
    started = time.process_time()
    outcome = cluster.run()
    return Timing(router, replicas, n, time.process_time() - started, outcome.wall_s)


def measure_apart(router: str, replicas: int, n: int, rate_rps: float, repeats: int) -> Timing:
    """The fastest of `repeats`, in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure_in_this_process, (router, replicas, n, rate_rps, repeats))


def _measure_in_this_process(
    router: str, replicas: int, n: int, rate_rps: float, repeats: int
) -> Timing:
    measure(router, 2, 100, rate_rps)  # load the compiled kernels
    runs = [measure(router, replicas, n, rate_rps) for _ in range(repeats)]
    return min(runs, key=lambda timing: timing.cpu_s)


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="200,000 requests, not a million")
    parser.add_argument("--router", default="least_kv_tokens", choices=list(ROUTERS))
    parser.add_argument("--all", action="store_true", help="every router over a hundred replicas")
    arguments = parser.parse_args()

    rate_rps = completion_rate_rps(20_000) * LOAD
    if arguments.all:
        names = ["round_robin", *(name for name in ROUTERS if name != "round_robin")]
        timings = [measure_apart(name, 100, 50_000, rate_rps, 1) for name in names]
    else:
        many = 200_000 if arguments.quick else 1_000_000
        timings = [
            measure_apart(
                arguments.router, replicas, many, rate_rps, REPEATS if arguments.quick else 1
            )
            for replicas in (1, 1000)
        ]
    ratio = timings[-1].request_us / timings[0].request_us
    if arguments.json:
        figures = [asdict(timing) | {"request_us": timing.request_us} for timing in timings]
        print(json.dumps({"timings": figures, "ratio": ratio}, indent=2))
        return
    for timing in timings:
        print(
            f"{timing.router:<20} {timing.replicas:>5,} replicas {timing.requests:>10,} requests"
            f" {timing.cpu_s:>8.2f} s  {timing.request_us:>7.1f} us a request"
        )
    if not arguments.all:
        print(f"a request at {timings[-1].replicas:,} replicas costs {ratio:.2f} x that at one")


if __name__ == "__main__":
    main()
