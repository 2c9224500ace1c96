"""Easy queries to one pool, hard ones to another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from simulator.errors import InputError, Problem
from simulator.facts import RequestFacts
from simulator.routers.base import ROUTERS, Fleet, Router, Snapshot, least_loaded

Share = Annotated[float, Field(ge=0.0, le=1.0)]


@ROUTERS.register("difficulty")
@dataclass(eq=False, kw_only=True)
class Difficulty(Router):
    """A classifier of stated errors tells hard queries from easy ones; fewest requests inside.

    The router never sees how difficult a query is, only the classifier's label. Where no replica of
    the pool can take the request, any other may.
    """

    easy_pool: str = ""
    """Pool for queries that are called easy; empty: the first."""
    hard_pool: str = ""
    """Pool for queries that are called hard; empty: the last."""
    hard_above: Share = 0.5
    """Queries are truly hard whose difficulty is above this."""
    easy_called_hard: Share = 0.1
    """Share of the easy queries that the classifier mistakes."""
    hard_called_easy: Share = 0.1
    """Share of the hard queries that the classifier mistakes."""

    source: ClassVar[str] = (
        "C. Wang et al., When to reason: semantic router for vLLM, arXiv 2510.08731; I. Ong et al.,"
        " RouteLLM, arXiv 2406.18665"
    )

    def start(self, fleet: Fleet, facts: RequestFacts, seed: int) -> None:
        """Label every request."""
        super().start(fleet, facts, seed)
        names = (self.easy_pool or fleet.pool_names[0], self.hard_pool or fleet.pool_names[-1])
        easy, hard = fleet.pools(names, ("easy_pool", "hard_pool"))
        if facts.classifier is None:
            message = "difficulty: the workload does not say how difficult its queries are"
            raise InputError(Problem(message, field="router"))
        called_hard = facts.classifier.says_hard(
            seed,
            hard_above=self.hard_above,
            easy_called_hard=self.easy_called_hard,
            hard_called_easy=self.hard_called_easy,
        )
        self._pool = [hard if label else easy for label in called_hard.tolist()]

    def choose(self, request: int, replicas: Snapshot) -> int:
        """The least loaded replica of the pool that fits the label."""
        return least_loaded(replicas, replicas.pool == self._pool[request])
