"""One pool after the other: the next is for what the first can't take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from simulator.facts import RequestFacts
from simulator.routers.base import ROUTERS, Fleet, Router, Snapshot, least_loaded


@ROUTERS.register("spillover")
@dataclass(eq=False, kw_only=True)
class Spillover(Router):
    """The first pool whose load is below the threshold; if none is, the one with the lowest load.

    Inside, the fewest requests. With replicas that are reserved in the first pool and others that
    are not, this is how peaks are served.
    """

    order: tuple[str, ...] = ()
    """Names of pools, the first choice first; empty: in the order of the experiment. Pools that are
    not named get nothing."""
    threshold: Annotated[float, Field(gt=0.0)] = 1.0
    """Load of a pool at which requests go on to the next."""
    measure: Literal["seats", "kv"] = "seats"
    """What load is: seats = requests there, waiting ones included, per seat; kv = share of the KV
    cache that is in use."""

    source: ClassVar[str] = (
        "Envoy, priority levels; across regions: T. Xia et al., SkyWalker, arXiv 2505.24095"
    )

    def start(self, fleet: Fleet, facts: RequestFacts, seed: int) -> None:
        """Look the pools up."""
        super().start(fleet, facts, seed)
        names = self.order or fleet.pool_names
        self._order = fleet.pools(names, ["order"] * len(names))

    def choose(self, request: int, replicas: Snapshot) -> int:
        """The least loaded replica of the first pool with room."""
        pools = len(self.fleet.pool_names)
        if self.measure == "seats":
            used, room = replicas.load, replicas.seats
        else:
            used, room = replicas.kv_used_tokens, replicas.kv_capacity_tokens
        total = np.bincount(replicas.pool, weights=room, minlength=pools)
        taken = np.bincount(replicas.pool, weights=used, minlength=pools)
        load = np.divide(taken, total, out=np.full(pools, np.inf), where=total > 0.0)
        lowest = min(self._order, key=load.__getitem__)
        chosen = next((pool for pool in self._order if load[pool] < self.threshold), lowest)
        return least_loaded(replicas, replicas.pool == chosen)
