"""What every router can do, and where it is filed."""

from __future__ import annotations

from typing import Protocol

from simulator.registry import Registry


class Router(Protocol):
    """Chooses a replica for each request, at its arrival, blind to how long it will think."""

    def __init__(self, num_replicas: int) -> None:
        """A router over replicas 0 .. num_replicas - 1."""

    def choose(self, request: int) -> int:
        """Index of the replica that gets `request` (an index into the request table)."""


ROUTERS: Registry[type[Router]] = Registry("router")
