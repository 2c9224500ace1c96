"""Queries of one kind drawn from laws: the `synthetic` workload."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from simulator.rng import luck
from workloads.arrivals import Arrivals, ClosedLoopArrivals
from workloads.batch import RequestBatch
from workloads.generate import class_batch
from workloads.laws.law import Law
from workloads.queries import QueryLaws
from workloads.sessions import SessionLaws
from workloads.workload import DrawnWorkload


class SyntheticWorkload(QueryLaws, DrawnWorkload):
    """Arrivals and lengths drawn from laws, all requests of one class.

    Ends after `num_requests` or before `duration_s`, whichever comes first. Request j's lengths
    depend only on the seed, the class name and j. With `session`, whole sessions arrive.
    """

    kind: Literal["synthetic"] = "synthetic"
    class_name: str = Field("default", min_length=1)
    arrivals: Arrivals
    session: SessionLaws | None = None

    @model_validator(mode="after")
    def _has_times_to_end(self) -> SyntheticWorkload:
        if not isinstance(self.arrivals, ClosedLoopArrivals):
            return self
        if self.duration_s is not None:
            raise ValueError(
                "duration_s cannot end a closed loop, whose times follow from the run: "
                "use num_requests here, or measure.window_s"
            )
        if self.session is not None:
            raise ValueError("sessions wait for answers by themselves: they need no closed loop")
        return self

    @property
    def is_closed_loop(self) -> bool:
        """Whether clients wait for answers, so that nobody knows beforehand when requests come."""
        return isinstance(self.arrivals, ClosedLoopArrivals)

    def generate(
        self, seed: int, *, duration_s: float | None = None, base_dir: Path | None = None
    ) -> RequestBatch:
        """Draws the requests of `seed`; see `Workload.generate`."""
        if self.has_own_end:
            duration_s = self.duration_s
        starts_s = self.arrivals.times(
            seed, self.class_name, count=self.num_requests, duration_s=duration_s
        )
        batch = class_batch(
            self, seed, self.class_name, starts_s, session=self.session, most=self.num_requests
        )
        batch = self.bounded(batch, duration_s)
        what, words = "arrival_s", self.arrivals.describe()
        if self.session is not None:
            what, words = "sessions", words.replace("requests/s", "sessions/s")
        return replace(
            batch,
            provenance={what: f"drawn: {words}", **batch.provenance},
            closed_loop=self.arrivals.clients(seed, self.class_name, len(batch)),
        )

    def difficulty_law(self, class_name: str) -> tuple[float, float] | None:
        """Shapes of the beta law of difficulty; see `Workload.difficulty_law`."""
        return self.difficulty_shapes()

    def attempt(
        self, seed: int, batch: RequestBatch, number: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Lengths of attempt `number`; see `Workload.attempt`."""
        drawn = self.draw(seed, self.class_name, len(batch), sample=number)
        return drawn.thinking_tokens, drawn.answer_tokens


def draw_lengths(
    law: Law, seed: int, stream: str, entity: str, count: int, *, sample: int = 0
) -> NDArray[np.int64]:
    """Lengths int64[count] of one stream."""
    return law.quantile(luck(seed, stream, entity, count, sample=sample))
