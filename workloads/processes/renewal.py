"""Arrivals with independent gaps: deterministic, Poisson, gamma and Weibull."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from simulator.errors import InputError, Problem
from simulator.rng import exponential, uniforms
from workloads.processes.arrival_process import (
    ArrivalProcess,
    RequestsPerSecond,
    checked_factor,
    running_sums,
)
from workloads.processes.gaps import (
    LEAST_CV,
    MOST_CV,
    Family,
    equilibrium_gap,
    gamma_gaps,
    weibull_gaps,
    weibull_shape,
)

__all__ = [
    "CoefficientOfVariation",
    "DeterministicArrivals",
    "GammaArrivals",
    "PoissonArrivals",
    "RenewalArrivals",
    "WeibullArrivals",
    "equilibrium_gap",
    "gamma_gaps",
    "unit_gaps",
    "weibull_gaps",
    "weibull_shape",
]


def _drawable(cv: float) -> float:
    if cv < LEAST_CV:
        raise ValueError(f"below {LEAST_CV:g} the gaps are as good as constant: use deterministic")
    return cv


CoefficientOfVariation = Annotated[
    float,
    Field(gt=0, le=MOST_CV, description="Standard deviation of the gaps over their mean."),
    AfterValidator(_drawable),
]


def unit_gaps(
    seed: int,
    entity: str,
    start: int,
    count: int,
    cv: float,
    *,
    family: Family = "gamma",
    stationary: bool = True,
) -> NDArray[np.float64]:
    """The gaps before arrivals `start` to `start + count - 1` of a process of rate 1.

    float64[count]. With `stationary` the first gap is the wait from an arbitrary moment.
    """
    drawn = uniforms(seed, "arrivals", entity, count, start)
    gaps = (gamma_gaps if family == "gamma" else weibull_gaps)(drawn[:, 0], cv)
    if stationary and start == 0:
        gaps[:1] = equilibrium_gap(drawn[:1, 0], drawn[:1, 1], cv, family)
    return gaps


class RenewalArrivals(ArrivalProcess):
    """Base of the processes with independent gaps.

    Under one seed, two rates see the same arrivals on a stretched clock.
    """

    rate_rps: RequestsPerSecond

    def mean_rate_rps(self) -> float:
        """Requests per second in the long run."""
        return self.rate_rps

    def scaled(self, factor: float) -> Self:
        """The same process at `factor` times the rate. Raises ValueError for a useless factor."""
        return self._replaced(rate_rps=self.rate_rps * checked_factor(factor))

    @abstractmethod
    def _gaps(self, seed: int, entity: str, start: int, count: int) -> NDArray[np.float64]:
        """The gaps before arrivals `start` to `start + count - 1`, in units of the mean gap."""

    def _pieces(self, seed: int, entity: str, expected: float) -> Iterator[NDArray[np.float64]]:
        def draw(start: int, count: int) -> NDArray[np.float64]:
            return self._gaps(seed, entity, start, count)

        for sums in running_sums(draw, expected):
            yield sums / self.rate_rps


class DeterministicArrivals(RenewalArrivals):
    """Evenly spaced arrivals, the first at 0 and arrival j at j / `rate_rps` seconds."""

    kind: Literal["deterministic"] = "deterministic"

    def _gaps(self, seed: int, entity: str, start: int, count: int) -> NDArray[np.float64]:
        gaps = np.ones(count)
        if start == 0:
            gaps[0] = 0.0
        return gaps

    def describe(self) -> str:
        """The process in a few words, for the provenance of a result."""
        return f"deterministic, {self.rate_rps:g} requests/s"


class RandomGapArrivals(RenewalArrivals):
    """Base of the processes whose gaps are drawn.

    `rescale_to_nominal` does as `vllm bench serve` does: of n requests, the last arrives at exactly
    n / `rate_rps` seconds, all times being multiplied by one factor. Runs of different seeds then
    have one throughput. A longer run no longer begins with the same arrivals, the first gap is one
    like the others, and counts vary less than those of the process. It needs the number of
    requests.
    """

    rescale_to_nominal: bool = Field(
        False, description="Stretch the times so that request n of n arrives at n / rate_rps."
    )

    def times(
        self, seed: int, entity: str, *, count: int | None = None, duration_s: float | None = None
    ) -> NDArray[np.float64]:
        """Arrival times, see `ArrivalProcess.times`; InputError if rescaling is given no count."""
        if not self.rescale_to_nominal:
            return super().times(seed, entity, count=count, duration_s=duration_s)
        if count is None:
            message = "rescale_to_nominal needs the number of requests: say how many arrive"
            raise InputError(Problem(message, field="workload.num_requests"))
        times = super().times(seed, entity, count=count)
        if times.size and times[-1] > 0:
            times = times / times[-1] * (count / self.rate_rps)
        if duration_s is not None:
            times = times[: np.searchsorted(times, duration_s, side="left")]
        return times

    def _rescaled(self) -> str:
        return ", rescaled to the nominal duration" if self.rescale_to_nominal else ""


class PoissonArrivals(RandomGapArrivals):
    """Poisson arrivals: independent exponential gaps of mean 1 / `rate_rps` seconds."""

    kind: Literal["poisson"] = "poisson"

    def _gaps(self, seed: int, entity: str, start: int, count: int) -> NDArray[np.float64]:
        return exponential(uniforms(seed, "arrivals", entity, count, start)[:, 0])

    def describe(self) -> str:
        """The process in a few words, for the provenance of a result."""
        return f"poisson, {self.rate_rps:g} requests/s{self._rescaled()}"


class _VariableGapArrivals(RandomGapArrivals):
    """Base of the processes whose gaps have a CV of their own."""

    cv: CoefficientOfVariation
    stationary: bool = Field(
        True, description="Whether the run begins at an arbitrary moment, not just after a request."
    )

    @abstractmethod
    def _family(self) -> Family:
        """The law of the gaps."""

    def _gaps(self, seed: int, entity: str, start: int, count: int) -> NDArray[np.float64]:
        stationary = self.stationary and not self.rescale_to_nominal
        family = self._family()
        return unit_gaps(seed, entity, start, count, self.cv, family=family, stationary=stationary)

    def describe(self) -> str:
        """The process in a few words, for the provenance of a result."""
        words = f"{self._family()}, {self.rate_rps:g} requests/s, CV {self.cv:g}"
        begun = "" if self.stationary or self.rescale_to_nominal else ", begun at a request"
        return words + begun + self._rescaled()


class GammaArrivals(_VariableGapArrivals):
    """Gamma gaps of shape 1 / `cv`^2: `cv` above 1 comes in clumps, below 1 more evenly.

    The `--burstiness` of `vllm bench serve` is that shape: burstiness b is a `cv` of 1 / sqrt(b).
    A `stationary` process has its rate from the first second on; otherwise the run begins as if a
    request had come at time 0, and a variable process is too busy at first.
    """

    kind: Literal["gamma"] = "gamma"

    def _family(self) -> Family:
        return "gamma"


class WeibullArrivals(_VariableGapArrivals):
    """Weibull gaps, the shape found from `cv`; their tail is longer than that of gamma gaps.

    `stationary` as in `GammaArrivals`.
    """

    kind: Literal["weibull"] = "weibull"

    def _family(self) -> Family:
        return "weibull"
