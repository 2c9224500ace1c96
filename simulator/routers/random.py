"""Any replica, at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from simulator.facts import RequestFacts
from simulator.routers.base import ROUTERS, Fleet, Router, Snapshot


@ROUTERS.register("random")
@dataclass(eq=False, kw_only=True)
class Random(Router):
    """Each replica is equally likely, whatever it is doing."""

    source: ClassVar[str] = "SGLang model gateway, policies/random.rs"
    needs_snapshot: ClassVar[bool] = False

    def start(self, fleet: Fleet, facts: RequestFacts, seed: int) -> None:
        """Draw for every request."""
        super().start(fleet, facts, seed)
        self._drawn = self.draws("random")[:, 0]

    def choose(self, request: int, replicas: Snapshot) -> int:
        """The replica that was drawn."""
        return int(self._drawn[request] * len(replicas))
