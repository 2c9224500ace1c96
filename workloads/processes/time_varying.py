"""Arrivals whose rate follows the clock: levels that are given, and the swing of a day."""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, field_validator, model_validator

from workloads.processes.arrival_process import (
    MOST_RPS,
    ArrivalProcess,
    RequestsPerSecond,
    checked_factor,
    running_sums,
)
from workloads.processes.rate_profile import RateProfile
from workloads.processes.renewal import CoefficientOfVariation, unit_gaps


def _none_or_some(rate_rps: float) -> float:
    if 0 < rate_rps < 1e-9:
        raise ValueError("less than one request in 30 years: use 0")
    return rate_rps


Level = Annotated[float, Field(ge=0, le=MOST_RPS), AfterValidator(_none_or_some)]

STEPS_OF_A_DAY = 8640
"""A day's curve is held over steps of 10 s: within 0.04 % of the mean rate of it."""


class TimeVaryingArrivals(ArrivalProcess):
    """Base of the processes that follow a profile.

    Gaps are those of a stationary gamma process (a Poisson process at the default `cv` of 1) on a
    clock that runs as fast as the rate: rates are met on average at every moment, whatever `cv`.
    """

    cv: CoefficientOfVariation = 1.0

    @abstractmethod
    def profile(self) -> RateProfile:
        """The rate over time."""

    def mean_rate_rps(self) -> float:
        """Requests per second in the long run; until it ends, if the rate falls to 0 for good."""
        return self.profile().mean_rate_rps()

    def expected_count(self, duration_s: float) -> float:
        """How many requests arrive before `duration_s` on average."""
        return self.profile().expected_by(duration_s)

    def _pieces(self, seed: int, entity: str, expected: float) -> Iterator[NDArray[np.float64]]:
        def draw(start: int, count: int) -> NDArray[np.float64]:
            return unit_gaps(seed, entity, start, count, self.cv)

        profile = self.profile()
        total = profile.total()
        for reached in running_sums(draw, expected):
            yield profile.times_of(reached[: np.searchsorted(reached, total, side="left")])
            if reached[-1] >= total:
                return

    def _law(self) -> str:
        return "poisson" if self.cv == 1 else f"gamma of CV {self.cv:g}"


class PiecewiseArrivals(TimeVaryingArrivals):
    """Level after level: `rates_rps`, each for `step_s` seconds, or from its entry of `times_s` on.

    After the last one the levels begin anew with `repeat`; without, the last level stays, and a
    last level of 0 ends the traffic. `times_s` begins with 0; with `repeat` it has one entry more
    than there are rates, the time at which the first level comes back.
    """

    kind: Literal["piecewise"] = "piecewise"
    rate_field: ClassVar[str] = "rates_rps"
    rates_rps: tuple[Level, ...] = Field(strict=False, min_length=1)
    step_s: float | None = Field(None, ge=1e-3, le=1e9, description="How long each level lasts.")
    times_s: tuple[Annotated[float, Field(ge=0, le=1e12)], ...] | None = Field(
        None, strict=False, min_length=1, description="When each level begins."
    )
    repeat: bool = False

    @field_validator("rates_rps")
    @classmethod
    def _some_traffic(cls, rates_rps: tuple[float, ...]) -> tuple[float, ...]:
        if max(rates_rps) == 0:
            raise ValueError("the rates must not all be 0")
        return rates_rps

    @field_validator("times_s")
    @classmethod
    def _ascending(cls, times_s: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if times_s is not None and times_s[0] != 0:
            raise ValueError(f"the first level begins at 0, not at {times_s[0]:g}")
        if any(early >= late for early, late in itertools.pairwise(times_s or ())):
            raise ValueError("times must be ascending")
        return times_s

    @model_validator(mode="after")
    def _whole(self) -> PiecewiseArrivals:
        if (self.step_s is None) == (self.times_s is None):
            raise ValueError("give either step_s or times_s")
        if self.times_s is not None:
            need = len(self.rates_rps) + self.repeat
            if len(self.times_s) != need:
                why = ", the last being the end of the cycle" if self.repeat else ""
                raise ValueError(
                    f"{len(self.rates_rps)} rates need {need} times{why}; "
                    f"there are {len(self.times_s)}"
                )
            if self.repeat and self.times_s[-1] < 1e-3:
                raise ValueError("a cycle must last 0.001 s or longer")
        return self

    def profile(self) -> RateProfile:
        """The rate over time."""
        if self.step_s is not None:
            edges_s = self.step_s * np.arange(len(self.rates_rps) + 1.0)
        else:
            edges_s = np.array((*(self.times_s or ()), *([] if self.repeat else [math.inf])))
        if not self.repeat:
            edges_s[-1] = math.inf
        return RateProfile.of_steps(edges_s, np.array(self.rates_rps), self.repeat)

    def scaled(self, factor: float) -> Self:
        """The same steps at `factor` times the rates. Raises ValueError for a useless factor."""
        checked_factor(factor)
        return self._replaced(rates_rps=tuple(factor * rate for rate in self.rates_rps))

    def describe(self) -> str:
        """The process in a few words, for the provenance of a result."""
        if len(self.rates_rps) == 1:
            return f"{self._law()}, {self.rates_rps[0]:g} requests/s"
        low, high = min(self.rates_rps), max(self.rates_rps)
        steps = f"{len(self.rates_rps)} levels from {low:g} to {high:g} requests/s"
        return f"{self._law()}, {steps}{', repeated' if self.repeat else ''}"


class DiurnalArrivals(TimeVaryingArrivals):
    """Days: `rate_rps` x (1 + `amplitude` x cos of the time from `peak_hour`).

    The run begins at `start_hour` of a day. `rate_rps` is the mean over whole days. A `day_s`
    below 86,400 plays the days faster: hours then are 24ths of `day_s`.
    """

    kind: Literal["diurnal"] = "diurnal"
    rate_rps: RequestsPerSecond
    amplitude: float = Field(
        ge=0, le=1, description="Swing of the rate, as a share of its mean: 1 reaches 0 at night."
    )
    peak_hour: float = Field(14.0, ge=0, lt=24, description="Hour of the day of the highest rate.")
    start_hour: float = Field(0.0, ge=0, lt=24, description="Hour of the day at time 0.")
    day_s: float = Field(86_400.0, ge=1, le=1e9, description="Length of a day in seconds.")

    def profile(self) -> RateProfile:
        """The rate over time, its mean right over each of 8640 steps of a day."""
        days = np.arange(STEPS_OF_A_DAY + 1) / STEPS_OF_A_DAY
        turn = 2.0 * math.pi
        phase = turn * (self.start_hour - self.peak_hour) / 24.0
        swing = np.sin(turn * days + phase) - math.sin(phase)
        # Rounded, as the last bit of a sine is not the same on every machine.
        share = np.round(days + self.amplitude / turn * swing, 12)
        a_day = self.rate_rps * self.day_s
        rates_rps = self.rate_rps * STEPS_OF_A_DAY * np.diff(share)
        return RateProfile(self.day_s * days, rates_rps, a_day * share, repeat=True)

    def scaled(self, factor: float) -> Self:
        """The same days at `factor` times the rate. Raises ValueError for a useless factor."""
        return self._replaced(rate_rps=self.rate_rps * checked_factor(factor))

    def describe(self) -> str:
        """The process in a few words, for the provenance of a result."""
        mean = f"{self.rate_rps:g} requests/s ± {100 * self.amplitude:g} %"
        return f"{self._law()}, {mean} over the day, most at {self.peak_hour:g} h"
