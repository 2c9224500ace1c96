"""Fit the two energies of a GPU, per byte and per operation, to the mean power of measured runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hardware_profiles.profile import GpuProfile, load_gpu
from hardware_profiles.quantity import UNITS, Fit, Scalar
from simulator.config.resolve import resolve_pool
from simulator.core_yaml import dump_yaml
from simulator.cost.terms import FloatArray
from simulator.errors import InputError
from simulator.metrics.power import GpuPower
from simulator.studies.validation.case import case_of, load_profile
from simulator.studies.validation.lengths import Histograms
from simulator.studies.validation.load import Unsupported
from simulator.studies.validation.points import Point
from simulator.studies.validation.power import Load, load_of
from simulator.studies.validation.predict import measured_times_s, simulate_case

# What is fitted, its unit, and where the search starts.
ENERGIES = {"energy_per_byte": ("pJ/B", 150.0), "energy_per_flop": ("pJ/FLOP", 1.0)}
_FEWEST_RUNS = 3
_NOTE = "mean power of whole runs"

Energies = Mapping[str, float]  # by name, in the units of `ENERGIES`


@dataclass(frozen=True)
class PowerRun:
    """A run whose power was measured: `watts` of one GPU, under `load`."""

    model: str
    load: Load
    watts: float


@dataclass(frozen=True)
class PowerFit:
    """Energies fitted for one GPU, in the units of `ENERGIES`, and the errors they leave.

    `before` and `error_before` are None where the profile had no energies. `held_out` is the error
    of the runs of each model under energies fitted to those of all others; None if there is but
    one model. `profile` has the fitted energies in it.
    """

    gpu: str
    runs: int
    before: Energies | None
    after: Energies
    error_before: Fit | None
    error_after: Fit
    held_out: Fit | None
    profile: GpuProfile

    def profile_yaml(self) -> str:
        """The whole profile with the fitted energies, a file that `gpu:` can name."""
        return dump_yaml(self.profile.model_dump(mode="json", by_alias=True, exclude_unset=True))

    def snippet(self) -> str:
        """The fitted energies as they stand in a GPU profile, YAML."""
        power = self.profile.power.model_dump(mode="json", exclude_unset=True)
        return dump_yaml({"power": {name: power[name] for name in self.after}})


def fit_power(
    points: Sequence[Point],
    histograms: Histograms | None = None,
    *,
    one_gpu: bool = False,
) -> list[PowerFit]:
    """Fit the energies of every GPU with three rows or more that have a power.

    Least squares of predicted / measured - 1. Raises InputError if there is no such GPU or, with
    `one_gpu`, if there are several.
    """
    by_gpu: dict[str, list[PowerRun]] = {}
    for point in points:
        found = _run_of(point, histograms)
        if found is not None:
            by_gpu.setdefault(found[0], []).append(found[1])
    enough = {gpu: runs for gpu, runs in sorted(by_gpu.items()) if len(runs) >= _FEWEST_RUNS}
    if not enough:
        raise InputError(
            f"nothing to fit to: no {_FEWEST_RUNS} rows with avg_power_w can be simulated"
        )
    if one_gpu and len(enough) > 1:
        raise InputError(f"a profile is of one GPU, the rows of {', '.join(enough)}: use --only")
    return [fit_energies(runs, load_gpu(gpu)) for gpu, runs in enough.items()]


def fit_energies(runs: Sequence[PowerRun], profile: GpuProfile) -> PowerFit:
    """Fit the energies of the GPU of `profile` to runs on it."""
    power = GpuPower.of(profile)
    after = _fitted(runs, power)
    error_after = _residual(_errors(runs, power, after))
    before = _energies_of(profile)
    models = sorted({run.model for run in runs})
    apart = [
        _errors(mine, power, _fitted(others, power))
        for model in models
        if (mine := [run for run in runs if run.model == model])
        and (others := [run for run in runs if run.model != model])
    ]
    return PowerFit(
        gpu=profile.name,
        runs=len(runs),
        before=before,
        after=after,
        error_before=None if before is None else _residual(_errors(runs, power, before)),
        error_after=error_after,
        held_out=_residual(np.concatenate(apart)) if apart else None,
        profile=_with_energies(profile, after, error_after),
    )


def _run_of(point: Point, histograms: Histograms | None) -> tuple[str, PowerRun] | None:
    """The GPU and the run of a row; None if it has no power or cannot be simulated."""
    measured_w = point.measured.get("avg_power_w")
    if not measured_w:
        return None
    try:
        case = case_of(point, histograms)
        pool = resolve_pool("points", case.pool, gpu=load_profile(case.pool.gpu))
        outcome = simulate_case(case, pool)
    except (Unsupported, InputError):
        return None
    times_s = measured_times_s(case, outcome)
    if times_s is None:
        return None
    load = load_of(outcome, pool, *times_s)
    return pool.gpu.name, PowerRun(pool.architecture.name, load, measured_w / point.gpus)


def _fitted(runs: Sequence[PowerRun], power: GpuPower) -> Energies:
    from scipy.optimize import least_squares

    start = np.array([first for _, first in ENERGIES.values()])

    def errors(x: FloatArray) -> FloatArray:
        return _errors(runs, power, dict(zip(ENERGIES, x.tolist(), strict=True)))

    found = least_squares(  # type: ignore[operator]
        errors, start, bounds=(0.0, np.inf), x_scale=start
    )
    return dict(zip(ENERGIES, found.x.tolist(), strict=True))


def _errors(runs: Sequence[PowerRun], power: GpuPower, energies: Energies) -> FloatArray:
    """predicted / measured - 1 of each run's power, float64[runs]."""
    si = {f"{name}_j": value * UNITS[ENERGIES[name][0]][1] for name, value in energies.items()}
    changed = replace(power, **si)

    def error(run: PowerRun) -> float:
        predicted_w = run.load.mean_w(changed)
        assert predicted_w is not None, "both energies are given"
        return predicted_w / run.watts - 1.0

    return np.array([error(run) for run in runs])


def _residual(errors: FloatArray) -> Fit:
    def rounded(value: float) -> float:
        return float(f"{value:.3g}")

    return Fit(
        mape=rounded(float(np.abs(errors).mean())),
        p95=rounded(float(np.quantile(np.abs(errors), 0.95))),
        bias=rounded(float(errors.mean())),
        n=len(errors),
        note=_NOTE,
    )


def _energies_of(profile: GpuProfile) -> Energies | None:
    found = {name: getattr(profile.power, name) for name in ENERGIES}
    if None in found.values():
        return None
    return {name: scalar.si / UNITS[ENERGIES[name][0]][1] for name, scalar in found.items()}


def _with_energies(profile: GpuProfile, energies: Energies, fit: Fit) -> GpuProfile:
    source = f"fitted to the mean power of {fit.n} measured runs by ponder validate --fit power"
    scalars = {
        name: Scalar(value=float(f"{value:.4g}"), unit=ENERGIES[name][0], source=source, fit=fit)
        for name, value in energies.items()
    }
    return profile.model_copy(update={"power": profile.power.model_copy(update=scalars)})
