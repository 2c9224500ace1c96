"""Least attained service, of the whole query or session that a request is part of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from simulator.schedulers.base import SCHEDULERS, Action, Scheduler, has_come

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from simulator.engine.config import EngineConfig
    from simulator.engine.views import RequestView
    from simulator.facts import RequestFacts


@SCHEDULERS.register("plas")
@dataclass(eq=False)
class Plas(Scheduler):
    """Program-level attained service: requests of programs that have had little service go first.

    A program is a session or a query. Its service is the output tokens that it was given here, and
    its prompt tokens times `prompt_weight`. So that programs do not take turns token by token, what
    counts is its level: level l ends at `quantum_tokens * (2**(l + 1) - 1)` tokens of service.
    Within a level the first to arrive goes first. A request is ranked when it joins the queue and
    when its program, while it runs, sinks a level; a waiting one takes the seat of a running one of
    a lower level, which keeps its KV until that is needed. Who has waited for `starvation_s` goes
    first, and keeps the seat for a quantum.
    """

    source: ClassVar[str] = (
        "Autellix: Luo et al., An efficient serving engine for LLM agents as general programs,"
        " arXiv:2502.13965 (PLAS)"
    )
    rank_changes: ClassVar = "running"
    when_displaced: ClassVar[int] = Action.PARK

    program: Literal["session", "query"] = "session"
    """Whose service counts; a query outside of sessions is a program of its own."""

    quantum_tokens: Annotated[int, Field(ge=1)] = 1024
    """Service of a program (tokens) at which it leaves the highest level."""

    levels: Annotated[int, Field(ge=1, le=40)] = 8
    """How many levels there are."""

    prompt_weight: Annotated[float, Field(ge=0.0)] = 0.01
    """Output tokens that take about as long as one prompt token."""

    starvation_s: Annotated[float, Field(gt=0.0)] = 60.0
    """Wait (seconds) after which a request goes first."""

    def start(self, facts: RequestFacts, config: EngineConfig) -> None:
        """No program has been served."""
        single = (
            facts.query_id
            if self.program == "query"
            else np.where(
                facts.session_id >= 0,
                facts.session_id,
                facts.session_id.max(initial=-1) + 1 + facts.query_id,
            )
        )
        self._program = np.unique(single, return_inverse=True)[1]
        self._service = np.zeros(self._program.max(initial=-1) + 1)
        ends = self.quantum_tokens * (2.0 ** np.arange(1, self.levels) - 1.0)
        self._ends = np.append(ends, np.inf)  # service at which a program leaves each level
        self._first_until = np.zeros(len(facts), dtype=np.int32)  # output tokens, of the starved

    def on_progress(self, view: RequestView, tokens: np.ndarray) -> None:
        """Count the service."""
        fresh = (view.generated_tokens == tokens) & (tokens > 0)
        service = tokens + np.where(fresh, self.prompt_weight * view.prompt_tokens, 0.0)
        np.add.at(self._service, self._program[view.ids], service)

    def rank(self, view: RequestView, now_s: float) -> ArrayLike:
        """The level. Those who have starved by now are taken up first."""
        starved = ~view.running & has_come(view.queued_since_s + self.starvation_s, now_s)
        if np.count_nonzero(starved):
            until = view.generated_tokens[starved] + self.quantum_tokens
            self._first_until[view.ids[starved]] = until
        return np.where(
            view.generated_tokens < self._first_until[view.ids], -1.0, self._level(view)
        )

    def displace(self, candidate: RequestView, running: RequestView, now_s: float) -> int | None:
        """The last to have arrived of those at the lowest level."""
        level = np.asarray(self.rank(running, now_s))
        lowest = level.max()
        if lowest <= np.asarray(self.rank(candidate, now_s))[0]:
            return None
        places = np.flatnonzero(level == lowest)
        return int(places[np.argmax(running.arrival_s[places])])

    def review_tokens(self, view: RequestView, now_s: float) -> ArrayLike:
        """Until the program sinks a level, if only this request runs; or the starved one's turn."""
        turn = self._first_until[view.ids] - view.generated_tokens
        left = self._ends[self._level(view)] - self._service[self._program[view.ids]]
        return np.where(turn > 0, turn, left)

    def review_at(self, view: RequestView, now_s: float) -> ArrayLike:
        """When a waiting request starves."""
        return np.where(view.running, np.inf, view.queued_since_s + self.starvation_s)

    def on_review(self, view: RequestView, now_s: float) -> ArrayLike:
        """It waits at the level of its program if anybody there comes before."""
        return Action.PARK

    def _level(self, view: RequestView) -> np.ndarray:
        service = self._service[self._program[view.ids]]
        return self._ends[:-1].searchsorted(service, side="right")
