"""How requests of a trace arrive: rate over time, variability of gaps, bunching, ties."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workloads.fitting.gap_statistics import (
    dispersion,
    gap_cv,
    rates_over_time,
    sensible_step_s,
    tick_of,
    tie_share,
)

SCALES_S = (1.0, 10.0, 60.0, 600.0, 3600.0)
SHOWN_STEPS = 120
"""The rate is shown in no more steps than this ..."""
SHOWN_COUNT = 30  # ... and with so many arrivals in each on average, if there are enough


@dataclass(frozen=True, eq=False)
class ArrivalStatistics:
    """Times of `n` requests.

    span_s: from the first to the last. rate_rps: n - 1 over the span, None if that is 0.
    step_s, rates_rps: the rate over time, the last step perhaps shorter. cv: of the gaps.
    dispersion: step (s) -> variance over mean of the counts in steps of that length. tie_share:
    arrivals at the very time of the one before. tick_s: the clock's tick, if many are tied.
    """

    n: int
    span_s: float
    rate_rps: float | None
    step_s: float
    rates_rps: NDArray[np.float64]
    peak_to_mean: float
    cv: float | None
    longest_gap_s: float
    dispersion: dict[float, float]
    tie_share: float
    tick_s: float | None


def arrival_statistics(arrival_s: NDArray[np.float64]) -> ArrivalStatistics:
    """Statistics of arrival times, float64[n] seconds, non-decreasing, n at least 1."""
    arrival_s = arrival_s - arrival_s[0]
    n, span_s = len(arrival_s), float(arrival_s[-1])
    step_s = sensible_step_s(arrival_s, count=SHOWN_COUNT, steps=SHOWN_STEPS) if span_s else 1.0
    rates = rates_over_time(arrival_s, step_s, span_s or step_s)
    # a last step that is hardly begun says nothing
    whole = rates[:-1] if len(rates) > 2 and span_s % step_s < step_s / 2 else rates
    ties = tie_share(arrival_s)
    bunching = {step: dispersion(arrival_s, step) for step in SCALES_S}
    return ArrivalStatistics(
        n=n,
        span_s=span_s,
        rate_rps=(n - 1) / span_s if span_s > 0 else None,
        step_s=step_s,
        rates_rps=whole,
        peak_to_mean=float(whole.max() / whole.mean()),
        cv=gap_cv(arrival_s),
        longest_gap_s=float(np.diff(arrival_s).max(initial=0.0)),
        dispersion={step: value for step, value in bunching.items() if value is not None},
        tie_share=ties,
        tick_s=tick_of(arrival_s) if ties >= 0.02 else None,
    )
