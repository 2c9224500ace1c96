"""Routers: which replica gets a request. One policy a file; `ROUTERS` finds them by `kind`."""

from simulator.routers.base import ROUTERS, Router
from simulator.routers.round_robin import RoundRobin

__all__ = ["ROUTERS", "RoundRobin", "Router"]
