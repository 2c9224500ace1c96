"""One replica that serves under a scheduler: every pressure that an engine can be under."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from simulator.cluster.source import Source
from simulator.conformance.case import ITERATION_S, Case, Run, cause_of
from simulator.conformance.workload import LONGEST_TOKENS, workload
from simulator.cost.cost_table import CostTable
from simulator.engine.clock import Clock
from simulator.engine.config import EngineConfig
from simulator.engine.state import STATE
from simulator.engine.trace import Step, TracedReplica
from simulator.schedulers.base import Scheduler

_AMPLE = {"num_gpu_blocks": 2000}
_LITTLE = {"num_gpu_blocks": 124, "max_num_seqs": 8}
_ENGINES: dict[str, dict[str, Any]] = {
    "ample": {**_AMPLE, "max_num_seqs": 12},
    "few seats": {**_AMPLE, "max_num_seqs": 3},
    "few seats, async": {**_AMPLE, "max_num_seqs": 3, "async_scheduling": True},
    "a burst": {**_AMPLE, "max_num_seqs": 4, "max_num_batched_tokens": 8},
    "little KV": _LITTLE,
    "little KV, async": {
        **_LITTLE,
        "num_gpu_blocks": 32,
        "block_size": 16,
        "scheduler_reserve_full_isl": False,
        "async_scheduling": True,
    },
    "swapping": {
        **_LITTLE,
        "preemption": "swap",
        "host_kv_tokens": 600,
        "host_token_s": 2.0**-12,
    },
    "checkpoints, async": {
        **_LITTLE,
        "preemption": "checkpoint",
        "checkpoint_tokens": 16,
        "host_kv_tokens": 2000,
        "async_scheduling": True,
    },
    "shared prompts": {**_LITTLE, "enable_prefix_caching": True},
    "whole prompts": {
        **_LITTLE,
        "batching": "prefill_first",
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": LONGEST_TOKENS,
    },
    "static batches": {"num_gpu_blocks": 200, "max_num_seqs": 4, "batching": "static"},
}
_SPAN_S = {"ample": 150.0, "few seats": 30.0, "few seats, async": 30.0, "a burst": 0.0}


def scheduler_cases() -> list[EngineCase]:
    """One case for each kind of pressure, always the same ones."""
    return [
        EngineCase(
            name,
            workload(name, 30, _SPAN_S.get(name, 12.0), shares_prompts=name == "shared prompts"),
            small_engine(**options),
        )
        for name, options in _ENGINES.items()
    ]


def small_engine(**options: Any) -> EngineConfig:
    """An engine for requests of at most `LONGEST_TOKENS`, with small blocks and batches."""
    small = {"block_size": 4, "max_num_batched_tokens": 24, "max_model_len": LONGEST_TOKENS}
    return EngineConfig(**{**small, **options})


def round_cost(config: EngineConfig) -> CostTable:
    """1/8 s an iteration, 1 ms a token, 4 us a token of context: all powers of two."""
    seats = config.seat_limit + 1
    context_s = 2.0**-18
    tokens = np.arange(config.max_num_batched_tokens + 1, dtype=np.float64)
    return CostTable(
        token_s=ITERATION_S + 2.0**-10 * tokens,
        seq_s=np.zeros(seats),
        decode_fixed_s=np.zeros(seats),
        decode_context_s=np.full(seats, context_s),
        prefill_s=np.array([0.0, 0.0, context_s, 0.0]),
    )


@dataclass(frozen=True, eq=False)
class EngineCase(Case):
    """Requests and the one engine that is to serve them. Its decisions are `Step`s."""

    config: EngineConfig

    @property
    def longest_tokens(self) -> int:
        """As the engine has it."""
        return self.config.max_model_len

    def stepping(self) -> EngineCase:
        """The same, each iteration by itself."""
        return replace(self, config=replace(self.config, stepping="iteration"))

    def serve(self, policy: Scheduler, until_s: float | None = None) -> Run:
        """Serve under a scheduler up to a time, with the engine's invariants checked."""
        clock = Clock()
        requests = self.workload.table()
        steps: list[Step] = []
        states = np.zeros(1, dtype=STATE)
        error = None
        try:
            replica = TracedReplica(
                clock,
                self.config,
                round_cost(self.config),
                requests,
                scheduler=policy,
                facts=self.workload.facts,
                segments=self.workload.facts.segments,
                state=states,
                check_integrity=True,
            )
            steps = replica.steps
            Source(clock, self.workload.arrival_s, replica.offer)
            clock.run(until=self.limit_s if until_s is None else until_s)
            replica.finish(clock.now)
        except Exception as raised:  # whatever a policy does wrong
            error = cause_of(raised)
        return Run(self, policy, requests, steps, states, error)
