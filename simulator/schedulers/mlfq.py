"""Queues of falling priority and rising quanta, joined where the prompt fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from simulator.schedulers.base import SCHEDULERS, Action, Scheduler, has_come
from simulator.schedulers.levels import left_at, level_of, level_that_holds

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
    when_displaced: ClassVar[Action] = Action.PARK

    quantum_tokens: Annotated[int, Field(ge=1)] = 256
    """Quantum of the highest level (output tokens)."""

    levels: Annotated[int, Field(ge=1, le=40)] = 8
    """How many levels there are."""

    prompt_weight: Annotated[float, Field(ge=0.0)] = 0.01
    """Output tokens that take about as long as one prompt token."""

    starvation_s: Annotated[float, Field(gt=0.0)] = 60.0
    """Wait (seconds) after which a request is back at the highest level."""

    def start(self, facts: RequestFacts, config: EngineConfig) -> None:
        """Nobody has starved."""
        self._restart = np.zeros(len(facts), dtype=np.int32)  # 1 + tokens given by then; 0: none

    def rank(self, view: RequestView, now_s: float) -> ArrayLike:
        """The level. Those who have starved by now are taken up first."""
        starved = ~view.running & has_come(view.queued_since_s + self.starvation_s, now_s)
        if starved.any():
            self._restart[view.ids[starved]] = 1 + view.generated_tokens[starved]
        return self._level(*self._service(view))

    def displace(self, candidate: RequestView, running: RequestView, now_s: float) -> int | None:
        """The last to have arrived of those at the lowest level."""
        level = np.asarray(self.rank(running, now_s))
        last = int(np.lexsort((running.arrival_s, level))[-1])
        return last if level[last] > np.asarray(self.rank(candidate, now_s))[0] else None

    def review_tokens(self, view: RequestView, now_s: float) -> ArrayLike:
        """What is left of the quantum."""
        service, quantum = self._service(view)
        level = level_of(service, quantum)
        last = self._level(service, quantum) == self.levels - 1
        return np.where(last, np.inf, left_at(level, service, quantum))

    def review_at(self, view: RequestView, now_s: float) -> ArrayLike:
        """When a waiting request starves."""
        return np.where(view.running, np.inf, view.queued_since_s + self.starvation_s)

    def on_review(self, view: RequestView, now_s: float) -> ArrayLike:
        """Its quantum is used up: it waits at the next level if anybody there comes before."""
        return Action.PARK

    def _service(self, view: RequestView) -> tuple[np.ndarray, np.ndarray]:
        """Tokens of service since it joined, and the quantum of the level that it joined."""
        prompt = np.asarray(self.prompt_weight * view.prompt_tokens, dtype=np.float64)
        restart = self._restart[view.ids]
        fresh = restart == 0
        joined = np.where(fresh, level_that_holds(prompt, self.quantum_tokens), 0.0)
        service = np.where(
            fresh, prompt + view.generated_tokens, view.generated_tokens + 1 - restart
        )
        return service, self.quantum_tokens * np.exp2(joined)

    def _level(self, service: np.ndarray, quantum: np.ndarray) -> np.ndarray:
        joined = np.log2(quantum / self.quantum_tokens)
        return np.minimum(joined + level_of(service, quantum), self.levels - 1)
