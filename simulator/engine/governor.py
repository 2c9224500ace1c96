"""Puts a scheduler's answers into the kernels: who is asked what, and in which order."""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING

import numpy as np

from simulator.engine.asking import (
    due_reviews,
    head_fits,
    head_of_queue,
    put_off,
    rebuild_ranks,
    set_ranks,
    set_reviews,
    waiting_ids,
)
from simulator.engine.request import CANCELLED, COMPLETED, NEVER, RUNNING, WAITING
from simulator.engine.spans import reach_s
from simulator.engine.state import (
    ASK_EVENTS,
    ASK_VICTIM,
    ON_ADMISSION,
    ON_DISPLACE,
    ON_EVICTION,
    ON_FINISH,
    ON_REVIEW,
    ROW_EVICTED,
    ROW_FINISHED,
    ROW_RUNNING,
    VICTIM_LAST,
    VICTIM_TOLD,
    VICTIM_WORST,
    ReplicaArrays,
)
from simulator.engine.views import RequestView
from simulator.errors import IntegrityError
from simulator.facts import RequestFacts
from simulator.schedulers.base import Action, Scheduler

if TYPE_CHECKING:
    from simulator.engine.config import EngineConfig


class Governor:
    """Asks `scheduler` on behalf of one replica, which keeps its state in `arrays`.

    `has_a_say`: whether there is anything to ask; plain fcfs is the kernels' own business.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        facts: RequestFacts,
        config: EngineConfig,
        requests: np.ndarray,
        arrays: ReplicaArrays,
    ) -> None:
        self.scheduler = scheduler
        self._facts = facts
        self._table = requests
        self._arrays = arrays
        self._state = arrays.state
        kind = type(scheduler)

        def decides(*methods: str) -> bool:
            return any(getattr(kind, name) is not getattr(Scheduler, name) for name in methods)

        self._selects = decides("select")
        self._hears_progress = decides("on_progress")
        self._hears_finish = decides("on_finish")
        self._hears_arrival = decides("on_arrival")
        self._reviews_tokens = decides("review_tokens")
        self._reviews_time = decides("review_at")
        self._reserves = decides("reserve_tokens")
        self._ranks = not (kind.keeps_arrival_order or self._selects)
        reviews = self._reviews_tokens or self._reviews_time or bool(kind.reviews_on)
        moving = kind.rank_changes != "never"
        asks = {
            ON_FINISH: self._hears_finish or self._hears_progress,
            ON_REVIEW: reviews,
            ON_DISPLACE: self._selects or decides("displace"),
            ON_ADMISSION: kind.rank_changes == "always",
            ON_EVICTION: self._ranks and (moving or self._hears_progress),
        }
        s = arrays.state[0]
        s["asks"] = sum(bit for bit, wanted in asks.items() if wanted)
        s["ranked"] = not kind.keeps_arrival_order
        s["reviews_phase"] = "phase_change" in kind.reviews_on
        s["victim_rule"] = (
            VICTIM_TOLD
            if decides("victim") or (self._ranks and moving)
            else VICTIM_LAST
            if kind.keeps_arrival_order
            else VICTIM_WORST
        )
        self._names_victims = decides("victim")
        self._reported = np.zeros(len(requests) if self._hears_progress else 0, dtype=np.int64)
        self._alarms: list[tuple[float, int]] = []  # (time, request) of reviews by time
        self.has_a_say = not kind.keeps_arrival_order or decides(
            *(name for name in vars(Scheduler) if callable(getattr(Scheduler, name)))
        )
        scheduler.start(facts, config)

    def arrive(self, i: int) -> None:
        """Request i is about to join the queue: hear what the scheduler says of it."""
        now_s = float(self._table["arrival_s"][i])
        ids = np.array([i], dtype=np.int64)
        view = self._view(ids)
        if self._hears_arrival:
            self.scheduler.on_arrival(view, now_s)
        if self._ranks:
            self._table["rank"][i] = self._rank(view, now_s)[0]
        elif self._selects:
            self._table["rank"][i] = math.inf
        if self._reviews_tokens or self._reviews_time:
            self._renew_reviews(view, now_s)
        if self._reserves:
            self._table["reserve_tokens"][i] = math.ceil(_one(self.scheduler.reserve_tokens(view)))

    def answer(self, question: int) -> None:
        """Find out what the kernel must be told, and tell it."""
        now_s = float(self._state[0]["now_s"])
        if question == ASK_EVENTS:
            self._events(now_s)
        elif question == ASK_VICTIM:
            self._state[0]["victim"] = self._victim(self._running(), now_s)
        else:
            evicted = self._row(ROW_EVICTED, "num_evicted")
            self._rerank(self._view(evicted), now_s)

    def _events(self, now_s: float) -> None:
        s = self._state[0]
        finished = self._row(ROW_FINISHED, "num_finished")
        if self._hears_progress:
            seen = np.concatenate((self._row(ROW_RUNNING, "num_running"), finished))
            self._report(self._view(seen))
        if self._hears_finish and len(finished):
            self.scheduler.on_finish(self._view(finished), now_s)
        asks = int(s["asks"])
        if s["num_waiting"] == 0:
            return
        if asks & ON_ADMISSION:
            waiting = self._view(self._waiting())
            ranks = self._rank(waiting, now_s)
            rebuild_ranks(self._table, self._state, waiting.ids, ranks)
        if asks & ON_REVIEW:
            self._review(now_s)
        if self._selects:
            self._select(now_s)
        elif asks & ON_DISPLACE:
            self._displace(now_s)

    def _review(self, now_s: float) -> None:
        """Ask about all requests whose review is due; those that must make way do."""
        due = np.empty(int(self._state[0]["num_running"]), dtype=np.int64)
        due = due[: due_reviews(self._table, self._state, self._arrays.lists, due)]
        by_time = self._ringing(now_s)
        status = self._table["status"][by_time]
        waiting = self._view(by_time[status == WAITING])
        if len(waiting):
            self._rerank(waiting, now_s)
            self._renew_reviews(waiting, now_s)
        running = by_time[status == RUNNING]
        if len(running):
            due = np.union1d(due, running)
        if not len(due):
            return
        view = self._view(due)
        actions = _each(self.scheduler.on_review(view, now_s), len(due)).astype(np.int64)
        self._renew_reviews(view, now_s)
        leaving = np.flatnonzero(actions != Action.KEEP)
        if len(leaving):
            self._yield_seats(view.take(leaving), actions[leaving], now_s)

    def _yield_seats(self, view: RequestView, actions: np.ndarray, now_s: float) -> None:
        """Of requests that would give up their seats, the last in rank do, to who ranks before."""
        self._table["queued_since_s"][view.ids] = now_s
        view = self._view(view.ids)
        ranks = self._rank(view, now_s)
        self._table["rank"][view.ids] = ranks
        s = self._state[0]
        order = np.lexsort((view.arrival_s, ranks))[::-1]
        rivals = self._waiting()
        columns = self._table[rivals]
        rivals = rivals[np.lexsort((rivals, columns["arrival_s"], columns["rank"]))]
        seats = int(s["seat_limit"] - s["num_running"])
        if seats and not self._head_fits():
            seats = 0  # it is KV that the first of the queue lacks
        for rival, place in zip(rivals[seats:], order, strict=False):
            mine = (ranks[place], view.arrival_s[place], view.ids[place])
            theirs = (self._table["rank"][rival], self._table["arrival_s"][rival], rival)
            if theirs > mine:
                break
            self._put_off(int(view.ids[place]), int(actions[place]))

    def _displace(self, now_s: float) -> None:
        """While the first of the queue does not fit, ask who makes way for it."""
        action = int(type(self.scheduler).when_displaced)
        for _ in range(int(self._state[0]["num_running"])):
            if self._head_fits():
                return
            candidate = self._view(np.array([head_of_queue(self._state)], dtype=np.int64))
            running = self._running()
            place = self.scheduler.displace(candidate, running, now_s)
            if place is None:
                return
            gone = running.take([place])
            self._put_off(int(gone.ids[0]), action)
            self._rerank(self._view(gone.ids), now_s)

    def _select(self, now_s: float) -> None:
        """Let the scheduler choose from all requests who should run."""
        waiting, running = self._view(self._waiting()), self._running()
        chosen = np.asarray(self.scheduler.select(waiting, running, now_s), dtype=np.int64)
        place = {int(i): k for k, i in enumerate(chosen)}
        ranks = np.array([place.get(int(i), math.inf) for i in waiting.ids])
        rebuild_ranks(self._table, self._state, waiting.ids, ranks)
        for i in running.ids.tolist():
            if i not in place:
                self._table["rank"][i] = math.inf
                self._put_off(i, int(type(self.scheduler).when_displaced))

    def _victim(self, running: RequestView, now_s: float) -> int:
        if self._names_victims:
            return int(self.scheduler.victim(running, now_s))
        ranks = self._rank(running, now_s)
        worst = np.flatnonzero(ranks == ranks.max())
        latest = running.arrival_s[worst]
        return int(worst[np.flatnonzero(latest == latest.max())[0]])

    def _head_fits(self) -> bool:
        arrays = self._arrays
        return bool(head_fits(self._table, arrays.state, arrays.phases, arrays.kv))

    def _put_off(self, i: int, action: int) -> None:
        arrays = self._arrays
        put_off(self._table, arrays.state, arrays.lists, arrays.phases, arrays.kv, i, action)

    def _rerank(self, view: RequestView, now_s: float) -> None:
        if self._hears_progress:
            self._report(view)
        if self._ranks:
            set_ranks(self._table, self._state, view.ids, self._rank(view, now_s))

    def _rank(self, view: RequestView, now_s: float) -> np.ndarray:
        ranks = _each(self.scheduler.rank(view, now_s), len(view))
        if np.isnan(ranks).any():
            raise IntegrityError(
                f"scheduler {type(self.scheduler).__name__}: a rank is not a number"
            )
        return ranks

    def _report(self, view: RequestView) -> None:
        """Tell the scheduler what requests have given since it last heard of them."""
        tokens = view.generated_tokens - self._reported[view.ids]
        if tokens.any():
            self._reported[view.ids] = view.generated_tokens
            self.scheduler.on_progress(view, tokens)

    def _renew_reviews(self, view: RequestView, now_s: float) -> None:
        """When the scheduler wants to be asked about these requests again."""
        count = len(view)
        more = _each(self.scheduler.review_tokens(view, now_s), count)
        at_s = _each(self.scheduler.review_at(view, now_s), count)
        whole = np.maximum(np.ceil(np.where(np.isfinite(more), more, 0.0)), 1.0).astype(np.int64)
        tokens = np.where(np.isfinite(more), view.generated_tokens + whole, NEVER)
        at_s = np.where(at_s > now_s, at_s, math.inf)
        set_reviews(self._table, self._state, view.ids, tokens, at_s)
        if self._reviews_time:
            for time_s, i in zip(at_s.tolist(), view.ids.tolist(), strict=True):
                if time_s < math.inf:
                    heapq.heappush(self._alarms, (time_s, i))
            self._set_alarm()

    def _ringing(self, now_s: float) -> np.ndarray:
        """Requests here whose review by time is due, each once, in order of their rows."""
        ringing: list[int] = []
        while self._alarms and self._alarms[0][0] <= reach_s(now_s):
            time_s, i = heapq.heappop(self._alarms)
            row = self._table[i]
            if row["review_s"] == time_s and row["status"] in (WAITING, RUNNING):
                row["review_s"] = math.inf
                ringing.append(i)
        self._set_alarm()
        return np.array(sorted(ringing), dtype=np.int64)

    def _set_alarm(self) -> None:
        while self._alarms:
            time_s, i = self._alarms[0]
            row = self._table[i]
            if row["review_s"] == time_s and row["status"] not in (COMPLETED, CANCELLED):
                break
            heapq.heappop(self._alarms)
        self._state[0]["next_review_s"] = self._alarms[0][0] if self._alarms else math.inf

    def _row(self, row: int, counter: str) -> np.ndarray:
        return self._arrays.lists[row, : self._state[0][counter]].copy()

    def _running(self) -> RequestView:
        return self._view(self._row(ROW_RUNNING, "num_running"))

    def _waiting(self) -> np.ndarray:
        ids = np.empty(int(self._state[0]["num_waiting"]), dtype=np.int64)
        waiting_ids(self._table, self._state, ids)
        return ids

    def _view(self, ids: np.ndarray) -> RequestView:
        return RequestView(ids, self._facts, self._table, self._state)


def _each(values: object, count: int) -> np.ndarray:
    """One float64 a request, whether the scheduler gave one for each or one for all."""
    array = np.asarray(values, dtype=np.float64)
    if array.shape == (count,):
        return array
    return np.broadcast_to(array, (count,)).copy()


def _one(value: object) -> float:
    return float(np.asarray(value, dtype=np.float64).reshape(-1)[0])
