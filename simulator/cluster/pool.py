"""What a cluster is told of one of its pools."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.cost.cost_table import CostTable
from simulator.engine.config import EngineConfig
from simulator.schedulers.base import Scheduler
from simulator.schedulers.fcfs import Fcfs


@dataclass(frozen=True, eq=False)
class PoolPlan:
    """`num_replicas` engine instances that all have one configuration and one cost table.

    `scheduler` makes the scheduler of one replica.
    """

    name: str
    config: EngineConfig
    cost: CostTable
    num_replicas: int = 1
    scheduler: Callable[[], Scheduler] = Fcfs

    def fits(
        self, prompt_tokens: NDArray[np.int64], max_tokens: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Which requests a replica would take at all: bool[n]; a cap of 0 is none."""
        longest = self.config.max_model_len
        return (prompt_tokens < longest) & (prompt_tokens + max_tokens <= longest)
