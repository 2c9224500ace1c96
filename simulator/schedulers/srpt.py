"""Shortest remaining time first, by predicted length; the long make way only while young."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from simulator.schedulers.base import SCHEDULERS, Scheduler

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from simulator.engine.config import EngineConfig
    from simulator.engine.views import RequestView
    from simulator.facts import RequestFacts


@SCHEDULERS.register("srpt")
@dataclass(eq=False)
class Srpt(Scheduler):
    """The fewest predicted tokens left first; a long one that has just begun makes way for it.

    A waiting request takes the place of the running one with the most predicted tokens left, if it
    has fewer, and if that one has given less than `preemptible_frac` of the length that was
    predicted at its arrival: early it holds little KV, which is what preempting it wastes. The
    prediction may change with every token (predictor `refining`).
    """

    source: ClassVar[str] = (
        "TRAIL: Shahout et al., Don't stop me now: embedding based scheduling for LLMs,"
        " arXiv:2410.01035 (SRPT with limited preemption)"
    )
    foresees: ClassVar[bool] = True
    rank_changes: ClassVar = "running"
    needs_prediction: ClassVar[bool] = True

    preemptible_frac: Annotated[float, Field(ge=0.0, le=1.0)] = 0.8
    """Share of its first prediction below which a running request may be displaced; 0 for never."""

    def start(self, facts: RequestFacts, config: EngineConfig) -> None:
        """Who makes the predictions."""
        self._predictor = facts.predictor

    def rank(self, view: RequestView, now_s: float) -> ArrayLike:
        """Predicted tokens left."""
        return view.predicted_remaining_tokens

    def displace(self, candidate: RequestView, running: RequestView, now_s: float) -> int | None:
        """The one with the most tokens left of those that may still be displaced."""
        first = self._predictor.total_tokens(running.ids, np.zeros(len(running), dtype=np.int64))
        young = running.generated_tokens < self.preemptible_frac * first
        left = np.where(young, running.predicted_remaining_tokens, -np.inf)
        longest = int(np.argmax(left))
        return longest if left[longest] > candidate.predicted_remaining_tokens[0] else None
