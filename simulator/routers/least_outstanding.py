"""The fewest requests: join the shortest queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from simulator.routers.base import ROUTERS, Router, Snapshot, least_loaded


@ROUTERS.register("least_outstanding")
@dataclass(eq=False, kw_only=True)
class LeastOutstanding(Router):
    """The replica with the fewest requests that are not answered; of several, the first."""

    source: ClassVar[str] = (
        "join the shortest queue: W. Winston, Optimality of the shortest line discipline,"
        " J. Appl. Prob. 14 (1977); nginx least_conn"
    )

    def choose(self, request: int, replicas: Snapshot) -> int:
        """The replica with the fewest requests."""
        return least_loaded(replicas)
