"""How long it takes to tabulate what iterations cost, for a budget of 8,192 tokens.

    python benchmarks/tabulate_speed.py [--json]

Every model of the catalogue, on the first GPU and tensor-parallel size that can run it (whether it
fits there does not matter), with 256 seats. "costs" is the whole of it (kernels, components,
table), "table" what one more table takes with other factors on the components, as the error bands
need them. Best of five.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from hardware_profiles.profile import GpuProfile, load_gpu
from simulator.cost import Architecture, iteration_costs, list_models, load_architecture
from simulator.cost.gpu_support import check_gpu
from simulator.cost.iteration_time import IterationCosts
from simulator.cost.sharding import TENSOR_PARALLEL_SIZES, shard
from simulator.errors import InputError

GPUS = ("h100-sxm", "h200-sxm", "b200-sxm")
MAX_NUM_BATCHED_TOKENS = 8192
MAX_NUM_SEQS = 256
REPEATS = 5


@dataclass(frozen=True)
class Timing:
    """Seconds of one model."""

    model: str
    gpu: str
    tensor_parallel_size: int
    costs_s: float
    table_s: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    as_json = parser.parse_args().json
    timings = [timing for row in list_models() if (timing := time_model(row.name))]
    if as_json:
        print(json.dumps([asdict(timing) for timing in timings], indent=2))
        return
    print(f"{'model':24}{'GPU':12}{'TP':>3}{'costs':>12}{'table':>12}")
    for timing in timings:
        print(
            f"{timing.model:24}{timing.gpu:12}{timing.tensor_parallel_size:>3}"
            f"{timing.costs_s * 1e3:>9.1f} ms{timing.table_s * 1e3:>9.2f} ms"
        )
    print(f"slowest: {max(timing.costs_s for timing in timings) * 1e3:.0f} ms")


def time_model(name: str) -> Timing | None:
    """Time one model; None if no GPU takes it."""
    model = load_architecture(name)
    for gpu_name in GPUS:
        gpu = load_gpu(gpu_name)
        for size in TENSOR_PARALLEL_SIZES:
            try:
                check_gpu(model, gpu, "auto", "auto")
                shard(model, size)
                costs = tabulated(model, gpu, size)
            except InputError:
                continue
            costs_s = best(lambda m=model, g=gpu, s=size: tabulated(m, g, s))
            table_s = best(lambda c=costs: c.table({"decode attention": 1.01}))
            return Timing(name, gpu_name, size, costs_s, table_s)
    return None


def tabulated(model: Architecture, gpu: GpuProfile, size: int) -> IterationCosts:
    costs = iteration_costs(
        model,
        gpu,
        tensor_parallel_size=size,
        weight_dtype="auto",
        kv_cache_dtype="auto",
        max_num_batched_tokens=MAX_NUM_BATCHED_TOKENS,
        max_num_seqs=MAX_NUM_SEQS,
    )
    costs.table()
    return costs


def best(call: Callable[[], object]) -> float:
    """Shortest of several calls, in seconds."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    main()
