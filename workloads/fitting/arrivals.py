"""From recorded times to an arrival process: a rate profile, and how irregular gaps are on it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from workloads.fitting.gap_statistics import (
    LADDER_S,
    gap_cv,
    rates_over_time,
    sensible_step_s,
    tick_of,
    tie_share,
)
from workloads.processes.arrival_process import ArrivalProcess
from workloads.processes.gaps import LEAST_CV, MOST_CV

TIES_MATTER = 0.02
"""Below this share of equal times they are chance, and times are taken as they are."""
PROFILE_COUNT = 100  # arrivals that a step of the profile needs, or its rate is noise
FINEST_COUNT = 10
PROFILE_STEPS = 1_500
BURSTY = 1.5  # a CV on the profile's clock that asks for shorter steps
FEW = 30
REGULAR = 0.01  # below this CV gaps are as good as equal
LARGE = 300_000
_ROUNDS, _RUNS = 8, 3


@dataclass(frozen=True, eq=False)
class FittedArrivals:
    """YAML fields of an arrival process, how it is meant to end, and what it does not reproduce.

    cv, simulated_cv: of the gaps of the trace and of the process, None where there are no gaps.
    ends: `duration_s`, or `num_requests` where nothing else ends the process.
    """

    fields: dict[str, Any]
    ends: dict[str, Any]
    cv: float | None
    simulated_cv: float | None
    notes: tuple[str, ...]


def fit_arrivals(
    arrival_s: NDArray[np.float64],
    *,
    span_s: tuple[float, float] | None = None,
) -> FittedArrivals:
    """The process that reproduces the rate over time, the CV of the gaps and simultaneous arrivals.

    `arrival_s`: float64[n], n at least 1, seconds, non-decreasing. Gaps are those of a gamma
    renewal process on a clock that follows the rate; its CV is chosen by simulating the process, so
    that the gaps' CV comes out as recorded. Times that a coarse clock has rounded are drawn in
    batches at its ticks. `span_s` is when recording began and ended, by default the first arrival
    and a mean gap after the last.
    """
    together = arrival_s[-1] == arrival_s[0]
    arrival_s = arrival_s - (arrival_s[0] if span_s is None else span_s[0])
    n, last_s = len(arrival_s), float(arrival_s[-1])
    if together:
        return FittedArrivals({"kind": "all_at_once"}, {"num_requests": n}, None, None, ())
    ties = tie_share(arrival_s)
    tick_s = tick_of(arrival_s) if ties >= TIES_MATTER else None
    if tick_s is not None and abs(_round(tick_s, 3) / tick_s - 1) < 1e-4:
        tick_s = _round(tick_s, 3)
    end_s = last_s * n / (n - 1) if tick_s is None else (round(last_s / tick_s) + 1) * tick_s
    if span_s is not None:
        end_s = span_s[1] - span_s[0]
    notes = ["gaps are independent given the rate: bunching beyond the profile's steps is lost"]
    if ties >= TIES_MATTER and tick_s is None:
        fitted = _bursts(arrival_s, end_s, ties)
        if fitted is not None:
            return fitted
        notes.append(f"{100 * ties:.1f} % of requests come at the time of another one, on no grid")
    cv = gap_cv(arrival_s)
    if cv is not None and cv < REGULAR:
        rate = (n - 1) / float(arrival_s[-1] - arrival_s[0])
        fields = {"kind": "deterministic", "rate_rps": _round(rate)}
        return FittedArrivals(fields, {"num_requests": n}, cv, 0.0, ())
    fields, simulated = _profile(arrival_s, end_s, tick_s), None
    if cv is not None and n >= FEW:
        fields, simulated = _with_cv(fields, arrival_s, end_s, cv)
    elif cv is not None:
        notes.append(f"{n} requests are too few to say how irregular gaps are: Poisson is assumed")
    return FittedArrivals(fields, {"duration_s": _round(end_s)}, cv, simulated, tuple(notes))


def _bursts(arrival_s: NDArray[np.float64], end_s: float, ties: float) -> FittedArrivals | None:
    """Geometric bursts at Poisson times, if those have the gaps' CV: sqrt(2 size - 1)."""
    size, cv = 1 / (1 - ties), gap_cv(arrival_s)
    expected = math.sqrt(2 * size - 1)
    if cv is None or abs(expected / cv - 1) > 0.08:
        return None
    fields = {
        "kind": "bursts",
        "rate_rps": _round(len(arrival_s) / end_s),
        "mean_size": _round(size),
    }
    notes = ("the rate is constant: its changes over time are lost",)
    return FittedArrivals(fields, {"duration_s": _round(end_s)}, cv, expected, notes)


