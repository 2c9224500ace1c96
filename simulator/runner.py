"""The one way through: an experiment in, a Result out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from simulator.cluster.cluster import Cluster, Progress
from simulator.config.experiment import Experiment
from simulator.config.resolve import ResolvedPool, resolve_pool, resolved
from simulator.cost.iteration_time import CostTable, tabulate
from simulator.engine.request import new_requests
from simulator.exports.provenance import collect_provenance
from simulator.metrics.capacity import capacity_rps
from simulator.metrics.window import Window, by_requests, by_seconds
from simulator.routers import ROUTERS
from simulator.simulation import Simulation
from workloads.batch import RequestBatch
from workloads.trace import TraceWorkload

if TYPE_CHECKING:
    from simulator.result import Result

_TIMELINE_ROWS = 1000  # while requests arrive, where the experiment does not say


def run(
    experiment: Experiment, *, progress: Progress | None = None, check_integrity: bool = False
) -> Result:
    """Simulate `experiment`; the same experiment and seed give the same bytes.

    `progress(sim_time_s, requests_done, requests_total)` is called about ten times a second of wall
    time. `check_integrity` tests the engine's invariants at every iteration boundary (slow).
    Raises `InputError` for what only shows when the workload is read or the model is loaded.
    """
    return simulate(experiment, progress=progress, check_integrity=check_integrity).result()


def simulate(
    experiment: Experiment, *, progress: Progress | None = None, check_integrity: bool = False
) -> Simulation:
    """As `run`, but stops short of the tables and metrics."""
    experiment = resolved(experiment)
    pool = resolve_pool(experiment.pool_name, experiment.pool)
    batch = experiment.workload.generate(
        experiment.seed,
        duration_s=experiment.arrivals_duration_s,
        base_dir=experiment.base_dir,
    )
    window = _window(experiment, batch)
    cost = _cost(pool)
    output = batch.thinking_tokens + batch.answer_tokens
    requests = new_requests(
        batch.arrival_s,
        batch.prompt_tokens,
        output,
        thinking_tokens=batch.thinking_tokens,
        max_tokens=batch.max_tokens,
        class_id=batch.class_id,
        measured=window.measured,
    )
    last_s = window.last_arrival_s(batch.arrival_s)
    cluster = Cluster(
        requests,
        ROUTERS[experiment.router.kind](experiment.pool.replicas),
        pool.engine,
        cost,
        num_replicas=experiment.pool.replicas,
        sample_interval_s=experiment.timeline_interval_s or max(last_s / _TIMELINE_ROWS, 0.01),
        marks_s=window.marks_s,
        itl_span_s=(window.start_s, last_s),
        check_integrity=check_integrity,
    )
    drain_s = experiment.measure.drain_s
    outcome = cluster.run(math.inf if drain_s is None else last_s + drain_s, progress)
    served = np.where(batch.max_tokens > 0, np.minimum(output, batch.max_tokens), output)
    served = np.minimum(served, np.maximum(pool.engine.max_model_len - batch.prompt_tokens, 1))
    return Simulation(
        outcome=outcome,
        window=window,
        class_names=batch.class_names,
        num_gpus=experiment.pool.num_gpus,
        price_usd_per_gpu_hour=pool.price_usd_per_gpu_hour,
        capacity_rps=experiment.pool.replicas
        * capacity_rps(pool.engine, cost, batch.prompt_tokens, served),
        notes=[*pool.notes, *_workload_notes(batch)],
        seed=experiment.seed,
        name=experiment.name,
        slo=experiment.slo.targets(),
        experiment=experiment.to_dict(),
        provenance=collect_provenance(
            seed=experiment.seed, inputs=_inputs(experiment), wall_s=outcome.wall_s
        ),
    )


def _cost(pool: ResolvedPool) -> CostTable:
    return tabulate(
        pool.architecture,
        pool.gpu,
        tensor_parallel_size=pool.settings.tensor_parallel_size,
        weight_dtype=pool.settings.weight_dtype,
        kv_cache_dtype=pool.settings.kv_cache_dtype,
        max_num_batched_tokens=pool.engine.max_num_batched_tokens,
        max_num_seqs=pool.engine.seat_limit,
    )


def _window(experiment: Experiment, batch: RequestBatch) -> Window:
    measure = experiment.measure
    if measure.by_requests:
        return by_requests(batch.arrival_s, measure.warmup_requests or 0, measure.window_requests)
    return by_seconds(batch.arrival_s, measure.warmup_s or 0.0, measure.window_s)


def _workload_notes(batch: RequestBatch) -> list[str]:
    """Where each column of the workload comes from, and what a reader left out."""
    notes = [f"{column} {source}" for column, source in batch.provenance.items()]
    notes += [f"{count:,} rows dropped: {reason}" for reason, count in batch.dropped.items()]
    return notes


def _inputs(experiment: Experiment) -> list[str]:
    workload = experiment.workload
    if isinstance(workload, TraceWorkload):
        return [str(workload.resolve(experiment.base_dir))]
    return []
