"""Queries in the run: each is a process that sends what its strategy planned, when it says so."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import simpy

from simulator.cluster.source import ClosedLoopSource, Source
from simulator.engine.clock import Clock
from simulator.engine.request import COMPLETED, NEW
from simulator.errors import IntegrityError, PonderError
from simulator.policy import blame
from simulator.quality import NOBODY
from simulator.strategies.query import Query, Request, happen

if TYPE_CHECKING:
    from simulator.strategies.base import Answering
    from simulator.strategies.calls import Call
    from simulator.strategies.plan import Group, Plan


class Desk:
    """Starts each query's process when it arrives, and stands between it and the cluster.

    `submit(row)` sends a request and says whether it was accepted; `withdraw(row)` takes one back;
    `answered(query, time_s)` is told of each query that has its answer, or gave up.

    answer: int64[q], the id each query ended with; done_s: float64[q], when (seconds), NaN before;
    arrival_s: float64[q], when it came, NaN before.
    """

    def __init__(
        self,
        env: Clock,
        requests: np.ndarray,
        plan: Plan,
        pool_id: np.ndarray,
        submit: Callable[[int], bool],
        withdraw: Callable[[int], None],
        answered: Callable[[int, float], None],
    ) -> None:
        self.env = env
        self.answer = np.full(len(plan.queries), NOBODY, dtype=np.int64)
        self.done_s = np.full(len(plan.queries), np.nan)
        self._requests = requests
        self._plan = plan
        self._pool_id = pool_id
        self._submit, self._withdraw, self._answered = submit, withdraw, answered
        self._open: dict[int, tuple[Request, Query]] = {}
        self._rows = [group.row.T.tolist() for group in plan.groups]
        arrival_s: list[float] = plan.queries.arrival_s.tolist()
        self._group, self._place = plan.group.tolist(), plan.place.tolist()
        self.arrival_s = np.full(len(plan.queries), np.nan)
        self._clients: ClosedLoopSource | None = None
        if plan.queries.closed_loop is None:
            Source(env, plan.queries.arrival_s, lambda i: self._start(i, arrival_s[i]))
        else:
            came_s = np.zeros(len(plan.queries))
            self._clients = ClosedLoopSource(
                env, came_s, plan.queries.closed_loop, lambda i: self._start(i, float(came_s[i]))
            )

    def row(self, query: int, call: Call) -> int:
        """Row of the request `call` of a query, -1 if it has none."""
        row: int = self._rows[self._group[query]][self._place[query]][call.index]
        return row

    def send(self, request: Request, query: Query) -> None:
        """Hand a request to the cluster."""
        row = request.row
        if row < 0:
            raise ValueError("it sends a request that it did not plan for this query")
        if self._requests["status"][row] != NEW:
            raise ValueError("it sends a request twice")
        self._requests["arrival_s"][row] = query.now_s
        self._open[row] = (request, query)
        if not self._submit(row):
            del self._open[row]
            request.over = True
            happen(request)

    def cancel(self, request: Request) -> None:
        """Take a request back; for its query it is over."""
        del self._open[request.row]
        self._withdraw(request.row)
        request.over = True
        happen(request)

    def finished(self, rows: Sequence[int], times_s: Sequence[float]) -> None:
        """Requests have got their last token at these times (now, or in the near future)."""
        for row, time_s in zip(rows, times_s, strict=True):
            if row not in self._open:
                continue  # it was cancelled in its last iteration
            if time_s > self.env.now:
                timer = self.env.timeout(time_s - self.env.now, value=(row, time_s))
                timer.callbacks.append(lambda event: self._tell(*event.value))
            else:
                self._tell(row, time_s)

    def check_all_over(self) -> None:
        """Nothing will happen any more. Raises `IntegrityError` if a query still waits."""
        waits = np.flatnonzero(~np.isnan(self.arrival_s) & np.isnan(self.done_s))
        if len(waits):
            strategy = self._plan.groups[self._group[int(waits[0])]].strategy
            message = f"{len(waits):,} queries wait for what never comes"
            raise blame("strategy", strategy, IntegrityError(message))

    def _tell(self, row: int, time_s: float) -> None:
        if row not in self._open:
            return
        request, query = self._open.pop(row)
        query.now_s = max(query.now_s, time_s)
        request.finish_s = time_s
        request.over = True
        r = self._requests[row]
        request.completed = r["status"] == COMPLETED
        if request.completed and r["generated_tokens"] == r["output_tokens"]:
            request.answer = int(self._plan.answers[self._pool_id[r["replica"]], row])
            request.score = float(self._plan.scores[row])
        happen(request)

    def _start(self, index: int, arrival_s: float) -> bool:
        group = self._plan.groups[self._group[index]]
        self.arrival_s[index] = arrival_s
        query = Query(self, index, self._place[index], arrival_s)
        self.env.process(self._serve(index, query, group))
        return True

    def _serve(self, index: int, query: Query, group: Group) -> simpy.events.ProcessGenerator:
        try:
            alone = group.strategy.sends_one_request()
            plan = group.first if alone else group.plan
            answer = yield from _events(group.strategy.answer(query, plan))
            self.answer[index] = operator.index(answer)
        except PonderError:
            raise
        except (Exception, SystemExit) as error:
            raise blame("strategy", group.strategy, error) from error
        self.done_s[index] = query.now_s
        self._answered(index, query.now_s)
        if self._clients is not None:
            self._clients.answered([index], [query.now_s])


def _events(answering: Answering) -> Answering:
    """The events that a strategy yields. Raises TypeError if it yields anything else."""
    while True:
        try:
            event = next(answering)
        except StopIteration as stop:
            answer: int = stop.value
            return answer
        if not isinstance(event, simpy.Event):
            what = f"{event!r:.60}"
            raise TypeError(f"it yields {what}, no event: wait for several with query.all")
        yield event
