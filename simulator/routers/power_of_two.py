"""The better of a few replicas drawn at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from simulator.facts import RequestFacts
from simulator.routers.base import ROUTERS, Fleet, Router, Snapshot


@ROUTERS.register("power_of_two")
@dataclass(eq=False, kw_only=True)
class PowerOfTwo(Router):
    """Draws `choices` different replicas; the one with the fewest requests gets it.

    Two are nearly as good as all, and old news misleads them less: few requests meet the same two.
    Of equals, the first drawn.
    """

    choices: Annotated[int, Field(ge=1, le=64)] = 2
    """How many replicas are compared."""

    source: ClassVar[str] = (
        "M. Mitzenmacher, The power of two choices in randomized load balancing, IEEE TPDS 12"
        " (2001); SGLang model gateway, policies/power_of_two.rs"
    )

    def start(self, fleet: Fleet, facts: RequestFacts, seed: int) -> None:
        """Draw for every request."""
        super().start(fleet, facts, seed)
        self._drawn = self.draws("power_of_two", self.choices)

    def choose(self, request: int, replicas: Snapshot) -> int:
        """The least loaded of those drawn."""
        drawn = distinct(self._drawn[request].tolist(), len(replicas))
        load = replicas.outstanding[drawn] + replicas.sent[drawn]
        return drawn[int(np.argmin(load))]


def distinct(uniforms: list[float], among: int) -> list[int]:
    """As many different numbers below `among` as there are uniforms, or all, in random order."""
    chosen: list[int] = []
    for uniform in uniforms[:among]:
        number = int(uniform * (among - len(chosen)))
        for taken in sorted(chosen):  # number counts those that are left
            number += number >= taken
        chosen.append(number)
    return chosen
