"""Each replica in turn: the plain load balancer's default."""

from __future__ import annotations

from simulator.routers.base import ROUTERS


@ROUTERS.register("round_robin")
class RoundRobin:
    """Request number n to arrive goes to replica n modulo the number of replicas."""

    def __init__(self, num_replicas: int) -> None:
        self.num_replicas = num_replicas
        self._next = 0

    def choose(self, request: int) -> int:
        """The next replica in turn."""
        chosen = self._next
        self._next = (chosen + 1) % self.num_replicas
        return chosen
