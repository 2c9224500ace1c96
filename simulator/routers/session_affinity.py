"""All requests of a session to one replica, whose cache then has what came before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simulator.facts import RequestFacts
from simulator.routers.base import ROUTERS, Fleet, Router, Snapshot, least_loaded

_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


@ROUTERS.register("session_affinity")
@dataclass(eq=False, kw_only=True)
class SessionAffinity(Router):
    """Consistent hashing: the replica whose point on a ring follows the session's.

    Requests outside of sessions go where the fewest requests are. With a replica more or less, only
    the sessions of that one move; a request that its session's replica can't take goes to the next
    on the ring.
    """

    points: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Points on the ring of each replica: the more, the more even their shares."""

    source: ClassVar[str] = (
        "D. Karger et al., Consistent hashing and random trees, STOC 1997; SGLang model gateway,"
        " policies/consistent_hashing.rs"
    )

    def start(self, fleet: Fleet, facts: RequestFacts, seed: int) -> None:
        """Lay out the ring."""
        super().start(fleet, facts, seed)
        replica = np.repeat(np.arange(len(fleet)), self.points)
        point = hashed(replica, np.tile(np.arange(self.points), len(fleet)))
        around = np.argsort(point, kind="stable")
        self._owner = replica[around]
        place = np.searchsorted(point[around], hashed(facts.session_id, np.full(len(facts), -1)))
        self._place = place % len(around)

    def choose(self, request: int, replicas: Snapshot) -> int:
        """The replica that follows on the ring."""
        if self.facts.session_id[request] < 0:
            return least_loaded(replicas)
        place = int(self._place[request])
        if len(replicas) == len(self.fleet):
            return int(self._owner[place])
        while (there := np.flatnonzero(replicas.index == self._owner[place])).size == 0:
            place = (place + 1) % len(self._owner)
        return int(there[0])


def hashed(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A hash of pairs of integers, uint64[n] (SplitMix64: G. Steele et al., OOPSLA 2014)."""
    value = np.zeros(len(first), dtype=np.uint64)
    for part in (first, second):
        value += part.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        value = (value ^ (value >> np.uint64(30))) * _MIX[0]
        value = (value ^ (value >> np.uint64(27))) * _MIX[1]
        value ^= value >> np.uint64(31)
    return value
