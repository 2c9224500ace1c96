"""How a row's load was put on: when requests came, and how many."""

from __future__ import annotations

import math

from simulator.errors import InputError
from simulator.studies.validation.lengths import TASKS, Lengths, task_of
from simulator.studies.validation.points import Point
from workloads.arrivals import AllAtOnceArrivals, Arrivals, ClosedLoopArrivals, PoissonArrivals

# Requests of trtllm-bench by (prompt, output) tokens: docs/source/performance/perf-overview.md of
# github.com/NVIDIA/TensorRT-LLM @ 00f37686, "Preparing a Dataset".
TRTLLM_BENCH_REQUESTS = {
    (128, 128): 30000,
    (128, 2048): 3000,
    (128, 4096): 1500,
    (1000, 2000): 1500,
    (2048, 128): 3000,
    (2048, 2048): 1500,
    (5000, 500): 1500,
    (1000, 1000): 3000,
    (500, 2000): 3000,
    (20000, 2000): 1000,
}
OFFLINE_REQUESTS = 3000  # where nothing says how many
LOADGEN_S = 600.0  # LoadGen's shortest run
MOST_REQUESTS = 60_000
# InferenceMAX's client sends ten requests a client; nobody else who says nothing does better.
REQUESTS_PER_CLIENT = 10


class Unsupported(Exception):
    """A row that can't be simulated; the message is the reason."""


def first_reason(error: InputError) -> str:
    """The first problem of an error in few words: without the advice that follows it."""
    return error.problems[0].message.split("; ")[0]


def arrivals_of(point: Point, seats: int | None) -> tuple[Arrivals, int | None]:
    """How requests arrive, and the seats that a steady window starts with, if it has one.

    Raises `Unsupported` for load modes not known, or known too little of.
    """
    mode = point.load_mode.lower()
    if "steady window" in mode:
        if seats is None:
            raise Unsupported("not said: max_num_seqs, which the steady window starts with")
        return AllAtOnceArrivals(), seats
    if "closed loop" in mode:
        if point.concurrency is None:
            raise Unsupported("not said: the concurrency of the closed loop")
        return ClosedLoopArrivals(concurrency=point.concurrency), None
    if "open loop" in mode or "poisson" in mode:
        if point.request_rate is None or math.isinf(point.request_rate):
            raise Unsupported("not said: the request rate of the open loop")
        return PoissonArrivals(rate_rps=point.request_rate), None
    if "t=0" in mode or "all queued" in mode or "offline" in mode:
        return AllAtOnceArrivals(), None
    raise Unsupported(f"load mode: {point.load_mode}")


def num_requests_of(point: Point, arrivals: Arrivals, lengths: Lengths, assumed: list[str]) -> int:
    """How many requests were sent: said, counted in the histogram, or by the client's habit.

    Where none of these tells, the guess is added to `assumed`.
    """
    if point.num_prompts is not None:
        return point.num_prompts
    if lengths.counted:
        return lengths.counted
    task = task_of(point)
    if task is not None:
        unique = TASKS[task].unique_prompts
        number = unique * math.ceil(1.15 * (point.max_num_seqs or 1) / unique)
    elif isinstance(arrivals, ClosedLoopArrivals):
        return REQUESTS_PER_CLIENT * arrivals.concurrency
    elif isinstance(arrivals, PoissonArrivals):
        number = round(arrivals.rate_rps * LOADGEN_S)
    else:
        shape = (round(point.isl_fixed or 0), round(point.osl_fixed or 0))
        if "trtllm-bench" in point.key_settings and shape in TRTLLM_BENCH_REQUESTS:
            return TRTLLM_BENCH_REQUESTS[shape]
        number = OFFLINE_REQUESTS
    number = max(1, min(number, MOST_REQUESTS))
    assumed.append(f"{number:,} requests")
    return number
