"""The least work there: prompt blocks to compute, and blocks being decoded (Dynamo)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simulator.facts import RequestFacts
from simulator.routers.base import ROUTERS, Fleet, Router, Snapshot
from simulator.routers.sent_prefixes import SentPrefixes


@ROUTERS.register("kv_cost")
@dataclass(eq=False, kw_only=True)
class KvCost(Router):
    """The lowest cost = prefill_weight * prefill blocks + decode blocks.

    Prefill blocks: of prompts that wait there, and of this one as far as it is not cached there.
    Decode blocks: in use there. What is cached is what was sent there last, as much as fits the KV
    cache: Dynamo's `--no-kv-events`, but for its expiry after 120 s. The blocks that the request
    will take itself are the same everywhere and left out.
    """

    prefill_weight: Annotated[float, Field(ge=0.0)] = 1.0
    """Cost of a prompt block to compute, in blocks being decoded; larger favours cached prefixes
    (Dynamo: overlap_score_weight)."""
    temperature: Annotated[float, Field(ge=0.0)] = 0.0
    """0: the lowest cost, of several the first. Above: at random by the softmax of minus the costs,
    scaled to [0, 1], over this (Dynamo: router_temperature)."""

    source: ClassVar[str] = "NVIDIA Dynamo, lib/kv-router/src/scheduling/selector.rs"

    def start(self, fleet: Fleet, facts: RequestFacts, seed: int) -> None:
        """Nothing has been sent anywhere."""
        super().start(fleet, facts, seed)
        self._sent = SentPrefixes(facts, fleet.kv_capacity_tokens)
        self._drawn = self.draws("kv_cost")[:, 0] if self.temperature > 0.0 else None

    def choose(self, request: int, replicas: Snapshot) -> int:
        """The replica with the lowest cost, or one drawn."""
        cached = self._sent.matched(request)[replicas.index]
        cached -= cached % replicas.block_size
        to_compute = replicas.waiting_tokens + replicas.sent_tokens - cached
        to_compute += self.facts.prompt_tokens[request]
        blocks = (self.prefill_weight * to_compute + replicas.kv_used_tokens) / replicas.block_size
        cost = np.asarray(blocks, dtype=np.float64)
        chosen = int(cost.argmin())
        if self._drawn is not None:
            chosen = softmax_choice(-cost, self.temperature, float(self._drawn[request]))
        self._sent.add(request, int(replicas.index[chosen]))
        return chosen


def softmax_choice(scores: NDArray[np.float64], temperature: float, uniform: float) -> int:
    """Draws i with probability proportional to exp(scores[i] / (range of scores) / temperature)."""
    spread = float(np.ptp(scores)) or 1.0
    weight = np.exp((scores - scores.max()) / (spread * temperature))
    cumulated = np.cumsum(weight)
    below = int(np.searchsorted(cumulated, uniform * cumulated[-1], side="right"))
    return min(below, len(scores) - 1)
