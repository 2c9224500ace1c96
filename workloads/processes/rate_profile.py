"""A rate that changes in steps, and the change of clock that lets arrivals follow it.

A process of rate 1 on the clock x = integral of the rate becomes one whose rate is the profile's:
if x_j are its arrivals, the moments at which the integral reaches them are ours (Cinlar,
"Introduction to Stochastic Processes", 1975, section 4.7). Nothing is rejected, as it is by
thinning, so arrival j stays arrival j, and gaps other than exponential keep their variability.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


def times_of(
    edges_s: NDArray[np.float64],
    rates_rps: NDArray[np.float64],
    integral: NDArray[np.float64],
    reached: NDArray[np.float64],
) -> NDArray[np.float64]:
    """When the integral of a rate reaches `reached`, float64[n]; non-decreasing if that is.

    Step i lasts from edges_s[i] to edges_s[i + 1] (seconds, float64[m + 1]) at rates_rps[i]
    (float64[m], one of them above 0); integral[i] (float64[m + 1]) is what it has come to by its
    beginning. Nothing arrives while the rate is 0.
    """
    step = np.searchsorted(integral, reached, side="right") - 1
    step = np.clip(step, 0, np.flatnonzero(rates_rps)[-1])
    times = edges_s[step] + (reached - integral[step]) / rates_rps[step]
    return np.asarray(np.minimum(times, edges_s[step + 1]))


@dataclass(frozen=True, eq=False)
class RateProfile:
    """Steps of constant rate from time 0 on, over and over again or once.

    edges_s: float64[m + 1], ascending from 0; the last may be infinite where nothing repeats.
    rates_rps: float64[m], at least one above 0. integral: float64[m + 1], arrivals expected by
    each edge.
    """

    edges_s: NDArray[np.float64]
    rates_rps: NDArray[np.float64]
    integral: NDArray[np.float64]
    repeat: bool

    @classmethod
    def of_steps(
        cls, edges_s: NDArray[np.float64], rates_rps: NDArray[np.float64], repeat: bool
    ) -> RateProfile:
        """The profile of these steps."""
        with np.errstate(invalid="ignore"):
            expected = np.where(rates_rps > 0, rates_rps * np.diff(edges_s), 0.0)
        return cls(edges_s, rates_rps, np.concatenate(([0.0], np.cumsum(expected))), repeat)

    def total(self) -> float:
        """Arrivals expected in all: infinite unless the rate falls to 0 for good."""
        return math.inf if self.repeat else float(self.integral[-1])

    def mean_rate_rps(self) -> float:
        """Requests per second in the long run, or until the rate falls to 0 for good."""
        if not self.repeat and math.isinf(self.edges_s[-1]):
            if self.rates_rps[-1] > 0:
                return float(self.rates_rps[-1])
            last = np.flatnonzero(self.rates_rps)[-1]
            return float(self.integral[-1] / self.edges_s[last + 1])
        return float(self.integral[-1] / self.edges_s[-1])

    def expected_by(self, time_s: float) -> float:
        """Arrivals expected before `time_s`."""
        if not self.repeat:
            return self._within(time_s)
        cycles, rest_s = divmod(time_s, float(self.edges_s[-1]))
        return cycles * float(self.integral[-1]) + self._within(rest_s)

    def times_of(self, reached: NDArray[np.float64]) -> NDArray[np.float64]:
        """When the expected number reaches each of `reached` (ascending, below `total()`)."""
        if not self.repeat:
            return times_of(self.edges_s, self.rates_rps, self.integral, reached)
        a_cycle = self.integral[-1]
        cycle = np.floor(reached / a_cycle)
        # Rounding may leave a little less than nothing, or a little more than a cycle.
        rest = np.clip(reached - cycle * a_cycle, 0.0, a_cycle)
        cycle_s = self.edges_s[-1]
        times = cycle * cycle_s + times_of(self.edges_s, self.rates_rps, self.integral, rest)
        return np.asarray(np.minimum(times, (cycle + 1.0) * cycle_s))

    def _within(self, time_s: float) -> float:
        step = int(np.searchsorted(self.edges_s, time_s, side="right")) - 1
        step = min(step, len(self.rates_rps) - 1)
        into_s = time_s - float(self.edges_s[step])
        return float(self.integral[step] + self.rates_rps[step] * into_s)
