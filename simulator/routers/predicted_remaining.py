"""The least predicted work left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from simulator.routers.base import ROUTERS, Router, Snapshot


@ROUTERS.register("predicted_remaining")
@dataclass(eq=False, kw_only=True)
class PredictedRemaining(Router):
    """The replica whose requests have the fewest output tokens left, as predicted at their arrival.

    A request that outlives its prediction counts one token, so that it neither weighs for what it
    may still generate nor makes up for others. Of equals, the first.
    """

    source: ClassVar[str] = (
        "least work left: M. Harchol-Balter, M. Crovella, C. Murta, J. Parallel Distrib. Comput. 59"
        " (1999); with predicted lengths: K. Jain et al., arXiv 2408.13510"
    )
    needs_prediction: ClassVar[bool] = True
    needs_predicted_left: ClassVar[bool] = True

    def choose(self, request: int, replicas: Snapshot) -> int:
        """The replica with the fewest predicted tokens left."""
        return int((replicas.predicted_left + replicas.sent_predicted).argmin())
