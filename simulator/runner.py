"""The one way through: an experiment in, a Result out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from simulator.admission import Admission
from simulator.batch_facts import facts_of, truth_of
from simulator.capacity import (
    capacity_as_sent_rps,
    closed_loop_rps,
    cluster_capacity_rps,
    found_in_caches,
)
from simulator.cluster.cluster import Cluster, Progress
from simulator.cluster.outcome import Outcome
from simulator.cluster.pool import PoolPlan
from simulator.config.costs import iteration_costs_of
from simulator.config.experiment import AdmissionSettings, Experiment, RouterSettings
from simulator.config.resolve import ResolvedPool, names_a_file, resolve_pools, resolved
from simulator.cost.iteration_time import CostTable
from simulator.demand import demand_rps, last_start_s
from simulator.engine.refusal import is_too_long
from simulator.engine.request import new_requests
from simulator.ensemble import expected_error
from simulator.errors import InputError, Problem
from simulator.exports.provenance import collect_provenance
from simulator.facts import RequestFacts
from simulator.labels import Labels, PoolLabel, first_request_of_query
from simulator.metrics.pool_costs import PoolCosts
from simulator.metrics.window import Window, by_requests, by_seconds
from simulator.notes import capacity_notes, pool_notes, traffic_notes, workload_notes
from simulator.policy import blaming
from simulator.predictors import Predictor, Reordered, checked
from simulator.simulation import Simulation
from simulator.spending import spending_notes, spending_plan
from simulator.strategies.plan import Plan
from simulator.traffic import generate, sample
from workloads.batch import RequestBatch

if TYPE_CHECKING:
    from simulator.result import Result

_TIMELINE_ROWS = 1000  # while requests arrive, where the experiment does not say
_SAMPLED_REQUESTS = 2000  # enough to tell a workload's mean lengths
_BEYOND = (1.0, 2.0, 4.0)  # traffic after the window, in windows, until it outlasts the last one
_ROUND_ROBIN = RouterSettings(kind="round_robin")
_ADMIT_ALL = AdmissionSettings(kind="none")


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
    pools = resolve_pools(experiment)
    costs = [iteration_costs_of(pool) for pool in pools]
    plans = [plan_of(pool, cost.table()) for pool, cost in zip(pools, costs, strict=True)]
    most_rps = math.inf
    if experiment.workload.is_closed_loop:
        most_rps = closed_loop_rps(plans, sample(experiment, _SAMPLED_REQUESTS))
    predictor: Predictor = experiment.predictor.build()
    slo = experiment.slo.targets()
    known = unsent = 0
    for beyond in _BEYOND:
        more = generate(experiment, beyond, most_rps)
        if len(more) == known:  # there is no more of it
            break
        batch, known = more, len(more)
        queries = batch
        plan, batch, facts = _prepared(experiment, queries, predictor)
        servable = np.ones(len(batch), dtype=bool)
        if batch.closed_loop is not None or batch.has_followers:
            outcome = serve(
                plans,
                batch,
                facts=facts,
                router=experiment.router,
                admission=experiment.admission,
                seed=experiment.seed,
                plan=plan,
                progress=progress,
            )
            if plan is None:
                batch, servable = _as_sent(batch, outcome)
                guesses = Reordered(checked(predictor), outcome.rows)
                facts = facts_of(batch, slo, guesses, origin=outcome.rows)
                unsent = known - len(batch)
            else:
                assert outcome.replies is not None
                arrival_s = outcome.replies.arrival_s
                came = np.flatnonzero(~np.isnan(arrival_s))
                queries = queries.take(came, arrival_s[came])
                plan, batch, facts = _prepared(experiment, queries, predictor)
                servable = np.ones(len(batch), dtype=bool)
        window = _window(experiment, batch if plan is None else queries)
        if plan is not None:  # a query is measured whole, or not at all
            window = replace(window, measured=window.measured[plan.query])
        drain_s, last_s = experiment.measure.drain_s, window.last_arrival_s(batch.arrival_s)
        serve_with = partial(
            serve,
            batch=batch,
            window=window,
            facts=facts,
            router=experiment.router,
            admission=experiment.admission,
            seed=experiment.seed,
            plan=plan,
            timeline_interval_s=experiment.timeline_interval_s,
            until_s=math.inf if drain_s is None else last_s + drain_s,
            check_integrity=check_integrity,
        )
        outcome = serve_with(plans, progress=progress)
        ran_dry = outcome.end_s > last_start_s(batch) and math.isfinite(window.end_s)
        if not ran_dry or experiment.workload.has_own_end:
            break
    found = found_in_caches(outcome)
    if plan is None:
        capacity = cluster_capacity_rps(plans, batch, found)
    else:
        capacity = capacity_as_sent_rps(plans, batch, outcome, found)
    simulation = Simulation(
        outcome=outcome,
        window=window,
        labels=Labels.of(batch),
        pools=tuple(_label(pool) for pool in pools),
        capacity_rps=capacity,
        notes=[
            *pool_notes(pools, costs, outcome),
            *(capacity_notes(pools, found) if capacity else ()),
            *spending_notes(experiment, plan),
            *workload_notes(batch),
            *traffic_notes(batch, outcome, unsent=unsent, ran_dry=ran_dry),
        ],
        seed=experiment.seed,
        name=experiment.name,
        slo=slo,
        closed_loop=batch.closed_loop is not None,
        demand_rps=demand_rps(batch, servable, window),
        costs=tuple(
            PoolCosts.of(cost, pool.engine, pool.gpu, pool.settings.tensor_parallel_size)
            for pool, cost in zip(pools, costs, strict=True)
        ),
        experiment=experiment.to_dict(),
        provenance=collect_provenance(
            seed=experiment.seed, inputs=_inputs(experiment), wall_s=outcome.wall_s
        ),
    )

    def rerun(tables: Sequence[CostTable]) -> Outcome:
        return serve_with([replace(p, cost=table) for p, table in zip(plans, tables, strict=True)])

    judged = expected_error(simulation, costs, rerun, experiment.calibration_draws)
    return replace(simulation, expected_error=judged)


def _prepared(
    experiment: Experiment, queries: RequestBatch, predictor: Predictor
) -> tuple[Plan | None, RequestBatch, RequestFacts]:
    """What strategies make of `queries`, the requests that may come of it, and what is known."""
    plan = spending_plan(experiment, queries)
    batch = queries if plan is None else plan.requests
    with blaming("predictor", predictor):
        predictor.start(truth_of(batch), experiment.seed)
    facts = facts_of(batch, experiment.slo.targets(), checked(predictor))
    if plan is not None:  # a query's requests are for its router what a session's are
        facts = replace(facts, session_id=plan.query)
    return plan, batch, facts


def serve(
    plans: Sequence[PoolPlan],
    batch: RequestBatch,
    window: Window | None = None,
    *,
    facts: RequestFacts | None = None,
    router: RouterSettings = _ROUND_ROBIN,
    admission: AdmissionSettings = _ADMIT_ALL,
    seed: int = 0,
    plan: Plan | None = None,
    timeline_interval_s: float | None = None,
    until_s: float = math.inf,
    progress: Progress | None = None,
    check_integrity: bool = False,
) -> Outcome:
    """Let pools serve the requests of `batch`, and measure in `window` (None: all of it).

    `plans` come from `plan_of`, `facts` from `facts_of` (None: nothing is known of classes and
    clients, and nothing predicted). `seed` addresses the router's luck. `plan`: whose requests
    those of `batch` are. The run ends at `until_s` (seconds) at the latest.
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
    if facts is None:
        facts = facts_of(batch, {}, None)
    gate: Admission | None = None
    if admission.kind != _ADMIT_ALL.kind:
        gate = admission.build()
        with blaming("admission control", gate):
            gate.start(facts)
    last_s = window.last_arrival_s(batch.arrival_s)
    fine_s = min(last_s, 2.0 * (last_s - window.start_s)) / _TIMELINE_ROWS
    cluster = Cluster(
        requests,
        router.build(),
        plans,
        sample_interval_s=timeline_interval_s or max(fine_s, 0.01),
        marks_s=window.marks_s,
        itl_span_s=(window.start_s, last_s),
        closed_loop=batch.closed_loop,
        sessions=batch.sessions if plan is None else None,
        segments=batch.segments,
        facts=facts,
        admission=gate,
        seed=seed,
        plan=plan,
        check_integrity=check_integrity,
    )
    return cluster.run(window_end_s=window.end_s, until_s=until_s, progress=progress)


