"""Simulate one row of a points file and say what would have been measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hardware_profiles.profile import GpuProfile
from simulator.cluster.outcome import Outcome
from simulator.config.experiment import PoolSettings
from simulator.config.resolve import ResolvedPool, resolve_pool
from simulator.cost.iteration_time import CostTable
from simulator.errors import InputError
from simulator.rng import uniforms
from simulator.runner import cost_of, plan_of, serve
from simulator.studies.validation.case import Case, case_of, load_profile
from simulator.studies.validation.client import client_metrics
from simulator.studies.validation.lengths import Histograms
from simulator.studies.validation.load import Unsupported, first_reason
from simulator.studies.validation.points import Point
from simulator.studies.validation.power import average_power_w
from simulator.studies.validation.prefixes import repeated
from simulator.studies.validation.steady import steady_times_s, stretch
from workloads.batch import RequestBatch
from workloads.laws.law import Law

OK, APPROXIMATE, UNSUPPORTED = "ok", "approximate", "unsupported"


@dataclass(frozen=True)
class Prediction:
    """What ponder says of a row: `values` by column, as far as they can be known.

    `status`: "ok" (its rules and settings are modelled), "approximate" (`reason` says what was
    assumed) or "unsupported" (`reason` says why there are no values). `engine`, `model`, `gpu`,
    `calibrated`, `mixture` (of experts) and `fixed_lengths` are what results are grouped by.
    """

    id: str
    status: str
    reason: str = ""
    values: Mapping[str, float] = field(default_factory=dict)
    engine: str = ""
    model: str = ""
    gpu: str = ""
    calibrated: bool = False
    mixture: bool = False
    fixed_lengths: bool = False


def predict(
    point: Point,
    columns: Iterable[str],
    histograms: Histograms | None = None,
    gpus: Mapping[str, GpuProfile] | None = None,
) -> Prediction:
    """Simulate a row; the same row gives the same numbers whatever is simulated besides.

    `columns` are the measured columns wanted, `gpus` replaces profiles of the catalogue by name.
    """
    try:
        case = case_of(point, histograms, gpus)
        pool = resolve_pool("points", case.pool, gpu=load_profile(case.pool.gpu, gpus))
        outcome = simulate_case(case, pool)
        values = _values(point, case, pool, outcome, columns)
    except Unsupported as reason:
        return Prediction(point.id, UNSUPPORTED, str(reason))
    except InputError as error:
        return Prediction(point.id, UNSUPPORTED, first_reason(error))
    assumed = list(case.assumed)
    if case.cache_missing and (case.repeats > 1 or _kv_was_short(outcome)):
        assumed.append("prefix caching, which is not modelled for this model")
    if not pool.gpu.calibrated:
        assumed.append(f"the profile of {pool.gpu.name} is not calibrated")
    return Prediction(
        id=point.id,
        status=APPROXIMATE if assumed else OK,
        reason="; ".join((*assumed, *case.remarks)),
        values=values,
        engine=case.engine,
        model=pool.architecture.name,
        gpu=pool.gpu.name,
        calibrated=pool.gpu.calibrated,
        mixture=pool.architecture.experts is not None,
        fixed_lengths=case.lengths.fixed,
    )


def simulate_case(case: Case, pool: ResolvedPool) -> Outcome:
    """Serve the requests of a case. Raises `Unsupported` if none of them can be."""
    outcome = serve([plan_of(pool, cost_table(pool))], _batch_of(case))
    if len(outcome.refused) == len(outcome.requests):
        raise Unsupported(f"every request is refused: {outcome.refused[0]}")
    return outcome


def _kv_was_short(outcome: Outcome) -> bool:
    """Whether the KV cache was ever so full that another prompt might not have fitted."""
    [config] = outcome.configs
    longest = -(-int(outcome.requests["prompt_tokens"].max()) // config.block_size)
    peak = int(outcome.states["peak_blocks"].max())
    return peak + longest * config.kv_groups_full > config.usable_blocks


def _values(
    point: Point, case: Case, pool: ResolvedPool, outcome: Outcome, columns: Iterable[str]
) -> dict[str, float]:
    values = client_metrics(outcome, point.gpus, columns)
    if not case.itl_comparable:
        values = {name: value for name, value in values.items() if not name.startswith("itl")}
    times_s = measured_times_s(case, outcome)
    if case.steady_seats is not None:
        for name in ("output_tps", "output_tps_per_gpu", "avg_running"):
            values.pop(name)
    if times_s is None:
        return values
    if case.steady_seats is not None:
        steady = stretch(outcome, *times_s)
        values["output_tps"] = steady.output_tokens / steady.seconds
        values["output_tps_per_gpu"] = values["output_tps"] / point.gpus
        values["avg_running"] = steady.running
    power_w = average_power_w(outcome, pool, *times_s)
    if power_w is not None:
        values["avg_power_w"] = power_w
    return values


def measured_times_s(case: Case, outcome: Outcome) -> tuple[float, float] | None:
    """From when to when throughput and power of a row were measured; None if never."""
    if case.steady_seats is None:
        return float(outcome.requests["arrival_s"].min()), outcome.end_s
    return steady_times_s(outcome, case.steady_seats)


def _batch_of(case: Case) -> RequestBatch:
    n = case.num_requests
    prompts = repeated(spread(case.lengths.prompt, n // case.repeats, "prompt"), case.repeats)
    return RequestBatch(
        arrival_s=case.arrivals.times(0, "points", count=n),
        prompt_tokens=prompts.tokens,
        thinking_tokens=np.zeros(n, dtype=np.int64),
        answer_tokens=spread(case.lengths.output, n, "answer"),
        max_tokens=np.zeros(n, dtype=np.int64),
        class_id=np.zeros(n, dtype=np.int32),
        closed_loop=case.arrivals.clients(0, "points", n),
        segments=prompts if case.repeats > 1 else None,
    )


def spread(law: Law, count: int, stream: str) -> NDArray[np.int64]:
    """`count` lengths that follow a law as closely as that many can, in random order.

    A row's histogram or mean tells what its very requests were like; independent draws would add
    the noise of another sample.
    """
    rank = np.argsort(uniforms(0, stream, "points", count)[:, 0], kind="stable")
    even = np.empty(count)
    even[rank] = (np.arange(count) + 0.5) / count
    return law.quantile(even)


_tables: dict[tuple[PoolSettings, int], tuple[GpuProfile, CostTable]] = {}
_MOST_TABLES = 32


def cost_table(pool: ResolvedPool) -> CostTable:
    """The pool's cost table, kept for the next row with the same settings and profile."""
    key = pool.settings.model_copy(update={"replicas": 1}), id(pool.gpu)
    if key not in _tables:
        if len(_tables) >= _MOST_TABLES:
            del _tables[next(iter(_tables))]
        _tables[key] = pool.gpu, cost_of(pool)  # holding the profile keeps its id its own
    return _tables[key][1]
