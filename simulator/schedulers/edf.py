"""Earliest deadline first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from simulator.schedulers.base import SCHEDULERS, Scheduler

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from simulator.engine.views import RequestView


@SCHEDULERS.register("edf")
@dataclass(eq=False)
class Edf(Scheduler):
    """The request whose last token is due first goes first; the one due last is preempted first.

    A request whose deadline has passed keeps its place. Requests without a deadline are served
    last, in order of arrival. Nobody who runs makes way for a nearer deadline.
    """

    source: ClassVar[str] = (
        "Liu and Layland, Scheduling algorithms for multiprogramming in a hard-real-time"
        " environment, J. ACM 20 (1973)"
    )
    foresees: ClassVar[bool] = True
    needs_deadline: ClassVar[bool] = True

    def rank(self, view: RequestView, now_s: float) -> ArrayLike:
        """The deadline (seconds); infinite where nobody set one."""
        return view.deadline_s
