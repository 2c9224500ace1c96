"""Several replicas behind a router: alike or not, sync or async, with and without a cache."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from simulator.cluster.cluster import Cluster
from simulator.cluster.pool import PoolPlan
from simulator.conformance.case import Case, Run, cause_of
from simulator.conformance.engine_case import round_cost, small_engine
from simulator.conformance.workload import LONGEST_TOKENS, workload
from simulator.engine.config import EngineConfig
from simulator.engine.request import NONE
from simulator.engine.state import STATE
from simulator.routers.base import Router

_SMALL = small_engine(num_gpu_blocks=124, max_num_seqs=3)
_LARGE = small_engine(
    num_gpu_blocks=100, block_size=16, max_num_seqs=6, max_model_len=2 * LONGEST_TOKENS
)
_CACHING = small_engine(num_gpu_blocks=124, max_num_seqs=3, enable_prefix_caching=True)
_FLEETS: dict[str, list[tuple[EngineConfig, int]]] = {
    "four alike": [(_SMALL, 4)],
    "two pools": [(_SMALL, 2), (_LARGE, 2)],
    "two pools, async": [
        (replace(_LARGE, async_scheduling=True), 1),
        (replace(_SMALL, async_scheduling=True), 3),
    ],
    "shared prompts": [(_CACHING, 3)],
}


def router_cases() -> list[FleetCase]:
    """One case for each kind of fleet, always the same ones."""
    return [
        FleetCase(
            name,
            workload(f"fleet of {name}", 60, 30.0, shares_prompts=name == "shared prompts"),
            tuple(pools),
        )
        for name, pools in _FLEETS.items()
    ]


@dataclass(frozen=True)
class Sent:
    """Request `request` was sent to replica `replica` when it arrived, at `t_s` (seconds)."""

    t_s: float
    request: int
    replica: int


@dataclass(frozen=True, eq=False)
class FleetCase(Case):
    """Requests and the pools that are to serve them. Its decisions are `Sent`."""

    pools: tuple[tuple[EngineConfig, int], ...]
    """Engine and number of replicas of each."""

    @property
    def longest_tokens(self) -> int:
        """What every replica takes."""
        return min(config.max_model_len for config, _ in self.pools)

    def stepping(self) -> FleetCase:
        """The same, each iteration by itself."""
        pools = ((replace(config, stepping="iteration"), count) for config, count in self.pools)
        return replace(self, pools=tuple(pools))

    def serve(self, policy: Router, until_s: float | None = None) -> Run:
        """Serve under a router up to a time, with the engine's invariants checked."""
        requests = self.workload.table()
        states = np.zeros(0, dtype=STATE)
        error = None
        try:
            cluster = Cluster(
                requests,
                policy,
                [
                    PoolPlan(f"pool{k}", config, round_cost(config), count)
                    for k, (config, count) in enumerate(self.pools)
                ],
                sample_interval_s=1e9,
                segments=self.workload.facts.segments,
                facts=self.workload.facts,
                seed=7,
                check_integrity=True,
            )
            outcome = cluster.run(until_s=self.limit_s if until_s is None else until_s)
            states = outcome.states
        except Exception as raised:  # whatever a policy does wrong
            error = cause_of(raised)
        sent = np.flatnonzero(requests["replica"] != NONE)
        steps = [
            Sent(float(requests["arrival_s"][i]), i, int(requests["replica"][i]))
            for i in sent.tolist()
        ]
        return Run(self, policy, requests, steps, states, error)
