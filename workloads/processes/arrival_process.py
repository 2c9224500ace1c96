"""What an arrival process is: a sequence of times that depends on nothing but its address."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from simulator.errors import InputError, Problem
from workloads.batch import MAX_REQUESTS, ClosedLoop
from workloads.schema import Section

CHUNK_ROWS = 1 << 18  # bounds the memory of the uniforms, four to a row
LEAST_ROWS = 64  # fewer are not worth a piece of their own
MOST_RPS = 1e9


def _not_negligible(rate_rps: float) -> float:
    if rate_rps < 1e-9:
        raise ValueError("less than one request in 30 years")
    return rate_rps


RequestsPerSecond = Annotated[
    float,
    Field(gt=0, le=MOST_RPS, description="Mean rate of arrivals, requests per second."),
    AfterValidator(_not_negligible),
]


class ArrivalProcess(Section):
    """Base of the arrival processes. Arrival j depends only on (seed, entity, j)."""

    rate_field: ClassVar[str] = "rate_rps"
    """The field to lower where too many requests would arrive."""

    def clients(self, seed: int, entity: str, count: int) -> ClosedLoop | None:
        """The clients that send `count` requests as answers come; None where times are known."""
        return None

    @abstractmethod
    def mean_rate_rps(self) -> float:
        """Requests per second in the long run; infinite if all arrive together.

        Of a process that ends by itself, the mean until then. Raises InputError if it is written
        in a file that can't be read.
        """

    @abstractmethod
    def scaled(self, factor: float) -> Self:
        """The same process at `factor` times the rate, to split traffic or to multiply it.

        Whatever else has a clock keeps it: the hours of a profile, how long a state lasts. Raises
        ValueError unless `factor` is positive and finite, and for clients who wait for answers.
        """

    @abstractmethod
    def describe(self) -> str:
        """The process in a few words, for the provenance of a result."""

    @abstractmethod
    def _pieces(self, seed: int, entity: str, expected: float) -> Iterator[NDArray[np.float64]]:
        """The times from the first arrival on, cut anywhere, without end unless the process ends.

        About `expected` of them will be taken. How they are cut must not change them.
        """

    def expected_count(self, duration_s: float) -> float:
        """How many requests arrive before `duration_s` on average; errors as `mean_rate_rps`."""
        return self.mean_rate_rps() * duration_s

    def times(
        self, seed: int, entity: str, *, count: int | None = None, duration_s: float | None = None
    ) -> NDArray[np.float64]:
        """Arrival times in seconds, float64[n], non-decreasing, the clock starting at 0.

        Gives the first `count` arrivals, or all before `duration_s`, whichever ends first; fewer
        only if the process ends by itself. A longer call begins with the same times. Raises
        InputError if neither is given, if a process of infinite rate is given no count, or if more
        than 100 million would arrive.
        """
        expected = self._expected(count, duration_s)
        until_s = math.inf if duration_s is None else duration_s
        chunks: list[NDArray[np.float64]] = []
        drawn = 0
        for times in self._pieces(seed, entity, expected) if count != 0 else ():
            over = times.size > 0 and times[-1] >= until_s
            if over:
                times = times[: np.searchsorted(times, until_s, side="left")]
            if count is not None:
                times = times[: count - drawn]
            chunks.append(times)
            drawn += len(times)
            if over or drawn == count:
                break
        return np.concatenate(chunks) if chunks else np.empty(0)

    def _expected(self, count: int | None, duration_s: float | None) -> float:
        """How many arrivals to expect; refuses to draw without an end, or too many."""
        if count is None and (duration_s is None or math.isinf(self.mean_rate_rps())):
            raise InputError(Problem("say how many requests arrive", field="workload.num_requests"))
        expected = math.inf if count is None else float(count)
        field, span = "num_requests", ""
        if duration_s is not None and not math.isinf(self.mean_rate_rps()):
            by_then = self.expected_count(duration_s)
            if by_then < expected:
                expected = by_then
                field, span = f"arrivals.{self.rate_field}", f" in {duration_s:g} s"
        if expected > MAX_REQUESTS:
            message = f"{expected:.3g} requests would arrive{span}; {MAX_REQUESTS:,} is the most"
            raise InputError(Problem(message, field=f"workload.{field}"))
        return expected

    def _replaced(self, **changes: Any) -> Self:
        """A copy with some fields changed, validated anew."""
        return type(self).model_validate(self.model_dump() | changes)


def checked_factor(factor: float) -> float:
    """`factor` if rates can be multiplied by it. Raises ValueError otherwise."""
    if not (factor > 0 and math.isfinite(factor)):
        raise ValueError(f"a rate is scaled by a positive, finite factor, not by {factor}")
    return factor


def piece_sizes(expected: float, rows_each: float = 1.0) -> Iterator[int]:
    """How many to draw at a time, for ever; the first piece nearly always holds `expected`.

    `rows_each` is the memory that one takes, in rows of uniforms.
    """
    most = max(int(CHUNK_ROWS / max(rows_each, 1.0)), 1)
    drawn = 0
    while True:
        size = max(math.ceil(expected + 6.0 * math.sqrt(expected)) - drawn, LEAST_ROWS)
        size = min(size, most)
        yield size
        drawn += size


def running_sums(
    draw: Callable[[int, int], NDArray[np.float64]], expected: float, rows_each: float = 1.0
) -> Iterator[NDArray[np.float64]]:
    """Sums of the gaps `draw(start, count)` from the first gap on, for ever; see `piece_sizes`."""
    start, reached = 0, 0.0
    for size in piece_sizes(expected, rows_each):
        gaps = draw(start, size)
        # Summing on from the last sum, in order, keeps every prefix bit-identical.
        gaps[0] += reached
        sums = np.cumsum(gaps)
        start, reached = start + size, float(sums[-1])
        yield sums
