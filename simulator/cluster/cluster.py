"""Pools of replicas behind one router, driven by a source of requests."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from simpy.core import EmptySchedule, StopSimulation

from simulator.admission import Admission
from simulator.cluster.counts import count
from simulator.cluster.desk import Desk
from simulator.cluster.outcome import Outcome
from simulator.cluster.pool import PoolPlan
from simulator.cluster.replies import Replies
from simulator.cluster.routing import Dispatcher, fleet_of
from simulator.cluster.source import ClosedLoopSource, SessionSource, Source
from simulator.cluster.stepping import RunningAhead
from simulator.engine.itl import EDGES_S
from simulator.engine.refusal import of_every_pool
from simulator.engine.replica import Replica, content_paths_of
from simulator.engine.request import NEW, REJECTED, RUNNING, WAITING
from simulator.engine.spans import ABSOLUTE_TOLERANCE_S, RELATIVE_TOLERANCE
from simulator.engine.state import STATE
from simulator.errors import IntegrityError
from simulator.facts import RequestFacts
from simulator.policy import blame, blaming, kind_of
from simulator.prefix import PromptSegments
from simulator.routers.base import Router
from simulator.strategies.plan import Plan
from workloads.batch import ClosedLoop, Sessions

Progress = Callable[[float, int, int], None]

UNDER_WAY = (WAITING, RUNNING)

_EVENTS_PER_LOOK = 1000
_SECONDS_PER_TICK = 0.1


class Cluster:
    """Replicas, the router before them, and the requests that will arrive.

    `replicas` are those of all `pools`, pool after pool; `pool_id` (int64[replicas]) is the pool of
    each.

    `requests` is a `REQUEST` array in order of arrival; it is filled in by `run`, with the arrival
    times as well where `closed_loop` or `sessions` say who waits for what. `segments` says what
    prompts share, and every replica knows it. Inter-token gaps of all replicas go into one
    histogram, in as many slices of `itl_span_s` as it has rows. `facts` is what policies know of
    the requests, None if nothing but their lengths of prompts and caps. `admission` has been
    started, and is asked before the router is; None admits all. `seed` is for the router's luck.
    `plan` says of which queries the requests are, whose strategies send them.
    """

    def __init__(
        self,
        requests: np.ndarray,
        router: Router,
        pools: Sequence[PoolPlan],
        *,
        sample_interval_s: float,
        marks_s: tuple[float, ...] = (),
        itl_span_s: tuple[float, float] = (0.0, 0.0),
        closed_loop: ClosedLoop | None = None,
        sessions: Sessions | None = None,
        segments: PromptSegments | None = None,
        facts: RequestFacts | None = None,
        admission: Admission | None = None,
        seed: int = 0,
        plan: Plan | None = None,
        check_integrity: bool = False,
    ) -> None:
        self.clock = RunningAhead()
        self.requests = requests
        self.router = router
        self._router_listens = type(router).on_finish is not Router.on_finish
        self._admission = admission
        if facts is None:
            facts = RequestFacts.plain(requests["prompt_tokens"], requests["max_tokens"])
            facts = replace(facts, segments=segments)
        self.pools = tuple(pools)
        self.pool_id = np.repeat(np.arange(len(pools)), [each.num_replicas for each in pools])
        self._refused: dict[int, str] = {}
        self._last_departure_s: float | None = None
        self.replicas: list[Replica] = []
        states = np.zeros(len(self.pool_id), dtype=STATE)
        block_size = max(each.config.block_size for each in self.pools)
        phases = np.zeros((len(self.pool_id), block_size), dtype=np.int64)
        caching = [each.config for each in pools if each.config.enable_prefix_caching]
        paths = {
            size: content_paths_of(requests, segments, size)
            for size in sorted({config.block_size for config in caching})
        }
        for index, each in enumerate(self.pools[k] for k in self.pool_id):
            replica = Replica(
                self.clock,
                each.config,
                each.cost,
                requests,
                index=index,
                sample_interval_s=sample_interval_s,
                marks_s=marks_s,
                itl_span_s=itl_span_s,
                itl=self.replicas[0].arrays.itl if index else None,
                state=states[index : index + 1],
                phases=phases[index, : each.config.block_size],
                segments=segments,
                scheduler=each.scheduler(),
                facts=facts,
                paths=paths.get(each.config.block_size),
                check_integrity=check_integrity,
            )
            self.replicas.append(replica)
        self._dispatcher = Dispatcher(
            router,
            fleet_of(self.pools, self.pool_id),
            facts,
            seed,
            self.clock,
            requests,
            states,
            phases,
            pool=None if plan is None else plan.pool,
        )
        self._plan = plan
        self._news: list[tuple[int, list[int]]] = []  # replicas and their finished requests
        self._desk: Desk | None = None
        self._left: int | None = None  # measured requests that are waited for
        self._waiting_source: ClosedLoopSource | SessionSource | None = None
        arrival_s = requests["arrival_s"]
        if plan is not None and plan.needs_processes:
            self._measured = np.zeros(len(plan.queries), dtype=bool)
            self._measured[plan.query] = requests["measured"] == 1
            self._desk = Desk(
                self.clock,
                requests,
                plan,
                self.pool_id,
                self._submit,
                self._withdraw,
                self._answered,
            )
        elif closed_loop is not None:
            self._waiting_source = ClosedLoopSource(
                self.clock, arrival_s, closed_loop, self._submit
            )
        elif sessions is not None and (sessions.after >= 0).any():
            self._waiting_source = SessionSource(self.clock, arrival_s, sessions, self._submit)
        else:
            Source(self.clock, arrival_s, self._submit)
        watches = admission is not None and admission.watches_answers
        waits = self._waiting_source is not None or self._desk is not None
        if watches or waits or self._router_listens:
            self._listen()
        else:
            self.clock.hold(self.replicas, states, requests, check_integrity)

    def _submit(self, i: int) -> bool:
        reason = self._turned_away(i)
        if reason is None:
            reason = self._offer(self._dispatcher.choose(i), i)
            if reason is None and self._admission is not None:
                try:
                    self._admission.admitted(i, self.clock.now)
                except (Exception, SystemExit) as error:
                    raise blame("admission control", self._admission, error) from error
        if reason is not None:
            self._refused[i] = reason
            if self._left is not None and self._desk is None:
                self._leave(int(self.requests["measured"][i]), self.clock.now)
        return reason is None

    def _withdraw(self, i: int) -> None:
        self.replicas[self.requests["replica"][i]].cancel(i)

    def _answered(self, query: int, time_s: float) -> None:
        """A query has come to its end."""
        if self._left is not None:
            self._leave(int(self._measured[query]), time_s)

    def _turned_away(self, i: int) -> str | None:
        """Why admission control rejects request i, which is then marked as rejected."""
        if self._admission is None:
            return None
        seen = count(self.replicas) if self._admission.needs_snapshot else None
        try:
            reason = self._admission.refusal(i, self.clock.now, seen)
        except (Exception, SystemExit) as error:
            raise blame("admission control", self._admission, error) from error
        if reason is not None and not (isinstance(reason, str) and reason):
            message = f"refusal must return a reason or None, not {reason!r}"
            raise IntegrityError(f"admission control {kind_of(self._admission)}: {message}")
        if reason is not None:
            self.requests["status"][i] = REJECTED
            self.requests["finish_s"][i] = self.requests["arrival_s"][i]
        return reason

    def _offer(self, replica: int, i: int) -> str | None:
        """Offer request i to a replica; why it is refused, as it would be by any other one."""
        reason = self.replicas[replica].offer(i)
        if reason is None:
            self._dispatcher.sent(i, replica)
        if reason is None or len(self.pools) == 1:
            return reason
        return of_every_pool(reason)

    def _listen(self) -> None:
        for replica in self.replicas:
            replica.on_finish = self._told
        self.clock.release()

    def _told(self, ids: list[int]) -> None:
        """Requests of one replica have got their last token, or will in the iteration under way.

        Those of others may at this very instant: they are heard of together, replica by replica,
        before any replica decides what follows.
        """
        if not self._news:
            delay_s = 0.25 * (RELATIVE_TOLERANCE * self.clock.now + ABSOLUTE_TOLERANCE_S)
            self.clock.timeout(delay_s).callbacks.append(self._hear)
        self._news.append((int(self.requests["replica"][ids[0]]), ids))

    def _hear(self, _: object) -> None:
        news, self._news = sorted(self._news), []
        self._finished([i for _, ids in news for i in ids])

    def _finished(self, ids: list[int]) -> None:
        """These requests have got their last token, or will in the iteration under way."""
        if self._admission is not None and self._admission.watches_answers:
            done = self.requests[ids]
            columns = (done[name] for name in ("generated_tokens", "first_token_s", "finish_s"))
            with blaming("admission control", self._admission):
                self._admission.answered(np.array(ids, dtype=np.int64), *columns)
        if self._router_listens:
            with blaming("router", self.router):
                self.router.on_finish(ids)
        times_s = self.requests["finish_s"][ids].tolist()
        if self._waiting_source is not None:
            self._waiting_source.answered(ids, times_s)
        if self._desk is not None:
            self._desk.finished(ids, times_s)
        elif self._left is not None:
            self._leave(int(self.requests["measured"][ids].sum()), max(times_s))

    def _leave(self, measured: int, time_s: float) -> None:
        """So many measured requests are gone; with the last one of them the run ends."""
        assert self._left is not None
        self._left -= measured
        if measured and self._left == 0:
            self._last_departure_s = time_s
            raise StopSimulation

    def run(
        self,
        *,
        window_end_s: float = math.inf,
        until_s: float = math.inf,
        progress: Progress | None = None,
    ) -> Outcome:
        """Run to the window's end, then until every measured request has left.

        Nobody waits for requests that are not measured; with an open window, all are waited for.
        At `until_s` (seconds) the run ends whatever is left. `progress(sim_time_s, requests_done,
        requests_total)` is called about ten times a second, counting requests that arrive before
        the window's end.
        """
        started = time.perf_counter()
        total = int(np.searchsorted(self.requests["arrival_s"], window_end_s))

        def tick(now_s: float) -> None:
            if progress is not None:
                progress(now_s, min(self._departed(), total), total)

        stopped = self._run_until(min(window_end_s, until_s), tick)
        if stopped and window_end_s < until_s:
            if self._watch_measured():
                stopped = self._run_until(until_s, tick)
            else:
                until_s = window_end_s
        if self._desk is not None and not stopped and self._last_departure_s is None:
            self._desk.check_all_over()
        wall_s = time.perf_counter() - started
        end_s = self._end_s(window_end_s, until_s if stopped else math.inf)
        for replica in self.replicas:
            replica.finish(end_s)
        tick(end_s)
        arrays = [replica.arrays for replica in self.replicas]
        rows = self._arrived()
        place = {int(row): k for k, row in enumerate(rows)} if self._refused else {}
        return Outcome(
            pool_names=tuple(plan.name for plan in self.pools),
            configs=tuple(plan.config for plan in self.pools),
            pool_id=self.pool_id,
            requests=self.requests[: len(rows)] if _counts_up(rows) else self.requests[rows],
            rows=rows,
            refused={place[row]: reason for row, reason in self._refused.items()},
            states=np.concatenate([each.state for each in arrays]),
            samples=[each.samples[: each.state[0]["num_samples"]] for each in arrays],
            marks=np.stack([each.marks for each in arrays]),
            replies=self._replies(),
            itl=arrays[0].itl,
            itl_edges_s=EDGES_S,
            end_s=end_s,
            wall_s=wall_s,
        )

    def _replies(self) -> Replies | None:
        """How the queries of a plan ended."""
        if self._plan is None:
            return None
        if self._desk is not None:
            desk = self._desk
            return Replies(self._plan, desk.answer, desk.done_s, desk.arrival_s)
        return Replies.of_single_requests(self._plan, self.requests, self.pool_id)

    def _run_until(self, stop_s: float, tick: Callable[[float], None]) -> bool:
        """Process events up to `stop_s`; False if there were none left before it."""
        if stop_s < math.inf:
            delay_s = max(stop_s - self.clock.now, 0.0)
            self.clock.timeout(delay_s).callbacks.append(StopSimulation.callback)
        step = self.clock.step
        ticked = time.perf_counter()
        try:
            while True:
                for _ in range(_EVENTS_PER_LOOK):
                    step()
                if time.perf_counter() - ticked > _SECONDS_PER_TICK:
                    tick(self.clock.now)
                    ticked = time.perf_counter()
        except StopSimulation:
            return self._last_departure_s is None
        except EmptySchedule:
            return False

    def _watch_measured(self) -> bool:
        """From now on, stop when the last measured request leaves; False if none is left."""
        if self._desk is not None:
            left = int((self._measured & np.isnan(self._desk.done_s)).sum())
        else:
            awaited = UNDER_WAY if self._waiting_source is None else (NEW, *UNDER_WAY)
            measured = self.requests["measured"] == 1
            left = int(np.isin(self.requests["status"][measured], awaited).sum())
        if left == 0:
            return False
        self._left = left
        self._listen()
        return True

    def _end_s(self, window_end_s: float, stop_s: float) -> float:
        """When the run ended: at its stop, or when the last request it waited for left."""
        if self._last_departure_s is not None:
            return self._last_departure_s
        if stop_s < math.inf:
            return stop_s
        end_s = float(np.fmax.reduce(self.requests["finish_s"][self._arrived()], initial=0.0))
        if self._desk is not None:
            end_s = max(end_s, float(np.fmax.reduce(self._desk.done_s, initial=0.0)))
        return max(end_s, window_end_s) if window_end_s < math.inf else end_s

    def _arrived(self) -> np.ndarray:
        """The rows of the requests that have arrived, in order of arrival."""
        rows = np.flatnonzero(self.requests["status"] != NEW)
        order = np.argsort(self.requests["arrival_s"][rows], kind="stable")
        return np.asarray(rows[order], dtype=np.int64)

    def _departed(self) -> int:
        return len(self._refused) + sum(int(r.arrays.state[0]["departed"]) for r in self.replicas)


def _counts_up(rows: np.ndarray) -> bool:
    return bool((rows == np.arange(len(rows))).all())
