"""What an experiment's strategies make of its queries, before the run."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.config.experiment import Experiment
from simulator.quality.judge import PoolJudge
from simulator.strategies.plan import Plan, plan_requests
from simulator.strategies.single import Single
from workloads.batch import RequestBatch


def spending_plan(experiment: Experiment, queries: RequestBatch) -> Plan | None:
    """The requests that `queries` may issue; None if each is one request, which nobody judges.

    Raises `InputError` where a strategy does not go with the workload or the pools.
    """
    default = experiment.strategy.build()
    strategies = {name: each.build() for name, each in experiment.strategies.items()}
    judge = _judge(experiment, queries)
    simple = all(isinstance(each, Single) for each in (default, *strategies.values()))
    waits = queries.sessions is not None or queries.closed_loop is not None
    if simple and (judge is None or waits):
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


def _judge(experiment: Experiment, queries: RequestBatch) -> PoolJudge | None:
    return None
