"""Requests seen by a clock that ticks: whole batches of them at one time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from workloads.processes.time_varying import PiecewiseArrivals


class BatchedArrivals(PiecewiseArrivals):
    """`piecewise` arrivals, all of one tick together at its beginning.

    Time is cut into ticks of `tick_s` seconds, and what arrives within one has the time at which it
    began: the requests of traces whose clock is coarse (Mooncake's ticks every 3 s). A tick without
    arrivals is not seen; the other fields are those of `piecewise`.
    """

    kind: Literal["batched"] = "batched"  # type: ignore[assignment]
    tick_s: float = Field(ge=1e-6, le=1e9, description="How long a tick of the clock is.")

    def _pieces(self, seed: int, entity: str, expected: float) -> Iterator[NDArray[np.float64]]:
        for times in super()._pieces(seed, entity, expected):
            yield np.floor(times / self.tick_s) * self.tick_s

    def describe(self) -> str:
        """The process in a few words, for the provenance of a result."""
        return f"{super().describe()}, in batches every {self.tick_s:g} s"
