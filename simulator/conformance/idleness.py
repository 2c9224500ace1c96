"""Work conservation: no seat is left empty while whoever is next would fit."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from simulator.conformance.case import Run
from simulator.conformance.engine_case import EngineCase
from simulator.engine.trace import Step


def idle(run: Run) -> Iterator[str]:
    """Iterations in which every request that may have been waiting would have fitted as well.

    Whoever is next is one of them. Iterations that preempt are left out, and the one after each:
    nobody is admitted then.
    """
    assert isinstance(run.case, EngineCase)
    config = run.case.config
    if config.batching == "static":
        return
    waiting = _Waiting(run)
    spare = -1
    for step in run.steps:
        spare = 2 if step.preempted else spare - 1
        if step.num_waiting == 0 or step.num_running >= config.seat_limit or spare > 0:
            continue
        budget = config.max_num_batched_tokens - sum(count for _, count in step.scheduled)
        whole = waiting.most_tokens(step)
        chunk = whole if not config.enable_chunked_prefill else 1
        need = -(-whole // config.block_size)
        if chunk <= budget and need <= step.free_blocks - config.watermark_blocks:
            yield (
                f"the iteration at {step.t_s:g} s leaves {config.seat_limit - step.num_running} "
                f"seats and {step.free_blocks} blocks free, though {step.num_waiting} requests "
                f"wait that need {need} blocks at most"
            )
    yield from _gaps(run)


class _Waiting:
    """Which requests may be waiting when an iteration is decided, and what they need."""

    def __init__(self, run: Run) -> None:
        self._arrival_s = run.case.workload.arrival_s
        self._finish_s = run.requests["finish_s"]
        work = run.case.workload
        self._most = work.prompt_tokens + work.output_tokens

    def most_tokens(self, step: Step) -> int:
        """Tokens that the longest of them can have at most."""
        there = (self._arrival_s <= step.t_s) & (self._finish_s > step.t_s)
        there[[i for i, _ in step.scheduled]] = False
        return int(self._most[there].max(initial=1))


def _gaps(run: Run) -> Iterator[str]:
    """Times at which nothing is computed though somebody is there."""
    arrival_s, finish_s = run.case.workload.arrival_s, run.requests["finish_s"]
    for step, following in pairwise(run.steps):
        end_s = step.t_s + step.dt_s
        if following.t_s > end_s:
            there = (arrival_s < following.t_s) & (finish_s > end_s)
            for i in np.flatnonzero(there):
                yield f"nothing runs from {end_s:g} to {following.t_s:g} s, yet request {i} waits"
