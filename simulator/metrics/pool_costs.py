"""What metrics must know of a pool beyond its run: what its iterations take, move and compute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.cost.cost_table import CostTable
from simulator.cost.iteration_time import IterationCosts, Work
from simulator.engine.config import EngineConfig
from simulator.metrics.power import GpuPower
from simulator.metrics.prefill import chunk_tokens

if TYPE_CHECKING:
    from hardware_profiles.profile import GpuProfile


@dataclass(frozen=True, eq=False)
class PoolCosts:
    """One pool's costs; arrays and numbers only, so that they travel well.

    `cost`: iteration times of a replica. `work`: what an iteration moves and computes on each of
    its `gpus_per_replica` GPUs, whose memory moves `memory_bandwidth` bytes/s. `chunk_tokens`: most
    prompt tokens that an iteration gives a request that is alone. `power`: of one GPU.
    """

    cost: CostTable
    work: Work
    chunk_tokens: int
    gpus_per_replica: int
    memory_bandwidth: float
    power: GpuPower

    @classmethod
    def of(
        cls, costs: IterationCosts, config: EngineConfig, gpu: GpuProfile, gpus_per_replica: int
    ) -> PoolCosts:
        """The costs of a pool whose replicas run `config` on `gpus_per_replica` GPUs each."""
        return cls(
            cost=costs.table(),
            work=costs.work(),
            chunk_tokens=chunk_tokens(config),
            gpus_per_replica=gpus_per_replica,
            memory_bandwidth=gpu.hardware.memory_bandwidth.si,
            power=GpuPower.of(gpu),
        )