def plan_of(pool: ResolvedPool, cost: CostTable | None = None) -> PoolPlan:
    """What a cluster is told of `pool`; `cost` is its table, if it is at hand (`cost_of`)."""
    table = cost_of(pool) if cost is None else cost
    scheduler = pool.settings.engine.scheduler.build
    return PoolPlan(pool.name, pool.engine, table, pool.settings.replicas, scheduler)


def cost_of(pool: ResolvedPool) -> CostTable:
    """The iteration times of `pool`, tabulated up to its scheduler's limits."""
    return iteration_costs_of(pool).table()


def _as_sent(batch: RequestBatch, outcome: Outcome) -> tuple[RequestBatch, NDArray[np.bool_]]:
    """`batch` with the times at which its clients sent, which took a run to find out.

    Then closed loops and sessions are measured like any other traffic, and run once more for that.
    Requests that never came, since one before them was refused, are left out; also says which of
    the others are not too long for every pool.
    """
    servable = np.ones(len(outcome.rows), dtype=bool)
    servable[[k for k, reason in outcome.refused.items() if is_too_long(reason)]] = False
    return batch.take(outcome.rows, outcome.requests["arrival_s"].copy()), servable


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


def _label(pool: ResolvedPool) -> PoolLabel:
    model = pool.settings.model
    return PoolLabel(
        name=pool.name,
        model=pool.architecture.name if names_a_file(model) else model,
        gpu=pool.gpu.name,
        num_gpus=pool.settings.num_gpus,
        price_usd_per_gpu_hour=pool.price_usd_per_gpu_hour,
    )


def _inputs(experiment: Experiment) -> list[str]:
    files = [*experiment.workload.inputs(experiment.base_dir), *experiment.policy_files]
    return [str(path) for path in files]
