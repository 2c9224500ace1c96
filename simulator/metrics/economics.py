"""What the run cost: GPU-hours, and dollars per thing that somebody wanted."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.metrics.record import PoolRecord, RunRecord


@dataclass(frozen=True)
class Economics:
    """GPUs are paid by the hour whether busy or not. A cost per unit is None if there was no unit.

    `gpu_hours` and `cost_usd` cover the whole run, warm-up and drain included; the `window_`
    values and the two unit costs cover the measuring window, so that they are those of a service
    that goes on.
    """

    gpu_hours: float
    cost_usd: float
    window_gpu_hours: float
    window_cost_usd: float
    usd_per_million_output_tokens: float | None
    usd_per_completed_query: float | None


def economics(record: RunRecord, window_completed: int) -> Economics:
    """Cost of a run in which `window_completed` queries were completed inside the window."""
    window_s, tokens = record.window_length_s, record.window_output_tokens
    window_cost = sum(_cost_usd(pool, window_s) for pool in record.pools)
    return Economics(
        gpu_hours=gpu_hours(record.num_gpus, record.end_s),
        cost_usd=sum(_cost_usd(pool, record.end_s) for pool in record.pools),
        window_gpu_hours=gpu_hours(record.num_gpus, window_s),
        window_cost_usd=window_cost,
        usd_per_million_output_tokens=window_cost / (tokens / 1e6) if tokens else None,
        usd_per_completed_query=window_cost / window_completed if window_completed else None,
    )


def gpu_hours(num_gpus: int, seconds: float) -> float:
    """Hours that so many GPUs are paid for."""
    return num_gpus * seconds / 3600


def _cost_usd(pool: PoolRecord, seconds: float) -> float:
    return gpu_hours(pool.num_gpus, seconds) * pool.price_usd_per_gpu_hour
