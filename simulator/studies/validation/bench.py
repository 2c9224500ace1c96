"""Compare a run of `vllm bench serve` on one's own cluster with the experiment that models it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hardware_profiles.profile import GpuProfile
from simulator.config.experiment import Experiment
from simulator.config.resolve import resolve_pool
from simulator.errors import InputError, Problem
from simulator.runner import plan_of, serve
from simulator.studies.validation.client import client_metrics
from simulator.studies.validation.points import Point
from simulator.studies.validation.predict import (
    APPROXIMATE,
    OK,
    UNSUPPORTED,
    Prediction,
    cost_table,
)
from workloads.arrivals import ClosedLoopArrivals, PoissonArrivals
from workloads.batch import ClosedLoop, RequestBatch
from workloads.traces.vllm_bench import BenchFile, is_number

# Key of the result file -> column of a points file, besides the latencies.
_TOTALS = {
    "duration": "duration_s",
    "output_throughput": "output_tps",
    "total_token_throughput": "total_tps",
    "request_throughput": "req_per_s",
}
_LATENCY = re.compile(r"(mean|median|p\d+)_(ttft|tpot|itl|e2el)_ms")


@dataclass(frozen=True)
class Bench:
    """The requests of a result file as they were sent, and what its client measured.

    `arrival_s` float64[n] from the first request on, or all 0 where `closed_loop` says who sends;
    `input_tokens`, `output_tokens` int64[n]. `sent` says in words how they were sent, `failed` how
    many requests failed and are left out. `measured` is by column of a points file.
    """

    name: str
    model: str
    arrival_s: NDArray[np.float64]
    input_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    closed_loop: ClosedLoop | None
    sent: str
    failed: int
    measured: dict[str, float]


def read_bench(path: str | Path) -> Bench:
    """Read a result of `vllm bench serve --save-result --save-detailed`.

    Requests are sent again as they were: with `max_concurrency`, by that many clients; else at
    their `start_times`; else at random times of the `request_rate`, or all at once if that is
    "inf". Raises InputError with every problem found: not such a file, lists missing (without
    --save-detailed) or of different lengths, entries that are no numbers.
    """
    file = str(path)
    try:
        reader = _Reader(Path(path).read_bytes(), file)
    except OSError as error:
        raise InputError(Problem(f"cannot be read: {error.strerror}", file=file)) from None
    lists = reader.lists()
    concurrency = reader.limit("max_concurrency")
    rate = reader.rate()
    if lists is None or reader.problems:
        raise InputError(reader.problems)
    prompts, outputs, starts = lists.input_tokens, lists.output_tokens, lists.start_s
    served = (outputs >= 1) & (prompts >= 1) & ~lists.failed
    if not served.any():
        raise InputError(Problem("every request failed", file=file))
    n = int(served.sum())
    arrival_s, loop, sent = _sending(
        concurrency, None if starts is None else starts[served], rate, n
    )
    order = np.argsort(arrival_s, kind="stable")
    return Bench(
        name=Path(path).stem,
        model=str(reader.data.get("model_id") or ""),
        arrival_s=arrival_s[order],
        input_tokens=prompts[served][order],
        output_tokens=outputs[served][order],
        closed_loop=loop,
        sent=sent,
        failed=len(served) - n,
        measured=reader.measured(),
    )


def predict_bench(
    bench: Bench,
    experiment: Experiment,
    columns: Iterable[str],
    gpu: GpuProfile | None = None,
) -> Prediction:
    """Send the requests of `bench` to the only pool of `experiment`, whose workload is not used.

    `gpu` takes the place of the pool's profile. Raises InputError as `resolve_pool` does, and if
    there are several pools: what was measured is of one.
    """
    pool = resolve_pool(*experiment.one_pool(), gpu=gpu)
    n = len(bench.arrival_s)
    batch = RequestBatch(
        arrival_s=bench.arrival_s,
        prompt_tokens=bench.input_tokens,
        thinking_tokens=np.zeros(n, dtype=np.int64),
        answer_tokens=bench.output_tokens,
        max_tokens=np.zeros(n, dtype=np.int64),
        class_id=np.zeros(n, dtype=np.int32),
        closed_loop=bench.closed_loop,
    )
    outcome = serve([plan_of(pool, cost_table(pool))], batch, router=experiment.router)
    refused = len(outcome.refused)
    if refused == n:
        return Prediction(
            bench.name, UNSUPPORTED, f"every request is refused: {outcome.refused[0]}"
        )
    assumed = []
    if not pool.gpu.calibrated:
        assumed.append(f"the profile of {pool.gpu.name} is not calibrated")
    if refused:
        assumed.append(f"{refused:,} requests are refused here and were not there")
    remarks = [bench.sent]
    if bench.failed:
        remarks.append(f"{bench.failed:,} failed requests left out")
    return Prediction(
        id=bench.name,
        status=APPROXIMATE if assumed else OK,
        reason="; ".join((*assumed, *remarks)),
        values=client_metrics(outcome, pool.settings.num_gpus, columns),
        engine="vllm",
        model=pool.architecture.name,
        gpu=pool.gpu.name,
        calibrated=pool.gpu.calibrated,
    )


def as_point(bench: Bench, experiment: Experiment) -> Point:
    """The row of a points file that a result file amounts to."""
    _, pool = experiment.one_pool()
    return Point(
        id=bench.name,
        src="vllm bench serve",
        line=1,
        hardware=pool.gpu,
        gpus=pool.num_gpus,
        model=bench.model or pool.model,
        weights=pool.weight_dtype,
        engine="vLLM",
        engine_version=pool.engine.preset,
        load_mode=bench.sent,
        tp=pool.tensor_parallel_size,
        measured=bench.measured,
    )


def _sending(
    concurrency: int | None, starts: NDArray[np.float64] | None, rate_rps: float, count: int
) -> tuple[NDArray[np.float64], ClosedLoop | None, str]:
    """When requests are sent: times, or the clients that decide them, and that in words."""
    at_once = np.zeros(count)
    if concurrency is not None and concurrency < count:
        clients = ClosedLoopArrivals(concurrency=concurrency)
        return at_once, clients.clients(0, "bench", count), clients.describe()
    if starts is not None:
        return starts - starts.min(), None, "sent at the file's start_times"
    if math.isinf(rate_rps):
        return at_once, None, "all at once"
    process = PoissonArrivals(rate_rps=rate_rps)
    return (
        process.times(0, "bench", count=count),
        None,
        f"{process.describe()} (times not in the file)",
    )


class _Reader(BenchFile):
    def limit(self, key: str) -> int | None:
        value = self.data.get(key)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            self.complain(key, f"must be a whole number above 0 or null, not {value!r}")
            return None
        return value

    def rate(self) -> float:
        value = self.data.get("request_rate", "inf")
        if value == "inf":
            return math.inf
        if not is_number(value) or value <= 0:
            self.complain("request_rate", f'must be a number above 0 or "inf", not {value!r}')
            return math.inf
        return float(value)

    def measured(self) -> dict[str, float]:
        found = {}
        for key, value in self.data.items():
            latency = _LATENCY.fullmatch(key)
            column = f"{latency[2]}_{latency[1]}_ms" if latency else _TOTALS.get(key)
            if column is not None and is_number(value) and value > 0:
                found[column] = float(value)
        return found
