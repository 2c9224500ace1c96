"""vLLM's priority scheduling: an operator's number orders the queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from simulator.schedulers.base import SCHEDULERS, Scheduler

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from simulator.engine.views import RequestView


@SCHEDULERS.register("priority")
@dataclass(eq=False)
class Priority(Scheduler):
    """The request of the lowest priority number goes first; of the highest, is preempted first."""

    source: ClassVar[str] = "vLLM 0.33.0, vllm/v1/core/sched/request_queue.py"
    foresees: ClassVar[bool] = True
    needs_priority: ClassVar[bool] = True

    def rank(self, view: RequestView, now_s: float) -> ArrayLike:
        """The priority number; ties are served in order of arrival."""
        return view.priority
