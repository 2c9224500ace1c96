"""Shortest job first, by predicted length; who has waited for long goes before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from simulator.schedulers.base import EPOCH_S, SCHEDULERS, Scheduler, has_come

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from simulator.engine.views import RequestView


@SCHEDULERS.register("sjf")
@dataclass(eq=False)
class Sjf(Scheduler):
    """The fewest predicted output tokens first; nobody who runs makes way for a shorter one.

    Whoever has waited for `starvation_s` goes before all who have not, the longest wait first. When
    KV runs short the longest is preempted, of those who were promoted only after all others.
    """

    source: ClassVar[str] = (
        "Fu et al., Efficient LLM scheduling by learning to rank, arXiv:2408.15792 (starvation"
        " prevention); without it: Qiu et al., arXiv:2404.08509"
    )
    foresees: ClassVar[bool] = True
    needs_prediction: ClassVar[bool] = True

    starvation_s: Annotated[float, Field(gt=0.0)] = 60.0
    """Wait (seconds) after which a request goes before shorter ones."""

    def rank(self, view: RequestView, now_s: float) -> ArrayLike:
        """Predicted length, or, of those who have starved, since when they wait."""
        starved = has_come(self._starves_s(view), now_s)
        return np.where(starved, view.queued_since_s - EPOCH_S, view.predicted_tokens)

    def review_at(self, view: RequestView, now_s: float) -> ArrayLike:
        """When a waiting request starves."""
        starves_s = self._starves_s(view)
        return np.where(has_come(starves_s, now_s), np.inf, starves_s)

    def _starves_s(self, view: RequestView) -> np.ndarray:
        return np.where(view.running, np.inf, view.queued_since_s + self.starvation_s)
