"""Requests that come in bursts, as a client that fans out sends them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from simulator.errors import InputError, Problem
from simulator.rng import exponential, uniforms
from workloads.batch import MAX_REQUESTS
from workloads.processes.arrival_process import (
    ArrivalProcess,
    RequestsPerSecond,
    checked_factor,
    piece_sizes,
)


class BurstArrivals(ArrivalProcess):
    """Bursts that begin as a Poisson process, each of some requests, `gap_s` apart.

    `rate_rps` counts requests, so there are `rate_rps` / `mean_size` bursts per second. Sizes are
    geometric on 1, 2, ... with that mean, or all the same (`fixed`). Bursts may overlap; those that
    began before time 0 are there too, so the rate is right from the first second on.
    """

    kind: Literal["bursts"] = "bursts"
    rate_rps: RequestsPerSecond
    mean_size: float = Field(ge=1, le=1e6, description="Mean number of requests in a burst.")
    size_law: Literal["geometric", "fixed"] = Field(
        "geometric", description="How the sizes are distributed."
    )
    gap_s: float = Field(0.0, ge=0, description="Time between the requests of a burst.")

    @model_validator(mode="after")
    def _whole_requests(self) -> BurstArrivals:
        if self.size_law == "fixed" and self.mean_size != int(self.mean_size):
            raise ValueError(f"a fixed size must be a whole number, not {self.mean_size:g}")
        return self

    def mean_rate_rps(self) -> float:
        """Requests per second in the long run."""
        return self.rate_rps

    def scaled(self, factor: float) -> Self:
        """`factor` times as many of the same bursts. Raises ValueError for a useless factor."""
        return self._replaced(rate_rps=self.rate_rps * checked_factor(factor))

    def _pieces(self, seed: int, entity: str, expected: float) -> Iterator[NDArray[np.float64]]:
        # No burst lasts longer than this, so those that begin earlier are over at time 0.
        before_s = self.gap_s * (self._largest() - 1)
        expected += before_s * self.rate_rps
        if expected > MAX_REQUESTS:
            message = f"bursts of up to {before_s:.3g} s: {expected:.3g} requests to draw"
            raise InputError(Problem(message, field="workload.arrivals.gap_s"))
        bursts_rps = self.rate_rps / self.mean_size
        waiting = np.empty(0)  # drawn, but later than bursts that are still to be drawn
        start, reached = 0, 0.0
        for count in piece_sizes(expected / self.mean_size, self.mean_size):
            drawn = uniforms(seed, "arrivals", entity, count, start)
            gaps = exponential(drawn[:, 0])
            gaps[0] += reached  # summed on in order, however it is cut
            sums = np.cumsum(gaps)
            start, reached = start + count, float(sums[-1])
            begin_s = sums / bursts_rps - before_s
            size = self._sizes(drawn[:, 1])
            place = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
            times = np.repeat(begin_s, size) + self.gap_s * place
            times = np.sort(np.concatenate((waiting, times[times >= 0])))
            due = np.searchsorted(times, begin_s[-1], side="right")
            waiting = times[due:]
            yield times[:due]

    def _largest(self) -> int:
        return int(self._sizes(np.array([2.0**-53]))[0])

    def _sizes(self, uniform: NDArray[np.float64]) -> NDArray[np.int64]:
        """Requests of each burst, int64[n], at least 1."""
        if self.size_law == "fixed" or self.mean_size == 1:
            return np.full(len(uniform), int(self.mean_size))
        # P(size > k) = (1 - 1/mean)^k.
        decay = -math.log1p(-1.0 / self.mean_size)
        return np.maximum(np.ceil(exponential(uniform) / decay), 1.0).astype(np.int64)

    def describe(self) -> str:
        """The process in a few words, for the provenance of a result."""
        size = f"{self.size_law} size {self.mean_size:g}"
        apart = f", {self.gap_s:g} s apart" if self.gap_s > 0 else " at once"
        return f"bursts, {self.rate_rps:g} requests/s, {size}{apart}"
