"""What the pools of a cluster can do together, estimated without a simulation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from simulator.cluster.outcome import Outcome
from simulator.cluster.pool import PoolPlan
from simulator.engine.request import COMPLETED, REJECTED
from simulator.metrics.capacity import capacity_rps
from workloads.batch import RequestBatch

Column = NDArray[np.int64]


def cluster_capacity_rps(
    plans: Sequence[PoolPlan], batch: RequestBatch, found: Sequence[float] | None = None
) -> float | None:
    """Requests per second that all pools can complete; None if each refuses every request.

    The sum over pools, each taken to serve the whole mix but for the requests that it refuses. A
    router that sends each pool a share of its own can get more out of them, or less. `found`: of
    each pool, the part of prompt tokens that is in its prefix cache (None: none are).
    """
    shares = [0.0] * len(plans) if found is None else found
    output = batch.thinking_tokens + batch.answer_tokens
    each = []
    for plan, share in zip(plans, shares, strict=True):
        lengths = batch.prompt_tokens, output, batch.max_tokens
        each.append(_pool_capacity_rps(plan, *lengths, share))
    known = [rate for rate in each if rate is not None]
    return sum(known) if known else None


def closed_loop_rps(plans: Sequence[PoolPlan], batch: RequestBatch) -> float:
    """Most requests per second that the clients of a closed loop can get answered.

    No router gives a pool more than all clients at once. `batch` is a sample of their requests.
    """
    assert batch.closed_loop is not None
    clients = batch.closed_loop.concurrency
    limited = []
    for plan in plans:
        seats = min(math.ceil(clients / plan.num_replicas), plan.config.seat_limit)
        limited.append(replace(plan, config=replace(plan.config, max_num_active_seqs=seats)))
    answered = cluster_capacity_rps(limited, batch) or 1.0
    pause_s = float(batch.closed_loop.pause_s.mean())
    return min(answered, clients / pause_s) if pause_s > 0 else answered


def found_in_caches(outcome: Outcome) -> list[float]:
    """Of each pool, the part of the prompt tokens that it admitted that its caches had."""
    pool = np.append(outcome.pool_id, len(outcome.configs))[outcome.requests["replica"]]
    pool[np.isnan(outcome.requests["first_scheduled_s"])] = len(outcome.configs)
    asked, had = (
        np.bincount(pool, outcome.requests[name], len(outcome.configs) + 1)[:-1]
        for name in ("prompt_tokens", "cached_tokens")
    )
    return list(np.divide(had, asked, out=np.zeros(len(had)), where=asked > 0).tolist())


def capacity_as_sent_rps(
    plans: Sequence[PoolPlan], batch: RequestBatch, outcome: Outcome, found: Sequence[float]
) -> float | None:
    """Requests per second, of the mix that strategies sent and each to the pool that it went to.

    The pool that is busiest for its size limits all; so the cluster can serve that many queries as
    send such a mix. Requests that were taken back count with what they had generated.
    """
    table = outcome.requests
    served = (table["replica"] >= 0) & (table["status"] != REJECTED)
    pool = outcome.pool_id[table["replica"]]
    over = table["status"] >= COMPLETED
    output = (batch.thinking_tokens + batch.answer_tokens)[outcome.rows]
    output = np.where(over, np.maximum(table["generated_tokens"], 1), output)
    limits = []
    for index, (plan, share) in enumerate(zip(plans, found, strict=True)):
        own = served & (pool == index)
        if own.any():
            prompt, cap = table["prompt_tokens"][own], table["max_tokens"][own]
            rate = _pool_capacity_rps(plan, prompt, output[own], cap, share)
            if rate is not None:
                limits.append(rate * served.sum() / own.sum())
    return min(limits, default=None)


def _pool_capacity_rps(
    plan: PoolPlan, prompt: Column, output: Column, cap: Column, found: float
) -> float | None:
    """Of requests of these lengths, all int64[n], tokens; a cap of 0 is none."""
    served = plan.fits(prompt, cap)
    if not served.any():
        return None
    prompt, output, cap = prompt[served], output[served], cap[served]
    output = np.minimum(output, plan.config.max_model_len - prompt)
    output = np.where(cap > 0, np.minimum(output, cap), output)
    return plan.num_replicas * capacity_rps(plan.config, plan.cost, prompt, output, found)
