"""The engine constants of a GPU profile, set for a run or fitted to measured ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hardware_profiles.profile import GpuProfile
from hardware_profiles.quantity import UNITS, Scalar
from simulator.core_yaml import dump_yaml
from simulator.errors import InputError

# What can be fitted: its unit, where a search starts if the profile has nothing, how far its first
# step goes, and the most it can be.
CONSTANTS = {
    "iteration": ("ms", 0.3, 10.0),
    "request": ("us", 5.0, 500.0),
    "overlapped_iteration": ("ms", 1.0, 20.0),
    "overlapped_request": ("us", 10.0, 500.0),
    "sampler_traffic": ("B/logit", 150.0, 5000.0),
    "logit": ("ns", 0.05, 5.0),
    "kv_reserve": ("GiB", 1.0, 30.0),
}
DEFAULT_CONSTANTS = ("iteration", "request", "kv_reserve")
DEFAULT_METRICS = ("itl_median_ms", "output_tps", "avg_running")
_OF_THE_ENGINE = ("sampler_traffic", "kv_reserve")  # whether scheduling is asynchronous or not
_SOURCE = "fitted to measured runs by ponder validate --fit host"

# Errors far beyond this count linearly, so that a few odd rows do not decide.
_TYPICAL_ERROR = 0.05

Measured = Mapping[str, float]
Predict = Callable[[GpuProfile], Mapping[str, float]]


@dataclass(frozen=True)
class Run:
    """A measured run: its values by column, and what a profile makes of it."""

    measured: Measured
    predict: Predict


@dataclass(frozen=True)
class HostFit:
    """Constants fitted for one engine generation on one GPU, and the errors they leave.

    Values in the units of `CONSTANTS`; errors are the median absolute relative error by metric.
    `profile` has the fitted constants in it.
    """

    gpu: str
    generation: str
    asynchronous: bool
    runs: int
    before: dict[str, float]
    after: dict[str, float]
    errors_before: dict[str, float]
    errors_after: dict[str, float]
    profile: GpuProfile

    def profile_yaml(self) -> str:
        """The whole profile with the fitted constants, a file that `gpu:` can name."""
        return dump_yaml(self.profile.model_dump(mode="json", by_alias=True, exclude_unset=True))

    def snippet(self) -> str:
        """The fitted constants as they stand in a GPU profile, YAML."""
        mode: dict[str, Any] = {}
        engine: dict[str, Any] = {"async" if self.asynchronous else "sync": mode}
        for name, value in self.after.items():
            unit = CONSTANTS[name][0]
            target = engine if name in _OF_THE_ENGINE else mode
            target[name] = {"value": float(f"{value:.4g}"), "unit": unit, "source": _SOURCE}
        if not mode:
            del engine["async" if self.asynchronous else "sync"]
        return dump_yaml({"engines": {self.generation: engine}})


def constants_of(
    profile: GpuProfile, generation: str, asynchronous: bool, names: Sequence[str]
) -> dict[str, float]:
    """The named constants of an engine generation, in the units of `CONSTANTS`.

    Raises InputError if the profile doesn't have the generation or one of the names.
    """
    found = {}
    for name in names:
        part = _part(profile, generation, asynchronous, name)
        if name not in type(part).model_fields:
            mode = "async" if asynchronous else "sync"
            raise InputError(f"{profile.name} has no {name} for {generation}, {mode}")
        found[name] = getattr(part, name).si / UNITS[CONSTANTS[name][0]][1]
    return found


def with_constants(
    profile: GpuProfile,
    generation: str,
    asynchronous: bool,
    values: Mapping[str, float],
    source: str = _SOURCE,
) -> GpuProfile:
    """A copy of the profile with these constants (units of `CONSTANTS`) for a generation."""
    constants_of(profile, generation, asynchronous, list(values))
    engine = profile.engines[generation]
    mode_field = "async_" if asynchronous else "sync"
    in_mode: dict[str, Scalar] = {}
    in_engine: dict[str, Scalar] = {}
    for name, value in values.items():
        scalar = Scalar(value=float(value), unit=CONSTANTS[name][0], source=source)
        (in_engine if name in _OF_THE_ENGINE else in_mode)[name] = scalar
    mode = getattr(engine, mode_field).model_copy(update=in_mode)
    engine = engine.model_copy(update={**in_engine, mode_field: mode})
    return profile.model_copy(update={"engines": {**profile.engines, generation: engine}})


def fit_constants(
    runs: Sequence[Run],
    profile: GpuProfile,
    generation: str,
    *,
    asynchronous: bool,
    constants: Sequence[str] = DEFAULT_CONSTANTS,
    metrics: Sequence[str] = DEFAULT_METRICS,
    evaluations: int = 80,
) -> HostFit:
    """Search the constants that bring the `metrics` of all `runs` closest to what was measured.

    Least squares of the logarithm of predicted / measured, large ones weighted down (pseudo-Huber),
    by Nelder and Mead's simplex from the profile's own values: every evaluation simulates all
    runs, and a simulation has no derivatives. `evaluations` bounds them. Raises InputError if no
    run has any of the metrics, or the profile has no such constant.
    """
    from scipy.optimize import minimize

    before = constants_of(profile, generation, asynchronous, constants)
    if not any(metric in run.measured for run in runs for metric in metrics):
        raise InputError(f"nothing to fit to: no row has {' or '.join(metrics)}")
    steps = np.array([CONSTANTS[name][1] for name in constants])
    most = np.array([CONSTANTS[name][2] for name in constants])
    start = np.array([before[name] for name in constants])

    def named(x: np.ndarray) -> dict[str, float]:
        return dict(zip(constants, (x * steps).tolist(), strict=True))

    def errors(values: Mapping[str, float]) -> dict[str, list[float]]:
        changed = with_constants(profile, generation, asynchronous, values)
        found: dict[str, list[float]] = {metric: [] for metric in metrics}
        for run in runs:
            predicted = run.predict(changed)
            for metric in metrics:
                if metric in predicted and run.measured.get(metric):
                    found[metric].append(np.log(predicted[metric] / run.measured[metric]))
        return found

    def loss(x: np.ndarray) -> float:
        z = np.concatenate([np.asarray(e) for e in errors(named(x)).values()]) / _TYPICAL_ERROR
        return float(np.mean(np.sqrt(1.0 + z**2) - 1.0)) if len(z) else 0.0

    origin = start / steps
    corners = [origin]
    for axis in range(len(origin)):  # a first step away from the bound, whichever is near
        corner = origin.copy()
        corner[axis] += 1.0 if origin[axis] + 1.0 <= most[axis] / steps[axis] else -1.0
        corners.append(corner)
    found = minimize(  # type: ignore[no-untyped-call]
        loss,
        origin,
        method="Nelder-Mead",
        bounds=[(0.0, limit) for limit in most / steps],
        options={
            "maxfev": evaluations,
            "xatol": 0.01,
            "fatol": 1e-4,
            "initial_simplex": np.array(corners),
        },
    )
    after = named(found.x)
    return HostFit(
        gpu=profile.name,
        generation=generation,
        asynchronous=asynchronous,
        runs=len(runs),
        before=before,
        after=after,
        errors_before=_medians(errors(before)),
        errors_after=_medians(errors(after)),
        profile=with_constants(profile, generation, asynchronous, after),
    )


def _medians(errors: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {
        metric: float(np.median(np.abs(np.expm1(values))))
        for metric, values in errors.items()
        if len(values)
    }


def _part(profile: GpuProfile, generation: str, asynchronous: bool, name: str) -> Any:
    if generation not in profile.engines:
        known = ", ".join(profile.engines)
        raise InputError(f"{profile.name} has no constants of {generation}; it has {known}")
    engine = profile.engines[generation]
    if name in _OF_THE_ENGINE:
        return engine
    return engine.async_ if asynchronous else engine.sync
