"""Puts a scheduler's answers into the kernels: who is asked what, and in which order."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from simulator.engine import answers
from simulator.engine.alarms import Alarms
from simulator.engine.asking import (
    due_reviews,
    head_of_queue,
    head_would_fit,
    put_off,
    rebuild_ranks,
    set_ranks,
    set_reviews,
    take_progress,
    waiting_ids,
    yield_seats,
)
from simulator.engine.foresight import Foresight, per_request
from simulator.engine.request import NONE, WAITING
from simulator.engine.spans import ABSOLUTE_TOLERANCE_S, RELATIVE_TOLERANCE
from simulator.engine.state import (
    ASK_EVENTS,
    ASK_VICTIM,
    ON_ADMISSION,
    ON_DISPLACE,
    ON_EVICTION,
    ON_FINISH,
    ON_REVIEW,
    ON_SELECT,
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
from simulator.policy import blame, blaming
from simulator.schedulers.base import Action, Scheduler

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from simulator.engine.config import EngineConfig

_NOBODY = np.empty(0, dtype=np.int64)


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
        self._lists = arrays.lists
        self._state = arrays.state
        # Columns of the state: `item(0)` reads a plain number, several times faster than a record.
        self._now_s, self._next_review_s = arrays.state["now_s"], arrays.state["next_review_s"]
        self._num_running = arrays.state["num_running"]
        self._num_waiting = arrays.state["num_waiting"]
        self._num_evicted = arrays.state["num_evicted"]
        self._num_finished = arrays.state["num_finished"]
        self._denied, self._told = arrays.state["denied"], arrays.state["victim"]
        self._scratch = np.empty(len(arrays.lists[0]), dtype=np.int64)
        kind = type(scheduler)
        decided = frozenset(
            name
            for name, method in vars(Scheduler).items()
            if callable(method) and getattr(kind, name) is not method
        )
        self._decided = decided
        self._selects = "select" in decided
        self._hears_progress = "on_progress" in decided
        self._reviews_time = "review_at" in decided
        self._reviews_tokens = "review_tokens" in decided
        ranks = not (kind.keeps_arrival_order or self._selects)
        tells_victims = "victim" in decided or (
            ranks and kind.rank_changes in ("running", "always")
        )
        self._ranks_all = kind.rank_changes == "always"
        self._reranks = ranks and kind.rank_changes in ("requeued", "running")
        self._ranks_apart = ranks and not self._ranks_all
        hears = self._hears_progress
        self._static = config.batching == "static"  # a batch stays together: nobody makes way
        asks = {
            ON_FINISH: "on_finish" in decided or (hears and not self._ranks_all),
            ON_REVIEW: bool(decided & {"review_tokens", "review_at"} or kind.reviews_on),
            ON_DISPLACE: "displace" in decided and not (self._selects or self._static),
            ON_SELECT: self._selects,
            ON_ADMISSION: ranks and self._ranks_all,
            ON_EVICTION: self._reranks or self._reviews_time,
        }
        s = arrays.state[0]
        s["asks"] = sum(bit for bit, wanted in asks.items() if wanted)
        s["ranked"] = not kind.keeps_arrival_order
        s["reviews_phase"] = "phase_change" in kind.reviews_on
        s["victim_rule"] = (
            VICTIM_TOLD
            if tells_victims
            else VICTIM_LAST
            if kind.keeps_arrival_order
            else VICTIM_WORST
        )
        self._asks = int(s["asks"])
        # Asked of nothing else, it is asked only while the first of the queue does not fit.
        self._told_if_blocked = not self._asks & (ON_FINISH | ON_ADMISSION | ON_SELECT)
        self._prompt_tokens, self._max_tokens = requests["prompt_tokens"], requests["max_tokens"]
        self._longest = config.max_model_len
        self._status, self._arrival_s = requests["status"], requests["arrival_s"]
        self._ranks, self._queued_since_s = requests["rank"], requests["queued_since_s"]
        self._review_tokens = requests["review_tokens"]
        self._reserve_tokens = requests["reserve_tokens"]
        self._open = _NOBODY  # requests whose progress is followed
        self._joined: list[int] = []  # ... those that have come since
        self._followed_s = -math.inf  # when it was last told
        self._alarms = Alarms(requests)
        self._handled = 0  # requests that lost their seats at this boundary and were seen to
        self.has_a_say = not kind.keeps_arrival_order or bool(decided - {"start"})
        with blaming("scheduler", scheduler):
            scheduler.start(facts, config)
        asked = decided & {"review_tokens", "review_at", "reserve_tokens"}
        if self._ranks_apart:
            asked |= {"rank"}
        self._foresight = Foresight(scheduler, requests, self._view, asked)

    def arrive(self, i: int) -> None:
        """Request i is about to join the queue: hear what the scheduler says of it.

        Raises `IntegrityError` as `answer` does.
        """
        try:
            self._arrive(i)
        except (Exception, SystemExit) as error:
            raise blame("scheduler", self.scheduler, error) from error

    def _arrive(self, i: int) -> None:
        now_s: float = self._arrival_s.item(i)
        prompt = self._prompt_tokens.item(i)
        if prompt >= self._longest or prompt + self._max_tokens.item(i) > self._longest:
            return  # it will be refused
        if "on_arrival" in self._decided:
            self._queued_since_s[i] = now_s
            self.scheduler.on_arrival(self._view(np.array([i], dtype=np.int64)), now_s)
        rank, self._review_tokens[i], review_s, self._reserve_tokens[i] = self._foresight.of(
            i, now_s
        )
        if rank != rank:
            self._no_number()
        self._ranks[i] = rank
        if self._reviews_time:
            self._alarms.set(i, review_s, runs=False)
            self._next_review_s[0] = self._alarms.next_s()
        if self._hears_progress:
            self._joined.append(i)

    def answer(self, question: int) -> None:
        """Find out what the kernel must be told, and tell it.

        Raises `IntegrityError` with the scheduler's name for whatever goes wrong in it.
        """
        try:
            self._answer(question)
        except (Exception, SystemExit) as error:
            raise blame("scheduler", self.scheduler, error) from error

    def _answer(self, question: int) -> None:
        now_s: float = self._now_s.item(0)
        if question == ASK_EVENTS:
            self._events(now_s)
            if self._asks & ON_EVICTION:
                self._handled = self._num_evicted.item(0)
        elif question == ASK_VICTIM:
            if self._hears_progress and self._followed_s != now_s:
                self._follow(now_s)
            self._told[0] = self._victim(self._running(), now_s)
        else:
            evicted = self._row(ROW_EVICTED, self._num_evicted)[self._handled :]
            self._handled = 0
            self._requeued(evicted[self._status[evicted] == WAITING], now_s)

    def _events(self, now_s: float) -> None:
        if self._hears_progress:
            self._follow(now_s)
        if "on_finish" in self._decided:
            finished = self._row(ROW_FINISHED, self._num_finished)
            if len(finished):
                self.scheduler.on_finish(self._view(finished), now_s)
        asks = self._asks
        if self._num_waiting.item(0) == 0:
            return
        blocked = self._told_if_blocked
        if asks & (ON_REVIEW | ON_DISPLACE) and not blocked:
            blocked = not self._head_would_fit(_NOBODY)
        if asks & ON_ADMISSION:
            waiting = self._waiting()
            ranks = self._rank(self._view(waiting), now_s)
            rebuild_ranks(self._table, self._state, waiting, ranks)
        if asks & ON_REVIEW and (blocked or self._selects):
            blocked = not self._review(now_s)
        if self._selects:
            self._select(now_s)
        elif asks & ON_DISPLACE and (blocked or not self._head_would_fit(_NOBODY)):
            self._displace(now_s)

    def _review(self, now_s: float) -> bool:
        """Ask about all requests whose review is due; those that must make way do.

        Whether the queue may have another head now, or one that fits.
        """
        reranked = False
        due = self._scratch[: due_reviews(self._table, self._state, self._scratch)].copy()
        if self._next_review_s.item(0) <= _reach_s(now_s):
            waiting, running = self._alarms.ring(_reach_s(now_s))
            if len(waiting):
                view = self._view(waiting)
                reranked = True
                if self._ranks_apart:
                    set_ranks(self._table, self._state, waiting, self._rank(view, now_s))
                self._renew_reviews(view, now_s)
                self._denied[0] = NONE  # it may want a seat now for which it did not ask before
            if len(running):
                due = np.union1d(due, running)
            self._next_review_s[0] = self._alarms.next_s()
        if not len(due):
            return reranked
        view = self._view(due)
        actions = answers.actions(self.scheduler.on_review(view, now_s), len(due))
        leaving = actions != Action.KEEP
        count = np.count_nonzero(leaving)
        if count == len(due):
            reranked |= self._yield_seats(view, actions, now_s)
        elif count:
            reranked |= self._yield_seats(view.take(leaving), actions[leaving], now_s)
        self._renew_reviews(self._view(due) if reranked else view, now_s)
        return reranked

    def _yield_seats(self, view: RequestView, actions: np.ndarray, now_s: float) -> bool:
        """Of requests that would give up their seats, the last in rank do, to who ranks before.

        Whether any does.
        """
        self._queued_since_s[view.ids] = now_s
        ranks = self._rank(view, now_s)
        return bool(yield_seats(self._table, self._state, view.ids.copy(), ranks, actions))

    def _displace(self, now_s: float) -> None:
        """Ask who makes way for the first of the queue, until it fits; if it can't, nobody does."""
        gone = _NOBODY
        head = head_of_queue(self._state)
        if head == self._denied.item(0):
            return
        candidate = self._view(np.array([head], dtype=np.int64))
        staying = self._running()
        while not len(gone) or not self._head_would_fit(gone):
            place = self.scheduler.displace(candidate, staying, now_s) if len(staying) else None
            if place is None:
                self._denied[0] = head
                return
            place = answers.place(place, len(staying), "displace")
            gone = np.append(gone, staying.ids[place])
            staying = staying.take(np.arange(len(staying)) != place)
        for i in gone.tolist():
            self._put_off(i)
        self._requeued(gone, now_s)

    def _select(self, now_s: float) -> None:
        """Let the scheduler choose from all requests who should run."""
        waiting, running = self._view(self._waiting()), self._running()
        chosen = answers.ids(
            self.scheduler.select(waiting, running, now_s),
            np.concatenate((waiting.ids, running.ids)),
        )
        rebuild_ranks(self._table, self._state, waiting._ids, _places(waiting.ids, chosen))
        if self._static:
            return
        leaving = running.ids[_places(running.ids, chosen) == math.inf]
        self._ranks[leaving] = math.inf
        for i in leaving.tolist():
            self._put_off(i)
        if len(leaving):
            self._requeued(leaving, now_s)

    def _victim(self, running: RequestView, now_s: float) -> int:
        if "victim" in self._decided:
            return answers.place(self.scheduler.victim(running, now_s), len(running), "victim")
        ranks = self._rank(running, now_s)
        return int(np.lexsort((-np.arange(len(ranks)), running.arrival_s, ranks))[-1])

    def _head_would_fit(self, gone: np.ndarray) -> bool:
        return bool(head_would_fit(self._table, self._state, gone))

    def _put_off(self, i: int) -> None:
        put_off(self._table, self._state, i, type(self.scheduler).when_displaced)

    def _requeued(self, ids: np.ndarray, now_s: float) -> None:
        """Requests have lost their seats: rank them, and find out when to ask again."""
        view = self._view(ids)
        if self._reranks:
            set_ranks(self._table, self._state, ids, self._rank(view, now_s))
        if self._reviews_time:
            self._renew_reviews(view, now_s)

    def _rank(self, view: RequestView, now_s: float) -> np.ndarray:
        ranks = per_request(self.scheduler.rank(view, now_s), len(view))
        if np.count_nonzero(ranks != ranks):
            self._no_number()
        return ranks

    def _no_number(self) -> None:
        raise IntegrityError("a rank is not a number (predictions are none without a predictor)")

    def _follow(self, now_s: float) -> None:
        """Tell the scheduler what all requests have given that run, or have left since."""
        self._followed_s = now_s
        ids = self._open
        if self._joined:
            ids = np.concatenate((ids, np.array(self._joined, dtype=np.int64)))
            self._joined = []
        served, tokens = np.empty((2, len(ids)), dtype=np.int64)
        count, here = take_progress(self._table, self._state, ids, served, tokens)
        self._open = ids[:here]
        if count:
            self.scheduler.on_progress(self._view(served[:count]), tokens[:count])

    def _renew_reviews(self, view: RequestView, now_s: float) -> None:
        """When the scheduler wants to be asked about these requests again."""
        more: ArrayLike = math.inf
        at_s: ArrayLike = math.inf
        if self._reviews_tokens:
            more = self.scheduler.review_tokens(view, now_s)
        if self._reviews_time:
            at_s = self.scheduler.review_at(view, now_s)
        times_s = per_request(at_s, len(view)).copy()
        tokens = per_request(more, len(view))
        timed = set_reviews(self._table, self._state, view._ids, tokens, times_s)
        if timed < 0:
            raise IntegrityError("review_tokens is not a number")
        if timed:
            self._alarms.set_all(view.ids, times_s)
            self._next_review_s[0] = self._alarms.next_s()

    def _row(self, row: int, count: np.ndarray) -> np.ndarray:
        return self._lists[row, : count.item(0)].copy()

    def _running(self) -> RequestView:
        return self._view(self._row(ROW_RUNNING, self._num_running))

    def _waiting(self) -> np.ndarray:
        ids = np.empty(self._num_waiting.item(0), dtype=np.int64)
        waiting_ids(self._table, self._state, ids)
        return ids

    def _view(self, ids: np.ndarray) -> RequestView:
        return RequestView(ids, self._facts, self._table, self._state)


def _reach_s(now_s: float) -> float:
    """Latest time that counts as now: `spans.reach_s`, which only kernels can call."""
    return now_s + RELATIVE_TOLERANCE * now_s + ABSOLUTE_TOLERANCE_S


def _places(ids: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Where each of `ids` stands in `chosen` (both int64), float64; infinite where it does not."""
    if not len(chosen):
        return np.full(len(ids), math.inf)
    order = np.argsort(chosen)
    found = np.minimum(np.searchsorted(chosen[order], ids), len(chosen) - 1)
    return np.where(chosen[order[found]] == ids, order[found].astype(np.float64), math.inf)
