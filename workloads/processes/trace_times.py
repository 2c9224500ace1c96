"""Arrivals at the times that a recorded trace has."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from simulator.errors import InputError, Problem
from workloads.processes.arrival_process import ArrivalProcess, checked_factor


class TraceTimesArrivals(ArrivalProcess):
    """When the requests of a trace came; its lengths are not used, and no seed changes anything.

    `rate_scale` 2 means twice the requests per second: times are divided by it. With `repeat` the
    trace begins anew, one mean gap after its last request, as often as needed; without, requests
    end where it ends.
    """

    kind: Literal["trace_times"] = "trace_times"
    rate_field: ClassVar[str] = "rate_scale"
    path: str = Field(min_length=1, description="The trace file, gzip or plain.")
    format: str = Field("auto", description="Its format; auto goes by the first line.")
    rate_scale: float = Field(1.0, gt=0, le=1e9, description="What to divide its times by.")
    repeat: bool = Field(False, description="Whether the trace begins anew when it ends.")

    @field_validator("format")
    @classmethod
    def _known_format(cls, format: str) -> str:
        from workloads.traces import READERS

        if format != "auto" and format not in READERS:
            known = ", ".join(["auto", *READERS])
            raise ValueError(f"unknown trace format {format!r}; known: {known}")
        return format

    def mean_rate_rps(self) -> float:
        """Requests per second between the first and the last one; infinite if all come together.

        Raises InputError if the trace is missing or malformed.
        """
        recorded_s = self._recorded()
        span_s = float(recorded_s[-1] - recorded_s[0])
        return (len(recorded_s) - 1) / span_s * self.rate_scale if span_s > 0 else math.inf

    def expected_count(self, duration_s: float) -> float:
        """How many requests arrive before `duration_s`; raises InputError as `mean_rate_rps`."""
        if self.repeat:
            return self.mean_rate_rps() * duration_s
        times = self._recorded() / self.rate_scale
        return float(np.searchsorted(times, duration_s, side="left"))

    def scaled(self, factor: float) -> Self:
        """The same trace, `factor` times as fast. Raises ValueError for a useless factor."""
        return self._replaced(rate_scale=self.rate_scale * checked_factor(factor))

    def _pieces(self, seed: int, entity: str, expected: float) -> Iterator[NDArray[np.float64]]:
        recorded_s = self._recorded()
        yield recorded_s / self.rate_scale
        if not self.repeat:
            return
        n, span_s = len(recorded_s), float(recorded_s[-1] - recorded_s[0])
        if span_s == 0:
            message = "a trace whose requests all come at one time can't be repeated"
            raise InputError(Problem(message, file=self.path, field="workload.arrivals.repeat"))
        cycle_s = span_s * n / (n - 1)
        cycle = 0
        while True:
            cycle += 1
            yield (recorded_s + cycle * cycle_s) / self.rate_scale

    def _recorded(self) -> NDArray[np.float64]:
        """The trace's own times, float64[n], n at least 1, read once as long as it is unchanged."""
        path = os.path.expanduser(self.path)
        try:
            stat = os.stat(path)
            version = (stat.st_mtime_ns, stat.st_size)
        except (OSError, ValueError):  # the reader says better what is wrong
            version = (-1, -1)
        return _read(path, self.format, version)

    def describe(self) -> str:
        """The process in a few words, for the provenance of a result."""
        scaled = f", rate x {self.rate_scale:g}" if self.rate_scale != 1 else ""
        return f"times of trace {Path(self.path).name}{scaled}{', repeated' if self.repeat else ''}"


@lru_cache(maxsize=4)
def _read(path: str, format: str, version: tuple[int, int]) -> NDArray[np.float64]:
    from workloads.traces import read_trace

    rows, _ = read_trace(Path(path), format)
    recorded_s = np.array(rows.arrival_s)
    recorded_s.flags.writeable = False
    return recorded_s
