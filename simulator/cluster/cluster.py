"""One pool of equal replicas behind a router, driven by an open-loop source."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
from simpy.core import EmptySchedule, StopSimulation

from simulator.cluster.outcome import Outcome
from simulator.cluster.source import Source
from simulator.cost.iteration_time import CostTable
from simulator.engine.clock import Clock
from simulator.engine.config import EngineConfig
from simulator.engine.itl import EDGES_S
from simulator.engine.replica import Replica
from simulator.routers.base import Router

Progress = Callable[[float, int, int], None]

_EVENTS_PER_LOOK = 1000
_SECONDS_PER_TICK = 0.1


class Cluster:
    """Replicas, the router before them, and the requests that will arrive.

    `requests` is a `REQUEST` array in order of arrival; it is filled in by `run`. Inter-token gaps
    of all replicas go into one histogram, in as many slices of `itl_span_s` as it has rows.
    """

    def __init__(
        self,
        requests: np.ndarray,
        router: Router,
        config: EngineConfig,
        cost: CostTable,
        *,
        num_replicas: int,
        sample_interval_s: float,
        marks_s: tuple[float, ...] = (),
        itl_span_s: tuple[float, float] = (0.0, 0.0),
        check_integrity: bool = False,
    ) -> None:
        self.clock = Clock()
        self.requests = requests
        self.router = router
        self._config = config
        self._refused: dict[int, str] = {}
        self.replicas = [
            Replica(
                self.clock,
                config,
                cost,
                requests,
                index=index,
                sample_interval_s=sample_interval_s,
                marks_s=marks_s,
                itl_span_s=itl_span_s,
                check_integrity=check_integrity,
            )
            for index in range(num_replicas)
        ]
        for replica in self.replicas[1:]:
            replica.share_itl(self.replicas[0])
        self._source = Source(self.clock, requests["arrival_s"], self._submit)

    def _submit(self, i: int) -> None:
        reason = self.replicas[self.router.choose(i)].offer(i)
        if reason is not None:
            self._refused[i] = reason

    def run(self, until_s: float = math.inf, progress: Progress | None = None) -> Outcome:
        """Run until `until_s` (seconds), or until every request has left.

        `progress(sim_time_s, requests_done, requests_total)` is called about ten times a second.
        """
        started = time.perf_counter()
        if until_s < math.inf:
            self.clock.timeout(until_s).callbacks.append(StopSimulation.callback)
        step = self.clock.step
        ticked = started
        try:
            while True:
                for _ in range(_EVENTS_PER_LOOK):
                    step()
                if progress is not None and time.perf_counter() - ticked > _SECONDS_PER_TICK:
                    progress(self.clock.now, self._departed(), len(self.requests))
                    ticked = time.perf_counter()
        except (EmptySchedule, StopSimulation):
            pass
        wall_s = time.perf_counter() - started
        last = max(float(replica.arrays.state[0]["now_s"]) for replica in self.replicas)
        arrived = float(self.requests["arrival_s"][self._source.submitted - 1])
        done = self._departed()
        end_s = until_s if done < len(self.requests) else max(last, arrived)
        for replica in self.replicas:
            replica.finish(end_s)
        if progress is not None:
            progress(end_s, done, len(self.requests))
        arrays = [replica.arrays for replica in self.replicas]
        return Outcome(
            config=self._config,
            requests=self.requests[: self._source.submitted],
            refused=self._refused,
            states=np.concatenate([each.state for each in arrays]),
            samples=[each.samples[: each.state[0]["num_samples"]] for each in arrays],
            marks=np.stack([each.marks for each in arrays]),
            itl=arrays[0].itl,
            itl_edges_s=EDGES_S,
            end_s=end_s,
            wall_s=wall_s,
        )

    def _departed(self) -> int:
        return len(self._refused) + sum(int(r.arrays.state[0]["departed"]) for r in self.replicas)
