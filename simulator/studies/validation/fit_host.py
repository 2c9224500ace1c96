"""Fit the host constants of the engines on the rows of a points file, or on one's own run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from hardware_profiles.profile import GpuProfile, load_gpu
from simulator.config.experiment import Experiment
from simulator.config.resolve import resolve_pool
from simulator.errors import InputError
from simulator.studies.validation.bench import Bench, predict_bench
from simulator.studies.validation.case import case_of
from simulator.studies.validation.host import DEFAULT_METRICS, HostFit, Run, fit_constants
from simulator.studies.validation.lengths import Histograms
from simulator.studies.validation.load import Unsupported
from simulator.studies.validation.points import Point
from simulator.studies.validation.predict import predict

Group = tuple[str, str, bool]  # GPU, engine generation, whether scheduling is asynchronous

MOST_RUNS = 16  # each evaluation simulates all of them
_FEWEST_RUNS = 3


def group_rows(
    points: Iterable[Point], histograms: Histograms | None = None
) -> dict[Group, list[Point]]:
    """The vLLM rows that can be simulated, by the constants that they depend on."""
    groups: dict[Group, list[Point]] = {}
    for point in points:
        try:
            case = case_of(point, histograms)
        except Unsupported:
            continue
        if case.engine != "vllm":
            continue
        pool = resolve_pool("points", case.pool)
        asynchronous = pool.engine.async_scheduling
        key = (pool.gpu.name, case.pool.engine.preset, asynchronous)
        groups.setdefault(key, []).append(point)
    return dict(sorted(groups.items()))


def fit_host(
    points: Sequence[Point],
    histograms: Histograms | None = None,
    *,
    gpu: str | GpuProfile,
    generation: str,
    asynchronous: bool,
    metrics: Sequence[str] = DEFAULT_METRICS,
    most_runs: int = MOST_RUNS,
    **options: Any,
) -> HostFit:
    """Fit the constants of one engine generation on one GPU to those rows that depend on them.

    Of more than `most_runs` rows, that many are used, spread evenly over models and batch sizes.
    `options` are those of `fit_constants`. Raises InputError if fewer than three rows remain.
    """
    profile = load_gpu(gpu) if isinstance(gpu, str) else gpu
    group = (profile.name, generation, asynchronous)
    rows = group_rows(points, histograms).get(group, [])
    rows = [row for row in rows if any(metric in row.measured for metric in metrics)]
    if len(rows) < _FEWEST_RUNS:
        mode = "async" if asynchronous else "sync"
        raise InputError(
            f"{len(rows)} rows of {generation} ({mode}) on {profile.name} can be simulated, "
            f"{_FEWEST_RUNS} are needed"
        )
    runs = [
        Run(point.measured, partial(_predict_point, point, tuple(metrics), histograms))
        for point in evenly(rows, most_runs)
    ]
    return fit_constants(
        runs, profile, generation, asynchronous=asynchronous, metrics=metrics, **options
    )


def fit_all(
    points: Sequence[Point],
    histograms: Histograms | None = None,
    *,
    one_gpu: bool = False,
    **options: Any,
) -> list[HostFit]:
    """Fit every group of rows that is large enough, one after the other.

    The profile of each fit has the constants of those before it on the same GPU too. Raises
    InputError if there is no such group or, with `one_gpu`, if they are of several GPUs.
    """
    groups = {
        group: rows
        for group, rows in group_rows(points, histograms).items()
        if len(rows) >= _FEWEST_RUNS
    }
    if not groups:
        raise InputError(f"nothing to fit to: no {_FEWEST_RUNS} vLLM rows can be simulated")
    names = sorted({gpu for gpu, _, _ in groups})
    if one_gpu and len(names) > 1:
        raise InputError(f"a profile is of one GPU, the rows of {', '.join(names)}: use --only")
    profiles: dict[str, GpuProfile] = {}
    fits = []
    for (gpu, generation, asynchronous), rows in groups.items():
        fit = fit_host(
            rows,
            histograms,
            gpu=profiles.get(gpu, gpu),
            generation=generation,
            asynchronous=asynchronous,
            **options,
        )
        profiles[gpu] = fit.profile
        fits.append(fit)
    return fits


def fit_host_to_bench(bench: Bench, experiment: Experiment, **options: Any) -> HostFit:
    """Fit the host constants of the experiment's engine and GPU to one run of one's own.

    One run tells little about memory: `constants` are ("iteration", "request") unless given.
    """
    pool = resolve_pool(*experiment.one_pool())
    metrics = tuple(options.pop("metrics", ("itl_median_ms", "tpot_mean_ms", "output_tps")))

    def predicted(profile: GpuProfile) -> Any:
        return predict_bench(bench, experiment, metrics, profile).values

    options.setdefault("constants", ("iteration", "request"))
    return fit_constants(
        [Run(bench.measured, predicted)],
        pool.gpu,
        pool.settings.engine.preset,
        asynchronous=pool.engine.async_scheduling,
        metrics=metrics,
        **options,
    )


def evenly(points: Sequence[Point], most: int) -> list[Point]:
    """At most `most` of the rows, every so many in order of model, parallelism and batch size."""

    def place(point: Point) -> tuple[Any, ...]:
        batch = point.max_num_seqs or point.concurrency or 0
        return (point.model, point.gpus, batch, point.line)

    ordered = sorted(points, key=place)
    if len(ordered) <= most:
        return ordered
    last = len(ordered) - 1
    return [ordered[round(index * last / (most - 1))] for index in range(most)]


def _predict_point(
    point: Point,
    metrics: tuple[str, ...],
    histograms: Histograms | None,
    profile: GpuProfile,
) -> Any:
    return predict(point, metrics, histograms, {profile.name: profile}).values
