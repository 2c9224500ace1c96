"""How fast the event loop is, on the reference load.

    python benchmarks/engine_speed.py [--json] [--quick]

Reference load: 20,000 requests, prompts LogNormal(6, 0.8) clipped to [8, 8000] tokens, outputs
LogNormal(8, 1) clipped to [16, 32768], one replica with 27,000 blocks of 16, 256 seats, a budget of
8,192 tokens; Poisson arrivals at 0.85 x the rate at which it completes requests when all are there
at t = 0. "Lengths x 8" means prompts, outputs, their caps and the KV blocks.

Times are of the event loop alone, one core, every metric recorded, best of five taken in turn.
Timings on a shared machine are noisy: trust ratios from one run.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import simpy

from simulator.cluster.cluster import Cluster
from simulator.cluster.outcome import Outcome
from simulator.cluster.pool import PoolPlan
from simulator.cost.iteration_time import CostTable
from simulator.engine.config import EngineConfig
from simulator.engine.request import new_requests
from simulator.facts import RequestFacts
from simulator.routers.round_robin import RoundRobin
from simulator.schedulers import Scheduler
from simulator.schedulers.fcfs import Fcfs
from simulator.testing import linear_cost

LOAD = 0.85
MAX_PROMPT, MAX_OUTPUT = 8000, 32768
SCALING = (10_000, 100_000, 1_000_000)
REPEATS = 5


@dataclass(frozen=True)
class Timing:
    """One run of the event loop."""

    requests: int
    output_tokens: int
    wall_s: float
    events: int
    peak_memory_mb: float

    @property
    def requests_per_s(self) -> float:
        """Requests served per second of wall time."""
        return self.requests / self.wall_s


def reference_load(
    n: int, rate_rps: float | None, scale: int = 1, seed: int = 0
) -> tuple[EngineConfig, CostTable, np.ndarray]:
    """The reference load with `n` requests, lengths and blocks times `scale`; None: all at t = 0.

    Returns a replica's configuration and costs, and the table of requests.
    """
    rng = np.random.default_rng(seed)
    prompts = np.clip(rng.lognormal(6.0, 0.8, n), 8, MAX_PROMPT).astype(np.int64) * scale
    outputs = np.clip(rng.lognormal(8.0, 1.0, n), 16, MAX_OUTPUT).astype(np.int64) * scale
    gaps = rng.exponential(1.0, n)
    arrivals = np.zeros(n) if rate_rps is None else np.cumsum(gaps) / rate_rps
    config = EngineConfig(
        num_gpu_blocks=27_000 * scale,
        max_model_len=(MAX_PROMPT + MAX_OUTPUT) * scale,
        max_num_seqs=256,
        max_num_batched_tokens=8192,
    )
    # 5 ms a step, 2 us a token, 5 ns a token of context: about an 8B model on an H100.
    cost = linear_cost(5e-3, 2e-6, 5e-9, max_tokens=8192, max_seqs=256)
    return config, cost, new_requests(arrivals, prompts, outputs, thinking_tokens=outputs * 3 // 4)


def simulate(n: int, rate_rps: float | None, scale: int = 1, seed: int = 0) -> tuple[Outcome, int]:
    """Serve the reference load; returns the outcome and the number of SimPy events."""
    return serve(*reference_load(n, rate_rps, scale, seed))


def serve(
    config: EngineConfig,
    cost: CostTable,
    requests: np.ndarray,
    scheduler: Callable[[], Scheduler] = Fcfs,
    facts: RequestFacts | None = None,
) -> tuple[Outcome, int]:
    """Serve requests on one replica; returns the outcome and the number of SimPy events."""
    end_s = float(requests["arrival_s"][-1])
    cluster = Cluster(
        requests,
        RoundRobin(),
        [PoolPlan("main", config, cost, scheduler=scheduler)],
        sample_interval_s=max(end_s / 1000, 0.01),
        marks_s=(0.0,),
        itl_span_s=(0.0, end_s),
        facts=facts,
    )
    outcome = cluster.run()
    return outcome, next(cluster.clock._eid)


def completion_rate_rps(n: int, scale: int = 1) -> float:
    """Requests per simulated second when all `n` wait from the start."""
    outcome, _ = simulate(n, None, scale)
    return n / outcome.end_s


def measure(n: int, rate_rps: float, scale: int = 1) -> Timing:
    """One run."""
    outcome, events = simulate(n, rate_rps, scale)
    return Timing(
        requests=n,
        output_tokens=int(outcome.requests["generated_tokens"].sum()),
        wall_s=outcome.wall_s,
        events=events,
        peak_memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


def measure_apart(n: int, rate_rps: float) -> Timing:
    """The median of three (a million: one), in a fresh process, so that peak memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure_in_this_process, (n, rate_rps))


def _measure_in_this_process(n: int, rate_rps: float) -> Timing:
    simulate(100, None)  # load the compiled kernels
    runs = [measure(n, rate_rps) for _ in range(3 if n < SCALING[-1] else 1)]
    return sorted(runs, key=lambda timing: timing.wall_s)[len(runs) // 2]


def bare_simpy_s(events: int) -> float:
    """Wall time of a SimPy loop that does nothing but fire `events` Timeouts."""
    env = simpy.Environment()

    def fire(_: object) -> None:
        env.timeout(1.0).callbacks.append(fire)

    fire(None)
    started = time.perf_counter()
    for _ in range(events):
        env.step()
    return time.perf_counter() - started


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="leave out the million requests")
    arguments = parser.parse_args()

    simulate(100, None)  # load the compiled kernels
    n = 20_000
    rate = completion_rate_rps(n) * LOAD
    long_rate = completion_rate_rps(n, scale=8) * LOAD
    # Taken in turn, so that a slow moment of the machine does not hit one of them alone.
    references, longs, bares_s = [], [], []
    for _ in range(REPEATS):
        references.append(measure(n, rate))
        longs.append(measure(n, long_rate, scale=8))
        bares_s.append(bare_simpy_s(references[0].events))
    reference = min(references, key=lambda timing: timing.wall_s)
    long = min(longs, key=lambda timing: timing.wall_s)
    sizes = SCALING[:-1] if arguments.quick else SCALING
    scaling = [measure_apart(size, rate) for size in sizes]
    figures = {
        "requests_per_s": reference.requests_per_s,
        "output_tokens_per_s": reference.output_tokens / reference.wall_s,
        "wall_ratio_to_bare_simpy": reference.wall_s / min(bares_s),
        "thinking_x8_wall_ratio": long.wall_s / reference.wall_s,
        "scaling": [
            asdict(timing) | {"requests_per_s": timing.requests_per_s} for timing in scaling
        ],
    }
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    print(f"requests/s            {figures['requests_per_s']:>12,.0f}")
    print(f"output tokens/s       {figures['output_tokens_per_s']:>12,.0f}")
    print(f"x bare SimPy          {figures['wall_ratio_to_bare_simpy']:>12.2f}")
    print(f"lengths x 8: wall x   {figures['thinking_x8_wall_ratio']:>12.2f}")
    for timing in scaling:
        print(
            f"{timing.requests:>9,} requests    {timing.wall_s:>10.2f} s"
            f"  {timing.requests_per_s:>8,.0f} /s  {timing.peak_memory_mb:>7,.0f} MB"
        )


if __name__ == "__main__":
    main()
