"""Answers as fast as they are read: seats go where they save the most reading from a stall."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from simulator.schedulers.base import SCHEDULERS, Action, Scheduler

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from simulator.engine.config import EngineConfig
    from simulator.engine.views import RequestView
    from simulator.facts import RequestFacts


@SCHEDULERS.register("qoe")
@dataclass(eq=False)
class Qoe(Scheduler):
    """Quality of experience: a knapsack of KV, filled with the requests that gain most by running.

    A reader expects the first token `ttft_s` after the arrival, then `reader_tokens_per_s`,
    thinking included. When E tokens are expected and g are there, quality is min(g, E) / E. What a
    request gains by running is the difference that this makes `horizon_s` from now; with it divided
    by the KV tokens that the request needs, the best are taken while KV and seats last. A running
    request is looked at `hold` times as far ahead, so that it leaves with some tokens in hand; and
    there are at most `preemptions_per_request` displacements for each request that came. The
    scheduler chooses when requests come and go, and every `horizon_s` / 4.
    """

    source: ClassVar[str] = (
        "Andes: Liu et al., Defining and enhancing quality-of-experience in LLM-based text"
        " streaming services, arXiv:2404.16283 (greedy packing, preemption cap)"
    )
    when_displaced: ClassVar[int] = Action.PARK

    ttft_s: Annotated[float, Field(ge=0.0)] = 1.0
    """When the first token is expected (seconds from the arrival)."""

    reader_tokens_per_s: Annotated[float, Field(gt=0.0)] = 10.0
    """How fast tokens are read (tokens a second)."""

    decode_tokens_per_s: Annotated[float, Field(gt=0.0)] = 40.0
    """How fast a running request gives them, as far as the scheduler knows (tokens a second)."""

    horizon_s: Annotated[float, Field(gt=0.0)] = 4.0
    """How far it looks ahead (seconds)."""

    hold: Annotated[float, Field(ge=1.0)] = 2.0
    """How much further for running requests."""

    preemptions_per_request: Annotated[float, Field(ge=0.0)] = 1.0
    """Cap on displacements, per request that has come."""

    kv_share: Annotated[float, Field(gt=0.0, le=1.0)] = 0.9
    """Share of the KV cache to fill; the rest is what running requests grow into."""

    def start(self, facts: RequestFacts, config: EngineConfig) -> None:
        """Nobody has come."""
        self._room = self.kv_share * config.usable_blocks * config.block_size
        self._seats = config.seat_limit
        self._allowance = 0.0
        self._first_s = np.inf

    def on_arrival(self, view: RequestView, now_s: float) -> None:
        """More displacements are allowed; time counts from the first arrival."""
        self._first_s = min(self._first_s, now_s)
        self._allowance += len(view) * self.preemptions_per_request

    def review_at(self, view: RequestView, now_s: float) -> ArrayLike:
        """The next tick since the first arrival, the same for all."""
        tick_s = self.horizon_s / 4.0
        ticks = np.floor((now_s - self._first_s) / tick_s + 1e-6) + 1.0
        return np.full(len(view), self._first_s + ticks * tick_s)

    def select(self, waiting: RequestView, running: RequestView, now_s: float) -> ArrayLike:
        """The knapsack, the best first."""
        count = len(running)
        ids = np.concatenate((running.ids, waiting.ids))
        need = np.concatenate(
            [view.prompt_tokens + view.generated_tokens for view in (running, waiting)]
        )
        gain = np.concatenate(
            (
                self._gain(running, now_s, self.hold * self.horizon_s),
                self._gain(waiting, now_s, self.horizon_s),
            )
        )
        worth = gain / need
        leaving = np.setdiff1d(np.arange(count), self._pack(worth, need))
        leaving = leaving[np.argsort(worth[leaving], kind="stable")][: int(self._allowance)]
        held = np.arange(len(ids)) < count
        held[leaving] = False
        chosen = self._pack(np.where(held, np.inf, worth), need)
        self._allowance -= count - np.count_nonzero(chosen < count)
        taken: np.ndarray = ids[chosen]
        return taken

    def _gain(self, view: RequestView, now_s: float, ahead_s: float) -> np.ndarray:
        """Quality in `ahead_s` seconds if it runs, less quality if it does not (float64[k])."""
        late_s = now_s + ahead_s - view.arrival_s - self.ttft_s
        expected = np.maximum(self.reader_tokens_per_s * late_s, 1e-9)
        there = view.generated_tokens
        then = np.minimum(there + self.decode_tokens_per_s * ahead_s, expected)
        return np.asarray((then - np.minimum(there, expected)) / np.maximum(expected, 1.0))

    def _pack(self, worth: np.ndarray, need: np.ndarray) -> np.ndarray:
        """Places of those that are taken, the best first; of infinite worth, all."""
        order = np.argsort(-worth, kind="stable")
        fits = (np.cumsum(need[order]) <= self._room) & (np.arange(len(order)) < self._seats)
        taken: np.ndarray = order[fits | np.isinf(worth[order])]
        return taken
