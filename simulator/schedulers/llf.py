"""Least laxity first: the least time to spare, given what is predicted to be left."""

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


@SCHEDULERS.register("llf")
@dataclass(eq=False)
class Llf(Scheduler):
    """The least slack first: deadline - now - predicted tokens left * seconds a token.

    All who wait lose slack at the same rate, so their order changes only with what is known of the
    seconds a token takes: what counts is what was known when a request joined the queue. A request
    that can't make its deadline any more keeps its place. Requests without a deadline have infinite
    slack: they are served last, in order of arrival, and preempted first. Nobody makes way.
    """

    source: ClassVar[str] = (
        "least laxity first, for LLM serving: MFS, arXiv:2603.17456; Kairos, arXiv:2605.02329"
    )
    rank_changes: ClassVar = "running"
    needs_prediction: ClassVar[bool] = True
    needs_deadline: ClassVar[bool] = True

    seconds_per_token: Annotated[float, Field(gt=0.0)] | None = None
    """What an output token takes (seconds); null: learnt from the requests that have finished."""

    remembered_requests: Annotated[float, Field(ge=1.0)] = 100.0
    """Of those learnt from: finished requests after which one weighs 1/e of the latest."""

    def start(self, facts: RequestFacts, config: EngineConfig) -> None:
        """Nobody has finished: until then tokens take no time."""
        self._tokens, self._taken_s = 0.0, 0.0

    def rank(self, view: RequestView, now_s: float) -> ArrayLike:
        """Slack + now (seconds): at any one time the order of slack."""
        pace_s = self.seconds_per_token
        if pace_s is None:
            pace_s = self._taken_s / max(self._tokens, 1.0)
        return view.deadline_s - pace_s * view.predicted_remaining_tokens

    def on_finish(self, view: RequestView, now_s: float) -> None:
        """Learn how long tokens take, the first one of a request aside."""
        keep = np.exp(-len(view) / self.remembered_requests)
        self._tokens = keep * self._tokens + float(np.sum(view.generated_tokens - 1))
        self._taken_s = keep * self._taken_s + float(np.sum(now_s - view.first_token_s))
