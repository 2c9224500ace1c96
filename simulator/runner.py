"""The one way through: an experiment in, a Result out."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from simulator.cluster.cluster import Cluster, Progress
from simulator.cluster.outcome import Outcome
from simulator.config.costs import iteration_costs_of
from simulator.config.experiment import Experiment
from simulator.config.resolve import ResolvedPool, resolve_pool, resolved
from simulator.cost.extrapolation import extrapolation_notes
from simulator.cost.iteration_time import CostTable
from simulator.demand import demand_rps, last_start_s
from simulator.engine.request import REJECTED, new_requests
from simulator.ensemble import expected_error
from simulator.errors import InputError, Problem
from simulator.exports.provenance import collect_provenance
from simulator.labels import Labels, first_request_of_query
from simulator.metrics.capacity import capacity_rps
from simulator.metrics.window import Window, by_requests, by_seconds
from simulator.routers import ROUTERS
from simulator.simulation import Simulation
from simulator.traffic import generate, sample
from workloads.batch import RequestBatch

if TYPE_CHECKING:
    from simulator.result import Result

_TIMELINE_ROWS = 1000  # while requests arrive, where the experiment does not say
_SAMPLED_REQUESTS = 2000  # enough to tell a workload's mean lengths
_COMPARED_REQUESTS = 100_000  # whose prompts are compared, to tell how much they share
_BEYOND = (1.0, 2.0, 4.0)  # traffic after the window, in windows, until it outlasts the last one


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
    costs = iteration_costs_of(pool)
    cost = costs.table()
    most_rps = _closed_loop_rps(experiment, pool, cost)
    known = unsent = 0
    for beyond in _BEYOND:
        more = generate(experiment, beyond, most_rps)
        if len(more) == known:  # there is no more of it
            break
        batch, known = more, len(more)
        accepted = np.ones(len(batch), dtype=bool)
        if batch.closed_loop is not None or batch.has_followers:
            batch, accepted = _rehearsed(experiment, pool, cost, batch, progress)
            unsent = known - len(batch)
        window = _window(experiment, batch)
        drain_s, last_s = experiment.measure.drain_s, window.last_arrival_s(batch.arrival_s)
        serve_with = partial(
            serve,
            pool,
            batch=batch,
            window=window,
            router=experiment.router.kind,
            timeline_interval_s=experiment.timeline_interval_s,
            until_s=math.inf if drain_s is None else last_s + drain_s,
            check_integrity=check_integrity,
        )
        outcome = serve_with(cost, progress=progress)
        ran_dry = outcome.end_s > last_start_s(batch) and math.isfinite(window.end_s)
        if not ran_dry or experiment.workload.has_own_end:
            break
    met = _largest_met(pool, outcome)
    notes = [*pool.notes, *extrapolation_notes(costs, pool.gpu.name, met), *_workload_notes(batch)]
    if unsent:
        notes.append(
            f"{unsent:,} requests were never sent: one before them in their session was refused"
        )
    if ran_dry and outcome.end_s > batch.arrival_s[-1]:
        notes.append(
            f"requests stop arriving at {batch.arrival_s[-1]:,.0f} s, before the run ends at "
            f"{outcome.end_s:,.0f} s: late ones met a pool that was running empty"
        )
    elif ran_dry:
        notes.append(
            f"no session begins after {last_start_s(batch):,.0f} s, before the run ends at "
            f"{outcome.end_s:,.0f} s: there were fewer and fewer of them"
        )
    simulation = Simulation(
        outcome=outcome,
        window=window,
        labels=Labels.of(batch),
        num_gpus=experiment.pool.num_gpus,
        price_usd_per_gpu_hour=pool.price_usd_per_gpu_hour,
        capacity_rps=_capacity_rps(pool, cost, batch),
        notes=notes,
        seed=experiment.seed,
        name=experiment.name,
        slo=experiment.slo.targets(),
        closed_loop=batch.closed_loop is not None,
        demand_rps=demand_rps(batch, accepted, window),
        experiment=experiment.to_dict(),
        provenance=collect_provenance(
            seed=experiment.seed, inputs=_inputs(experiment), wall_s=outcome.wall_s
        ),
    )
    judged = expected_error(simulation, costs, serve_with, experiment.calibration_draws)
    return replace(simulation, expected_error=judged)


def serve(
    pool: ResolvedPool,
    cost: CostTable,
    batch: RequestBatch,
    window: Window | None = None,
    *,
    router: str = "round_robin",
    timeline_interval_s: float | None = None,
    until_s: float = math.inf,
    progress: Progress | None = None,
    check_integrity: bool = False,
) -> Outcome:
    """Let `pool` serve the requests of `batch`, and measure in `window` (None: all of it).

    `cost` is the pool's table (`cost_of`). The run ends at `until_s` (seconds) at the latest.
    """
    if window is None:
        window = Window(0.0, math.inf, np.ones(len(batch), dtype=bool))
    requests = new_requests(
        batch.arrival_s,
        batch.prompt_tokens,
        batch.thinking_tokens + batch.answer_tokens,
        thinking_tokens=batch.thinking_tokens,
        max_tokens=batch.max_tokens,
        class_id=batch.class_id,
        measured=window.measured,
    )
    last_s = window.last_arrival_s(batch.arrival_s)
    fine_s = min(last_s, 2.0 * (last_s - window.start_s)) / _TIMELINE_ROWS
    cluster = Cluster(
        requests,
        ROUTERS[router](pool.settings.replicas),
        pool.engine,
        cost,
        num_replicas=pool.settings.replicas,
        sample_interval_s=timeline_interval_s or max(fine_s, 0.01),
        marks_s=window.marks_s,
        itl_span_s=(window.start_s, last_s),
        closed_loop=batch.closed_loop,
        sessions=batch.sessions,
        segments=batch.segments,
        check_integrity=check_integrity,
    )
    return cluster.run(window_end_s=window.end_s, until_s=until_s, progress=progress)


def _largest_met(pool: ResolvedPool, outcome: Outcome) -> dict[str, float]:
    """The largest batches and contexts of a run, by the names of a fit's range."""
    requests, engine = outcome.requests, pool.engine
    requests = requests[requests["status"] != REJECTED]
    if not len(requests):
        return {}
    longest = requests["prompt_tokens"] + requests["generated_tokens"]
    return {
        "m": min(engine.max_num_batched_tokens, int(requests["prompt_tokens"].sum())),
        "chunk_tokens": min(engine.max_num_batched_tokens, int(requests["prompt_tokens"].max())),
        "requests": max((int(s["running"].max()) for s in outcome.samples if len(s)), default=1),
        "context_tokens": int(longest.max()),
    }


