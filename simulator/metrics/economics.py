"""What the run cost: GPU-hours, and dollars per thing that somebody wanted."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.metrics.record import RunRecord


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
    price = record.price_usd_per_gpu_hour
    gpu_hours = record.num_gpus * record.end_s / 3600
    window_gpu_hours = record.num_gpus * record.window_length_s / 3600
    window_cost = window_gpu_hours * price
    tokens = record.window_output_tokens
    return Economics(
        gpu_hours=gpu_hours,
        cost_usd=gpu_hours * price,
        window_gpu_hours=window_gpu_hours,
        window_cost_usd=window_cost,
        usd_per_million_output_tokens=window_cost / (tokens / 1e6) if tokens else None,
        usd_per_completed_query=window_cost / window_completed if window_completed else None,
    )
