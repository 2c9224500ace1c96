"""Electric power of a stretch of a run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.cluster.outcome import Outcome
from simulator.config.costs import iteration_costs_of
from simulator.config.resolve import ResolvedPool
from simulator.cost.terms import FloatArray
from simulator.metrics.activity import amount, pool_activity
from simulator.metrics.power import GpuPower
from simulator.metrics.prefill import chunk_tokens


@dataclass(frozen=True)
class Load:
    """What one GPU of each replica moved and computed in each of many short stretches of time.

    Arrays [replicas, stretches]: `seconds`, `bytes_moved`, `flops`.
    """

    seconds: FloatArray
    bytes_moved: FloatArray
    flops: FloatArray

    def mean_w(self, power: GpuPower) -> float | None:
        """Mean power of a GPU, watts, never above TDP in any stretch; None without energies."""
        watts = power.watts(self.bytes_moved / self.seconds, self.flops / self.seconds)
        return None if watts is None else float(np.average(watts, weights=self.seconds))


def load_of(outcome: Outcome, pool: ResolvedPool, start_s: float, end_s: float) -> Load:
    """The load of the only pool of a run between two times, prompts and decodes told apart."""
    costs = iteration_costs_of(pool)
    activity = pool_activity(
        outcome,
        0,
        (start_s, end_s),
        window_tokens=costs.window_tokens,
        chunk_tokens=chunk_tokens(pool.engine),
    )
    work = costs.work()
    return Load(
        seconds=np.asarray(activity.seconds),
        bytes_moved=amount(work.bytes_moved, activity),
        flops=amount(work.flops, activity),
    )


def average_power_w(
    outcome: Outcome, pool: ResolvedPool, start_s: float, end_s: float
) -> float | None:
    """Mean power of all GPUs of the pool between two times, watts; None where it isn't known."""
    if end_s <= start_s:
        return None
    mean_w = load_of(outcome, pool, start_s, end_s).mean_w(GpuPower.of(pool.gpu))
    return None if mean_w is None else mean_w * pool.settings.num_gpus
