"""Queues of falling priority and rising quanta, joined where the prompt fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from simulator.schedulers.base import SCHEDULERS, Action, Scheduler, has_come

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from simulator.engine.config import EngineConfig
    from simulator.engine.views import RequestView
    from simulator.facts import RequestFacts


@SCHEDULERS.register("mlfq")
@dataclass(eq=False)
class Mlfq(Scheduler):
    """Skip-join multi-level feedback queue: new requests first, long ones sink, KV is kept.

    Level l has a quantum of `quantum_tokens * 2**l`. A request joins the first level whose quantum
    its prompt fits in, a prompt token counting as `prompt_weight` output tokens, and sinks a level
    each time it has used up its quantum; at the last level it stays. Within a level the first to
    arrive is served first. A waiting request takes the seat of a running one of a lower level, that
    keeps its KV until it is needed. Who has waited for `starvation_s` starts again at the top.
    """

    source: ClassVar[str] = (
        "FastServe: Wu et al., Fast distributed inference serving for large language models,"
        " arXiv:2305.05920 (skip-join MLFQ)"
    )
    foresees: ClassVar[bool] = True
    rank_changes: ClassVar = "running"
    when_displaced: ClassVar[int] = Action.PARK

    quantum_tokens: Annotated[int, Field(ge=1)] = 1024
    """Quantum of the highest level (output tokens)."""

    levels: Annotated[int, Field(ge=1, le=40)] = 8
    """How many levels there are."""

    prompt_weight: Annotated[float, Field(ge=0.0)] = 0.01
    """Output tokens that take about as long as one prompt token."""

    starvation_s: Annotated[float, Field(gt=0.0)] = 60.0
    """Wait (seconds) after which a request is back at the highest level."""

    def start(self, facts: RequestFacts, config: EngineConfig) -> None:
        """All at the level that they join, at the start of its quantum."""
        self._quanta = np.append(self.quantum_tokens * 2.0 ** np.arange(self.levels), np.inf)
        self._ends = self._quanta[1 : self.levels]
        prompt = self.prompt_weight * facts.prompt_tokens
        joined = self._quanta[:-2].searchsorted(prompt)
        # With the output tokens this makes a request's mark: its level ends where the mark is the
        # quantum of the next level.
        self._base = (self._quanta[joined] + prompt).astype(np.float32)

    def rank(self, view: RequestView, now_s: float) -> ArrayLike:
        """The level. Those who have starved by now are taken up first."""
        starved = has_come(view.queued_since_s + self.starvation_s, now_s)
        if np.count_nonzero(starved):
            starved &= ~view.running
            self._base[view.ids[starved]] = self.quantum_tokens - view.generated_tokens[starved]
        return self._level(self._mark(view))

    def displace(self, candidate: RequestView, running: RequestView, now_s: float) -> int | None:
        """The last to have arrived of those at the lowest level."""
        level = self._level(self._mark(running))
        lowest = level[level.argmax()]
        if lowest <= self._level(self._mark(candidate))[0]:
            return None
        places = np.flatnonzero(level == lowest)
        return int(places[np.argmax(running.arrival_s[places])])

    def review_tokens(self, view: RequestView, now_s: float) -> ArrayLike:
        """What is left of the quantum."""
        mark = self._mark(view)
        return np.asarray(self._quanta[1 + self._level(mark)] - mark)

    def review_at(self, view: RequestView, now_s: float) -> ArrayLike:
        """When a waiting request starves."""
        starves_s = view.queued_since_s + self.starvation_s
        starves_s[view.running] = np.inf
        return starves_s

    def on_review(self, view: RequestView, now_s: float) -> ArrayLike:
        """Its quantum is used up: it waits at the next level if anybody there comes before."""
        return Action.PARK

    def _mark(self, view: RequestView) -> np.ndarray:
        """Service in tokens, plus the quantum of the level that was joined (float64[k])."""
        mark = view.generated_tokens.astype(np.float64)
        mark += self._base[view.ids]
        return mark

    def _level(self, mark: np.ndarray) -> np.ndarray:
        return self._ends.searchsorted(mark, side="right")
