"""When requests arrive: the processes an experiment can name under `arrivals`."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from simulator.errors import InputError, Problem
from simulator.rng import exponential, uniforms
from workloads.batch import MAX_REQUESTS, ClosedLoop
from workloads.schema import Section

CHUNK_ROWS = 1 << 18  # bounds the memory of the uniforms, four to a row


def _not_negligible(rate_rps: float) -> float:
    if rate_rps < 1e-9:
        raise ValueError("less than one request in 30 years")
    return rate_rps


RequestsPerSecond = Annotated[
    float,
    Field(gt=0, description="Mean rate of arrivals, requests per second."),
    AfterValidator(_not_negligible),
]


class ArrivalProcess(Section):
    """Base of the arrival processes. Arrival j depends only on (seed, entity, j)."""

    def clients(self, seed: int, entity: str, count: int) -> ClosedLoop | None:
        """The clients that send `count` requests as answers come; None where times are known."""
        return None

    @abstractmethod
    def _gaps(self, seed: int, entity: str, start: int, count: int) -> NDArray[np.float64]:
        """The gaps before arrivals `start` to `start + count - 1`, in units of the mean gap."""

    @abstractmethod
    def _rate(self) -> float:
        """Requests per second; infinite if all arrive together."""

    @abstractmethod
    def describe(self) -> str:
        """The process in a few words, for the provenance of a result."""

    def times(
        self, seed: int, entity: str, *, count: int | None = None, duration_s: float | None = None
    ) -> NDArray[np.float64]:
        """Arrival times in seconds, float64[n], non-decreasing, the clock starting at 0.

        Gives the first `count` arrivals, or all before `duration_s`, whichever ends first; a
        longer call begins with the same times. Raises InputError if neither is given, if a
        process without gaps is given no count, or if more than 100 million would arrive.
        """
        rate = self._rate()
        if count is None and (duration_s is None or math.isinf(rate)):
            raise InputError(Problem("say how many requests arrive", field="workload.num_requests"))
        expected = math.inf if count is None else float(count)
        if duration_s is not None:
            expected = min(expected, rate * duration_s)
        if expected > MAX_REQUESTS:
            field, span = "num_requests", ""
            if expected != count:
                field, span = "arrivals.rate_rps", f" in {duration_s:g} s"
            message = f"{expected:.3g} requests would arrive{span}; {MAX_REQUESTS:,} is the most"
            raise InputError(Problem(message, field=f"workload.{field}"))

        chunks: list[NDArray[np.float64]] = []
        drawn, gaps_so_far = 0, 0.0
        while count is None or drawn < count:
            # A little over the expected number: the first chunk is nearly always the last.
            size = max(math.ceil(expected + 6.0 * math.sqrt(expected)) - drawn, 1024)
            size = min(size, CHUNK_ROWS, count - drawn if count is not None else size)
            gaps = self._gaps(seed, entity, drawn, size)
            # Summing on from the last time, in order, keeps every prefix bit-identical.
            gaps[0] += gaps_so_far
            total = np.cumsum(gaps)
            drawn, gaps_so_far = drawn + size, float(total[-1])
            times = total / rate
            chunks.append(times)
            if duration_s is not None and times[-1] >= duration_s:
                chunks[-1] = times[: np.searchsorted(times, duration_s, side="left")]
                break
        return np.concatenate(chunks) if chunks else np.empty(0)


class PoissonArrivals(ArrivalProcess):
    """Poisson arrivals: independent exponential gaps of mean 1 / `rate_rps` seconds.

    Under one seed, two rates see the same arrivals on a stretched clock.
    """

    kind: Literal["poisson"] = "poisson"
    rate_rps: RequestsPerSecond

    def _gaps(self, seed: int, entity: str, start: int, count: int) -> NDArray[np.float64]:
        return exponential(uniforms(seed, "arrivals", entity, count, start)[:, 0])

    def _rate(self) -> float:
        return self.rate_rps

    def describe(self) -> str:
        """The process in a few words, for the provenance of a result."""
        return f"poisson, {self.rate_rps:g} requests/s"


class DeterministicArrivals(ArrivalProcess):
    """Evenly spaced arrivals, the first at 0 and arrival j at j / `rate_rps` seconds."""

    kind: Literal["deterministic"] = "deterministic"
    rate_rps: RequestsPerSecond

    def _gaps(self, seed: int, entity: str, start: int, count: int) -> NDArray[np.float64]:
        gaps = np.ones(count)
        if start == 0:
            gaps[0] = 0.0
        return gaps

    def _rate(self) -> float:
        return self.rate_rps

    def describe(self) -> str:
        """The process in a few words, for the provenance of a result."""
        return f"deterministic, {self.rate_rps:g} requests/s"


class AllAtOnceArrivals(ArrivalProcess):
    """Every request at time 0, to measure what a pool completes per second; needs a count."""

    kind: Literal["all_at_once"] = "all_at_once"

    def _gaps(self, seed: int, entity: str, start: int, count: int) -> NDArray[np.float64]:
        return np.zeros(count)

    def _rate(self) -> float:
        return math.inf

    def describe(self) -> str:
        """The process in a few words, for the provenance of a result."""
        return "all at once"


class ClosedLoopArrivals(ArrivalProcess):
    """`concurrency` clients, each sending its next request when its last one has been answered.

    All of them send their first request at time 0. With `think_time_s` a client pauses after every
    answer: always that long, or exponentially distributed with that mean. Requests are sent in
    order, whoever's turn it is; a refused request counts as answered at once. `vllm bench serve
    --max-concurrency` sends like this, without pauses.
    """

    kind: Literal["closed_loop"] = "closed_loop"
    concurrency: int = Field(ge=1, le=MAX_REQUESTS, description="Requests in flight at most.")
    think_time_s: float = Field(
        0.0, ge=0, description="Mean pause of a client between an answer and its next request."
    )
    think_time_law: Literal["constant", "exponential"] = Field(
        "constant", description="How the pauses are distributed."
    )

    def clients(self, seed: int, entity: str, count: int) -> ClosedLoop:
        """The clients, with the pause after each of `count` answers."""
        pause_s = np.full(count, self.think_time_s)
        if self.think_time_law == "exponential" and self.think_time_s > 0:
            for start in range(0, count, CHUNK_ROWS):
                piece = pause_s[start : start + CHUNK_ROWS]
                piece *= exponential(uniforms(seed, "pauses", entity, len(piece), start)[:, 0])
        return ClosedLoop(concurrency=self.concurrency, pause_s=pause_s)

    def _gaps(self, seed: int, entity: str, start: int, count: int) -> NDArray[np.float64]:
        return np.zeros(count)

    def _rate(self) -> float:
        return math.inf

    def describe(self) -> str:
        """The process in a few words, for the provenance of a result."""
        words = f"closed loop, {self.concurrency} at a time"
        if self.think_time_s > 0:
            words += f", {self.think_time_law} pauses of {self.think_time_s:g} s"
        return words


Arrivals = Annotated[
    PoissonArrivals | DeterministicArrivals | AllAtOnceArrivals | ClosedLoopArrivals,
    Field(discriminator="kind"),
]
