"""vLLM's own balancing of its data-parallel engines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from simulator.facts import RequestFacts
from simulator.routers.base import ROUTERS, Fleet, Router, Snapshot


@ROUTERS.register("vllm_dp")
@dataclass(eq=False, kw_only=True)
class VllmDp(Router):
    """The lowest score = waiting + running + 6 * waiting * max(0, KV use - 0.5).

    What the router sent since the statistics came counts as waiting. Of equals, the first in
    rotation: the search begins one replica further each time.
    """

    snapshot_delay_s: Annotated[float, Field(ge=0.0)] = 0.1
    """Seconds for which the router goes on with what it knows of replicas: vLLM's coordinator sends
    statistics so often."""

    source: ClassVar[str] = "vLLM 0.33, vllm/v1/engine/core_client.py, get_core_engine_for_request"

    def start(self, fleet: Fleet, facts: RequestFacts, seed: int) -> None:
        """The search begins at the first replica."""
        super().start(fleet, facts, seed)
        self._first = 0

    def choose(self, request: int, replicas: Snapshot) -> int:
        """The first replica with the lowest score, in rotation."""
        waiting = replicas.num_waiting + replicas.sent
        score = waiting + replicas.num_running
        score = score + 6.0 * waiting * np.maximum(0.0, replicas.kv_used_frac - 0.5)
        best = np.flatnonzero(score == score.min())
        first = self._first % len(replicas)
        self._first += 1
        return int(best[np.searchsorted(best, first) % len(best)])
