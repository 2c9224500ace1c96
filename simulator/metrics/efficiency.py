"""How well the GPUs are used, and what that takes in energy.

- MBU, model bandwidth utilisation: bytes moved / (time x peak bandwidth) (Databricks, "LLM
  Inference Performance Engineering: Best Practices", 2023);
- MFU, model FLOPs utilisation: operations / (time x peak), the peak being that of the format each
  part computes in (Chowdhery et al., "PaLM", arXiv 2204.02311, appendix B);
- energy: power of each stretch of time, idle included, times its length.

Time is that of the window, busy or not. Bytes and operations are the cost model's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.metrics.activity import Activity, amount
from simulator.metrics.pool_costs import PoolCosts

JOULES_PER_KWH = 3.6e6


@dataclass(frozen=True)
class PoolUse:
    """What all GPUs of a pool did in the window.

    `gpu_s` seconds of one GPU after the other, of which `memory_s` would do to move the bytes at
    peak bandwidth and `compute_s` to do the arithmetic at peak speed. `energy_j` is None where the
    GPU's profile has no energies.
    """

    gpu_s: float
    memory_s: float
    compute_s: float
    bytes_moved: float
    flops: float
    energy_j: float | None


def pool_use(activity: Activity, costs: PoolCosts) -> PoolUse:
    """Add up the stretches of a pool's replicas: `activity` holds arrays of one shape.

    Each entry is a stretch of one replica.
    """
    gpus, work = costs.gpus_per_replica, costs.work
    seconds = np.asarray(activity.seconds, np.float64)
    moved, flops = amount(work.bytes_moved, activity), amount(work.flops, activity)
    some = np.where(seconds > 0, seconds, 1.0)  # nothing happens in a window without length
    watts = costs.power.watts(moved / some, flops / some)
    return PoolUse(
        gpu_s=gpus * float(seconds.sum()),
        memory_s=gpus * float(moved.sum()) / costs.memory_bandwidth,
        compute_s=gpus * float(amount(work.compute_s, activity).sum()),
        bytes_moved=gpus * float(moved.sum()),
        flops=gpus * float(flops.sum()),
        energy_j=None if watts is None else gpus * float((watts * seconds).sum()),
    )


def efficiency_summary(
    pools: Sequence[PoolUse | None], output_tokens: int, completed_queries: int
) -> dict[str, Any]:
    """MBU, MFU, mean power and energy of several pools together; None where one is not known.

    Pools weigh by their GPU-seconds. `output_tokens` and `completed_queries` are those of the
    window, which share all of its energy.
    """
    uses = [use for use in pools if use is not None]
    uses = uses if len(uses) == len(pools) else []
    gpu_s = sum(use.gpu_s for use in uses)
    joules = energy_j(pools)

    def share(part: float) -> float | None:
        return part / gpu_s if gpu_s else None

    def energy_per(count: float) -> float | None:
        return joules / count if joules is not None and count else None

    return {
        "mbu": share(sum(use.memory_s for use in uses)),
        "mfu": share(sum(use.compute_s for use in uses)),
        "mean_gpu_power_w": energy_per(gpu_s),
        "energy_kwh": energy_per(JOULES_PER_KWH),
        "energy_j_per_output_token": energy_per(output_tokens),
        "energy_j_per_completed_query": energy_per(completed_queries),
    }


def energy_j(pools: Sequence[PoolUse | None]) -> float | None:
    """Energy of all pools in the window, joules; None where that of one is not known."""
    energies = [None if use is None else use.energy_j for use in pools]
    known = [energy for energy in energies if energy is not None]
    spent = sum(use.gpu_s for use in pools if use is not None)
    return sum(known) if spent and len(known) == len(energies) else None
