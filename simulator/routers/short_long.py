"""Short requests and long ones apart, so that none waits behind a long one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from simulator.errors import InputError, Problem
from simulator.facts import RequestFacts
from simulator.routers.base import ROUTERS, Fleet, Router, Snapshot, least_loaded


@ROUTERS.register("short_long")
@dataclass(eq=False, kw_only=True)
class ShortLong(Router):
    """Requests predicted to be long go to some replicas, all others to the rest.

    Those for long requests are a pool, or the last replicas of all pools, as large a share as is
    said. Inside, the fewest requests. Where no replica of the part can take the request, any other
    may.
    """

    threshold_tokens: Annotated[float, Field(gt=0.0)] = 4096.0
    """Requests with at least so many output tokens are long."""
    short_pool: str = ""
    """Pool for short requests; empty: replicas are divided by long_share."""
    long_pool: str = ""
    """Pool for long requests; empty: replicas are divided by long_share."""
    long_share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    """Share of the replicas, rounded up, that is for long requests where no pools are named."""

    source: ClassVar[str] = (
        "size interval task assignment: M. Harchol-Balter, M. Crovella, C. Murta, J. Parallel"
        " Distrib. Comput. 59 (1999)"
    )
    needs_prediction: ClassVar[bool] = True

    def start(self, fleet: Fleet, facts: RequestFacts, seed: int) -> None:
        """Divide replicas and requests."""
        super().start(fleet, facts, seed)
        names = (self.short_pool, self.long_pool)
        if bool(self.short_pool) != bool(self.long_pool):
            missing = "long_pool" if self.short_pool else "short_pool"
            raise InputError(Problem("is required beside the other", field=f"router.{missing}"))
        if self.short_pool:
            short, long = fleet.pools(names, ("short_pool", "long_pool"))
            self._for_short, self._for_long = fleet.pool == short, fleet.pool == long
        else:
            count = min(math.ceil(self.long_share * len(fleet)), max(len(fleet) - 1, 1))
            self._for_long = np.arange(len(fleet)) >= len(fleet) - count
            self._for_short = ~self._for_long
        self._long = (self.predicted_tokens() >= self.threshold_tokens).tolist()

    def choose(self, request: int, replicas: Snapshot) -> int:
        """The least loaded replica of the part for its length."""
        part = self._for_long if self._long[request] else self._for_short
        return least_loaded(replicas, part[replicas.index])
