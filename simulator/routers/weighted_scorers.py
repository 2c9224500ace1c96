"""A weighted sum of scores for short queues, free KV cache and cached prefixes (llm-d)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simulator.facts import RequestFacts
from simulator.routers.base import ROUTERS, Fleet, Router, Snapshot
from simulator.routers.sent_prefixes import SentPrefixes

Weight = Annotated[float, Field(ge=0.0)]


@ROUTERS.register("weighted_scorers")
@dataclass(eq=False, kw_only=True)
class WeightedScorers(Router):
    """The highest weighted sum of scores in [0, 1]; of equals, one drawn at random.

    Queue and running: 1 for the fewest requests of all replicas, 0 for the most, linear between.
    KV: the free share of the cache. Prefix: the share of the prompt, in blocks, that was sent there
    and of which no more came since than the KV cache holds.
    """

    snapshot_delay_s: Annotated[float, Field(ge=0.0)] = 0.05
    """Seconds for which the router goes on with what it knows of replicas: metrics are scraped so
    often, and it does not count what it sent since."""
    queue_weight: Weight = 2.0
    """Weight of the score for waiting requests."""
    kv_weight: Weight = 2.0
    """Weight of the score for KV cache in use."""
    prefix_weight: Weight = 3.0
    """Weight of the score for cached prefixes."""
    running_weight: Weight = 0.0
    """Weight of the score for running requests."""

    source: ClassVar[str] = (
        "llm-d inference scheduler (EPP); Kubernetes gateway-api-inference-extension,"
        " pkg/epp/config/loader/defaults.go"
    )

    def start(self, fleet: Fleet, facts: RequestFacts, seed: int) -> None:
        """Nothing has been sent anywhere."""
        super().start(fleet, facts, seed)
        self._sent = SentPrefixes(facts, fleet.kv_capacity_tokens)
        self._drawn = self.draws("weighted_scorers")[:, 0]

    def choose(self, request: int, replicas: Snapshot) -> int:
        """The replica with the highest sum."""
        score = self.kv_weight * (1.0 - replicas.kv_used_frac)
        if self.queue_weight > 0.0:
            score += self.queue_weight * fewest_first(replicas.num_waiting)
        if self.running_weight > 0.0:
            score += self.running_weight * fewest_first(replicas.num_running)
        if self.prefix_weight > 0.0:
            blocks = self._sent.matched(request)[replicas.index] // replicas.block_size
            of_all = -(-self.facts.prompt_tokens[request] // replicas.block_size)
            score += self.prefix_weight * (blocks / of_all)
        best = np.flatnonzero(score == score.max())
        chosen = int(best[int(self._drawn[request] * len(best))])
        if self.prefix_weight > 0.0:
            self._sent.add(request, int(replicas.index[chosen]))
        return chosen


def fewest_first(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """1 for the lowest of `counts`, 0 for the highest, linear between; all 1 if they are equal."""
    most, fewest = counts.max(), counts.min()
    if most == fewest:
        return np.ones(len(counts))
    return np.asarray((most - counts) / (most - fewest), dtype=np.float64)