def _rehearsed(
    experiment: Experiment,
    pool: ResolvedPool,
    cost: CostTable,
    batch: RequestBatch,
    progress: Progress | None,
) -> tuple[RequestBatch, NDArray[np.bool_]]:
    """`batch` with the times at which its clients send, which take a run to find out.

    Then closed loops and sessions are measured like any other traffic, and run once more for that.
    Requests that never come, since one before them was refused, are left out; also says which of
    the others were accepted.
    """
    outcome = serve(pool, cost, batch, router=experiment.router.kind, progress=progress)
    accepted = outcome.requests["status"] != REJECTED
    return batch.take(outcome.rows, outcome.requests["arrival_s"].copy()), accepted


def _closed_loop_rps(experiment: Experiment, pool: ResolvedPool, cost: CostTable) -> float:
    """Most requests per second that the clients of a closed loop can get answered."""
    if not experiment.workload.is_closed_loop:
        return math.inf
    batch = sample(experiment, _SAMPLED_REQUESTS)
    assert batch.closed_loop is not None
    clients = batch.closed_loop.concurrency
    seats = min(math.ceil(clients / pool.settings.replicas), pool.engine.seat_limit)
    engine = replace(pool.engine, max_num_active_seqs=seats)
    answered = _capacity_rps(replace(pool, engine=engine), cost, batch) or 1.0
    pause_s = float(batch.closed_loop.pause_s.mean())
    return min(answered, clients / pause_s) if pause_s > 0 else answered


def _capacity_rps(pool: ResolvedPool, cost: CostTable, batch: RequestBatch) -> float | None:
    """What the pool can complete per second of those requests that it does not refuse."""
    longest = pool.engine.max_model_len
    served = (batch.prompt_tokens < longest) & (batch.prompt_tokens + batch.max_tokens <= longest)
    if not served.any():
        return None
    prompt = batch.prompt_tokens[served]
    output = np.minimum((batch.thinking_tokens + batch.answer_tokens)[served], longest - prompt)
    cap = batch.max_tokens[served]
    output = np.where(cap > 0, np.minimum(output, cap), output)
    return pool.settings.replicas * capacity_rps(pool.engine, cost, prompt, output)


def cost_of(pool: ResolvedPool) -> CostTable:
    """The iteration times of `pool`, tabulated up to its scheduler's limits."""
    return iteration_costs_of(pool).table()


def _window(experiment: Experiment, batch: RequestBatch) -> Window:
    measure = experiment.measure
    if measure.by_requests:
        warmup = measure.warmup_requests or 0
        window = by_requests(batch.arrival_s, warmup, measure.window_requests)
    else:
        window = by_seconds(batch.arrival_s, measure.warmup_s or 0.0, measure.window_s)
    first = first_request_of_query(batch)
    if first is not None:  # a query is measured whole, or not at all
        window = replace(window, measured=window.measured[first])
    if not window.measured.any():
        message = (
            f"no request arrives in it: the {len(batch):,} requests end at "
            f"{batch.arrival_s[-1]:g} s, before the window or just as it starts"
        )
        raise InputError(Problem(message, field="measure"))
    return window


def _workload_notes(batch: RequestBatch) -> list[str]:
    """Where each column of the workload comes from, and what a reader left out."""
    notes = [f"{column} {source}" for column, source in batch.provenance.items()]
    notes += [f"{count:,} rows dropped: {reason}" for reason, count in batch.dropped.items()]
    if batch.segments is not None:
        from workloads.description.reuse import reusable_tokens

        some = batch.take(np.arange(min(len(batch), _COMPARED_REQUESTS)))
        reusable = reusable_tokens(some)
        assert reusable is not None
        share = reusable.sum() / some.prompt_tokens.sum()
        notes.append(
            f"{share:.1%} of the prompt tokens are the beginning of an earlier request: what a"
            " prefix cache would save at most"
        )
    return notes


def _inputs(experiment: Experiment) -> list[str]:
    return [str(path) for path in experiment.workload.inputs(experiment.base_dir)]
