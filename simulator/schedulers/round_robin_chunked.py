"""Chunked reasoning: thinking takes turns of so many tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from simulator.schedulers.base import SCHEDULERS, Action, Scheduler

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from simulator.engine.views import RequestView

_ACTIONS = {"keep": Action.PARK, "recompute": Action.RECOMPUTE, "offload": Action.OFFLOAD}


@SCHEDULERS.register("round_robin_chunked")
@dataclass(eq=False)
class RoundRobinChunked(Scheduler):
    """Whoever has thought for `quantum_tokens` gives up the seat, to who has waited longest.

    Only if anybody waits: otherwise thinking goes on, and the seat is given up to the next who
    comes. Answers are not interrupted. Preempted requests go to the end of the queue as well.
    """

    source: ClassVar[str] = (
        "round robin over decoding requests: FastServe, arXiv:2305.05920; of thinking:"
        " PASCAL, arXiv:2602.11530"
    )
    foresees: ClassVar[bool] = True
    rank_changes: ClassVar = "requeued"

    quantum_tokens: Annotated[int, Field(ge=1)] = 1024
    """Thinking tokens of a turn."""

    kv: Literal["keep", "recompute", "offload"] = "keep"
    """The KV cache of who waits for a turn: kept on the GPU until others need it, dropped and
    computed again, or moved to host memory as far as there is room."""

    @property
    def offloads(self) -> bool:
        """If it is told to."""
        return self.kv == "offload"

    def rank(self, view: RequestView, now_s: float) -> ArrayLike:
        """Since when it waits (seconds)."""
        return view.queued_since_s

    def review_tokens(self, view: RequestView, now_s: float) -> ArrayLike:
        """A turn from now, of those who think."""
        return np.where(view.thinking, self.quantum_tokens, np.inf)

    def on_review(self, view: RequestView, now_s: float) -> ArrayLike:
        """The turn is over, if it still thinks."""
        return np.where(view.thinking, _ACTIONS[self.kv], Action.KEEP)
