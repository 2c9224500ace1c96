"""Arrivals without a clock of their own: clients who wait for answers, and all at once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simulator.rng import exponential, uniforms
from workloads.batch import MAX_REQUESTS, ClosedLoop
from workloads.processes import arrival_process
from workloads.processes.arrival_process import ArrivalProcess, checked_factor, piece_sizes


class AllAtOnceArrivals(ArrivalProcess):
    """Every request at time 0, to measure what a pool completes per second; needs a count."""

    kind: Literal["all_at_once"] = "all_at_once"

    def mean_rate_rps(self) -> float:
        """Infinite."""
        return math.inf

    def scaled(self, factor: float) -> Self:
        """The process itself: no factor changes an infinite rate. ValueError for a useless one."""
        checked_factor(factor)
        return self

    def _pieces(self, seed: int, entity: str, expected: float) -> Iterator[NDArray[np.float64]]:
        return (np.zeros(size) for size in piece_sizes(expected))

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
            rows = arrival_process.CHUNK_ROWS
            for start in range(0, count, rows):
                piece = pause_s[start : start + rows]
                piece *= exponential(uniforms(seed, "pauses", entity, len(piece), start)[:, 0])
        return ClosedLoop(concurrency=self.concurrency, pause_s=pause_s)

    def mean_rate_rps(self) -> float:
        """Infinite: the answers decide, and nothing is known of them here."""
        return math.inf

    def scaled(self, factor: float) -> Self:
        """Always raises ValueError: how fast these clients send is up to the pool."""
        raise ValueError("a closed loop has no rate to scale: change its concurrency")

    def _pieces(self, seed: int, entity: str, expected: float) -> Iterator[NDArray[np.float64]]:
        return (np.zeros(size) for size in piece_sizes(expected))

    def describe(self) -> str:
        """The process in a few words, for the provenance of a result."""
        words = f"closed loop, {self.concurrency} at a time"
        if self.think_time_s > 0:
            words += f", {self.think_time_law} pauses of {self.think_time_s:g} s"
        return words
