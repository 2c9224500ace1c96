"""How far a run's figures may be off: the same run under many plausible iteration times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from simulator.cost.cost_table import CostTable
from simulator.cost.iteration_time import IterationCosts
from simulator.cost.terms import Batch
from simulator.cost.uncertainty import draw_scales, iteration_time_error
from simulator.expected_error import ExpectedError

if TYPE_CHECKING:
    from simulator.cluster.outcome import Outcome
    from simulator.simulation import Simulation

# Figures that get a band, and the percentiles over the draws that bound it.
BANDED = (
    *(
        f"{statistic}_{name}_ms"
        for name in ("ttft", "tpot", "e2el", "tta")
        for statistic in ("mean", "p50", "p99")
    ),
    "request_throughput",
    "output_throughput",
    "cost_usd_per_million_output_tokens",
    "cost_usd_per_completed_query",
)
BAND_PERCENTILES = (5.0, 95.0)


def expected_error(
    simulation: Simulation,
    costs: Sequence[IterationCosts],
    rerun: Callable[[Sequence[CostTable]], Outcome],
    draws: int,
) -> ExpectedError:
    """Judge a run, by simulating it `draws` times more with `rerun` under drawn iteration times.

    `costs` and the tables that `rerun` gets are one a pool. Parts of one name are drawn alike in
    all pools, so bands are as wide as if nothing evened out between them.
    """
    errors = {
        label.name: _iteration_time(simulation.outcome, index, costs[index])
        for index, label in enumerate(simulation.pools)
    }
    if draws == 0:
        return ExpectedError(errors)
    base = simulation.result().summary
    drawn = []
    for draw in range(draws):
        tables = [cost.table(draw_scales(cost, simulation.seed, draw)) for cost in costs]
        drawn.append(replace(simulation, outcome=rerun(tables)).result().summary)
    bands = {}
    for figure in BANDED:
        values = [summary[figure] for summary in drawn if summary.get(figure) is not None]
        if base.get(figure) and values:
            low, high = np.percentile(np.array(values) / base[figure] - 1.0, BAND_PERCENTILES)
            bands[figure] = (float(low), float(high))
    return ExpectedError(errors, draws, bands)


def _iteration_time(outcome: Outcome, pool: int, costs: IterationCosts) -> float | None:
    batch = mean_iteration(outcome, pool, costs.window_tokens)
    return iteration_time_error(costs, batch) if batch else None


def mean_iteration(outcome: Outcome, pool: int, window_tokens: int) -> Batch | None:
    """A pool's iteration with the mean number of decodes, chunk tokens and context.

    None if it ran none.
    """
    states, config = outcome.states[outcome.pool_id == pool], outcome.configs[pool]
    iterations = float(states["iterations"].sum())
    if not iterations:
        return None
    limit = config.max_num_seqs
    decodes = min(max(1, round(float(states["output_tokens"].sum()) / iterations)), limit)
    context = round(float(states["context_tokens_read"].sum()) / iterations)
    new = round(float(states["prefill_tokens"].sum()) / iterations)
    new = min(new, config.max_num_batched_tokens - decodes)
    return Batch(
        decodes=decodes,
        context_tokens=context,
        window_tokens=min(context, decodes * window_tokens),
        chunks=((new, new),) if new > 0 and decodes < limit else (),
    )
