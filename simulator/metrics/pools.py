"""The pools of a cluster, each by itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.metrics.economics import gpu_hours
from simulator.metrics.efficiency import efficiency_summary
from simulator.metrics.occupancy import occupancy_summary
from simulator.metrics.record import PoolRecord, RunRecord


def pools(record: RunRecord) -> dict[str, dict[str, Any]]:
    """For each pool by name: what it is, what it did, how full and busy it was, what it cost.

    `completed` counts measured requests, `output_throughput` the tokens of the window, GPU-hours
    and cost the whole run, as in the summary.
    """
    return {pool.name: _of(record, pool) for pool in record.pools}


def kv_usage_mean(record: RunRecord, pool: str | None = None) -> float | None:
    """Mean use of the KV cache in the window over replicas, of one pool or of all."""
    start, end = record.window_s
    timeline = record.timeline
    inside = (timeline["t_s"] >= start) & (timeline["t_s"] < end)
    if pool is not None:
        inside &= timeline["pool"] == pool
    used = timeline.loc[inside, "kv_used_frac"].to_numpy(np.float64)
    return float(used.mean()) if len(used) else None


def _of(record: RunRecord, pool: PoolRecord) -> dict[str, Any]:
    measured = record.measured
    own = measured[(measured["pool"] == pool.name).to_numpy(bool)]
    duration_s = record.window_length_s
    hours = gpu_hours(pool.num_gpus, record.end_s)
    timeline = record.timeline[(record.timeline["pool"] == pool.name).to_numpy(bool)]
    efficiency = efficiency_summary([pool.use], pool.window_output_tokens, 0)
    efficiency.pop("energy_j_per_completed_query")  # a query may have requests in several pools
    return {
        "model": pool.model,
        "gpu": pool.gpu,
        "replicas": pool.replicas,
        "num_gpus": pool.num_gpus,
        "completed": int((own["status"] == "completed").sum()),
        "output_throughput": pool.window_output_tokens / duration_s if duration_s > 0 else None,
        "num_preemptions": int(own["preemptions"].sum()),
        "kv_usage_mean": kv_usage_mean(record, pool.name),
        "kv_usage_peak": pool.kv_usage_peak,
        "kv_blocks_per_replica": pool.kv_blocks,
        "kv_block_size": pool.block_size,
        **occupancy_summary(timeline, record.window_s),
        **efficiency,
        "price_usd_per_gpu_hour": pool.price_usd_per_gpu_hour,
        "gpu_hours": hours,
        "cost_usd": hours * pool.price_usd_per_gpu_hour,
        "iteration_time_relative_sd": record.expected_error.iteration_time.get(pool.name),
    }
