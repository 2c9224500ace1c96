"""Where the prompt's beginning has been before, unless loads drift apart (SGLang)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from simulator.facts import RequestFacts
from simulator.routers.base import ROUTERS, Fleet, Router, Snapshot, least_loaded
from simulator.routers.sent_prefixes import SentPrefixes


@ROUTERS.register("prefix_affinity")
@dataclass(eq=False, kw_only=True)
class PrefixAffinity(Router):
    """The replica that was sent the longest beginning of the prompt, by the router's own tree.

    Is that less than `cache_threshold` of the prompt, the one with the smallest tree; are loads
    unequal by both thresholds, the one with the fewest requests. Of equals, the first. The original
    matches characters and trims its tree once in a while, this one tokens, and always.
    """

    cache_threshold: Annotated[float, Field(ge=0.0, le=1.0)] = 0.3
    """Share of the prompt that must match for the replica to be chosen for it."""
    balance_abs_threshold: Annotated[int, Field(ge=0)] = 64
    """Loads are unequal only if the most and the fewest requests are further apart than this."""
    balance_rel_threshold: Annotated[float, Field(ge=1.0)] = 1.5
    """Loads are unequal only if the most requests are above this many times the fewest."""
    max_tree_tokens: Annotated[int, Field(ge=1)] = 2**24
    """Tokens of prompts that are remembered of each replica."""

    source: ClassVar[str] = (
        "SGLang model gateway, policies/cache_aware.rs; L. Zheng et al., SGLang, arXiv 2312.07104"
    )

    def start(self, fleet: Fleet, facts: RequestFacts, seed: int) -> None:
        """Nothing has been sent anywhere."""
        super().start(fleet, facts, seed)
        self._sent = SentPrefixes(facts, np.full(len(fleet), self.max_tree_tokens))

    def choose(self, request: int, replicas: Snapshot) -> int:
        """The replica with the most of the prompt, the smallest tree, or the fewest requests."""
        load = replicas.load
        most, fewest = int(load.max()), int(load.min())
        if (
            most - fewest > self.balance_abs_threshold
            and most > self.balance_rel_threshold * fewest
        ):
            chosen = least_loaded(replicas)
        else:
            matched = self._sent.matched(request)[replicas.index]
            chosen = int(matched.argmax())
            prompt = int(self.facts.prompt_tokens[request])
            if not matched[chosen] > self.cache_threshold * prompt:
                chosen = int(np.array(self._sent.sizes())[replicas.index].argmin())
        self._sent.add(request, int(replicas.index[chosen]))
        return chosen