def _profile(arrival_s: NDArray[np.float64], end_s: float, tick_s: float | None) -> dict[str, Any]:
    """The fields of a piecewise or batched process with a CV still to be chosen."""
    step_s = sensible_step_s(arrival_s, count=PROFILE_COUNT, steps=PROFILE_STEPS)
    if tick_s is None:
        rate = len(arrival_s) / end_s
        finer = [s for s in LADDER_S if s < step_s and rate * s >= FINEST_COUNT]
        finer = [s for s in finer if end_s / s <= PROFILE_STEPS]
        while finer and _operational_cv(arrival_s, step_s, end_s) > BURSTY:
            step_s = float(finer.pop())
    # whole steps, so that the profile can begin anew where it ends
    steps = max(round(end_s / step_s), 1)
    step_s = end_s / steps
    if tick_s is not None:
        steps = max(round(end_s / max(round(step_s / tick_s), 1) / tick_s), 1)
        step_s = end_s / steps
    rates = rates_over_time(arrival_s, step_s, end_s)
    fields: dict[str, Any] = {
        "kind": "piecewise" if tick_s is None else "batched",
        "rates_rps": [_round(float(rate), 4) for rate in rates],
        "step_s": _round(step_s, 9),
        "cv": 1.0,
        "repeat": True,
    }
    return fields if tick_s is None else fields | {"tick_s": _round(tick_s)}


def _operational_cv(arrival_s: NDArray[np.float64], step_s: float, end_s: float) -> float:
    """CV of the gaps on a clock on which the profile's rate is 1."""
    rates = rates_over_time(arrival_s, step_s, end_s)
    edges = np.minimum(step_s * np.arange(len(rates) + 1), end_s)
    integral = np.concatenate(([0.0], np.cumsum(rates * np.diff(edges))))
    return gap_cv(np.interp(arrival_s, edges, integral)) or 0.0


def _with_cv(
    fields: dict[str, Any],
    arrival_s: NDArray[np.float64],
    end_s: float,
    target: float,
) -> tuple[dict[str, Any], float]:
    """The fields with the `cv` whose process has gaps of CV `target`, and the CV it has.

    Bisection on the logarithm of cv: the CV of the gaps rises with it.
    """
    runs = _RUNS if len(arrival_s) <= LARGE else 1  # a long run varies little

    def simulated(cv: float) -> float:
        return simulated_cv([as_process(fields | {"cv": cv})], end_s, runs)

    low, high = max(LEAST_CV, 0.02), min(MOST_CV, 40.0)
    best = (math.inf, 1.0, 0.0)
    cv = float(np.clip(_operational_cv(arrival_s, float(fields["step_s"]), end_s), low, high))
    if fields["kind"] == "batched":
        cv = 1.0  # what rounding left of the gaps says little of those before it
    for _ in range(_ROUNDS):
        cv = _round(cv, 4)
        found = simulated(cv)
        best = min(best, (abs(found / target - 1), cv, found))
        if best[0] < 0.01:
            break
        low, high = (cv, high) if found < target else (low, cv)
        # where the CV moves in proportion a step of that size is right; else halve
        guess = cv * target / max(found, 1e-9)
        cv = guess if low < guess < high else math.sqrt(low * high)
    return fields | {"cv": best[1]}, best[2]


def simulated_cv(processes: list[ArrivalProcess], end_s: float, runs: int = _RUNS) -> float:
    """CV of the gaps when these processes run together until `end_s`, mean of some runs."""
    found = []
    for seed in range(runs):
        times = [
            process.times(seed, f"fit {i}", duration_s=end_s) for i, process in enumerate(processes)
        ]
        found.append(gap_cv(np.sort(np.concatenate(times))) or 0.0)
    return float(np.mean(found))


def as_process(fields: dict[str, Any]) -> ArrivalProcess:
    """The process that these YAML fields stand for."""
    from workloads.arrivals import Arrivals

    adapter: TypeAdapter[ArrivalProcess] = TypeAdapter(Arrivals)
    return adapter.validate_python(fields)


def _round(value: float, digits: int = 6) -> float:
    return float(f"{value:.{digits}g}")
