"""Each replica in turn: the plain load balancer's default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from simulator.facts import RequestFacts
from simulator.routers.base import ROUTERS, Fleet, Router, Snapshot


@ROUTERS.register("round_robin")
@dataclass(eq=False, kw_only=True)
class RoundRobin(Router):
    """Request number n to arrive goes to replica n modulo the number of replicas."""

    source: ClassVar[str] = "nginx, ngx_http_upstream_module: the default method"
    needs_snapshot: ClassVar[bool] = False

    def start(self, fleet: Fleet, facts: RequestFacts, seed: int) -> None:
        """The first replica is next."""
        super().start(fleet, facts, seed)
        self._turn = 0

    def choose(self, request: int, replicas: Snapshot) -> int:
        """The next replica in turn."""
        chosen = self._turn % len(replicas)
        self._turn += 1
        return chosen
