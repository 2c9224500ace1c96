"""What an experiment's strategies make of its queries, before the run."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.config.experiment import Experiment
from simulator.config.quality import check_quality
from simulator.errors import InputError
from simulator.quality import AttemptLuck, difficulty_quantile
from simulator.quality.judge import Judge
from simulator.strategies.plan import Plan, plan_requests
from simulator.strategies.single import Single
from workloads.batch import RequestBatch


def spending_plan(experiment: Experiment, queries: RequestBatch) -> Plan | None:
    """The requests that `queries` may issue; None if each is one request, which nobody judges.

    Raises `InputError` where a strategy does not go with the workload or the pools.
    """
    default = experiment.strategy.build()
    strategies = {name: each.build() for name, each in experiment.strategies.items()}
    judge = judge_of(experiment, queries)
    simple = all(isinstance(each, Single) for each in (default, *strategies.values()))
    if simple and (judge is None or queries.sessions is not None):
        return None

    def lengths(attempt: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return experiment.workload.attempt(experiment.seed, queries, attempt)

    return plan_requests(
        queries,
        strategies,
        default,
        lengths,
        tuple(experiment.pools),
        judge=judge,
        seed=experiment.seed,
    )


def spending_notes(experiment: Experiment, plan: Plan | None) -> list[str]:
    """What a reader must know of answers: that nobody judges them, or what they leave out."""
    judged = [name for name, pool in experiment.pools.items() if pool.quality is not None]
    if not judged:
        return []
    if plan is None:
        return ["answers are not judged: `quality` is for single queries, and these are sessions"]
    return [
        f"{name}: KV compression costs no right answers but those that `retained` of quality says"
        for name in judged
        if experiment.pools[name].engine.kv_compression is not None
    ]


def judge_of(experiment: Experiment, queries: RequestBatch) -> Judge | None:
    """Who knows how good the models of the pools are at `queries`; None if nobody said.

    Raises `InputError` for classes that a pool's `quality` leaves out, or that are not there.
    """
    if all(pool.quality is None for pool in experiment.pools.values()):
        return None
    names = queries.class_names
    qualities = {name: pool.quality for name, pool in experiment.pools.items()}
    problems = [
        problem
        for name, quality in qualities.items()
        if quality is not None
        for problem in check_quality(quality, names, f"pools.{name}.quality")
    ]
    if problems:
        raise InputError(problems)
    return Judge(
        [None if each is None else each.build(names) for each in qualities.values()],
        queries.class_id,
        _quantiles(experiment, queries),
        np.arange(len(queries)),
        AttemptLuck(experiment.seed),
    )


def _quantiles(experiment: Experiment, queries: RequestBatch) -> NDArray[np.float64]:
    """How hard each query is among those of its class, in (0, 1)."""
    unknown = np.full(len(queries), np.nan)
    given = unknown if queries.difficulty is None else queries.difficulty
    found = difficulty_quantile(given, seed=experiment.seed)
    for class_id, name in enumerate(queries.class_names):
        law = experiment.workload.difficulty_law(name)
        own = queries.class_id == class_id
        if law is not None:
            placed = difficulty_quantile(given[own], law, seed=experiment.seed)
            found[own] = np.where(np.isnan(given[own]), found[own], placed)
    return found
