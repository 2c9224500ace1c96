"""A cache of answers in front: questions that mean the same are not thought about again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simulator.rng import uniforms
from simulator.strategies.base import STRATEGIES, Answering, Draft, Query, Strategy
from simulator.strategies.nested import nested, plan_nested

ANOTHER_QUESTIONS = 1 << 40  # the id of an answer to something else
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Lookup(NamedTuple):
    """What the cache finds for each query, bool[n] and ids int64[n]; and how a miss goes on."""

    hit: NDArray[np.bool_]
    cached: NDArray[np.int64]
    otherwise: Strategy
    plan: Any


@STRATEGIES.register("semantic_cache")
@dataclass(eq=False)
class SemanticCache(Strategy):
    """If a cached question is similar enough, its answer is given; else `otherwise` finds one.

    A share `equivalent` of the queries has a question in the cache that means the same. Similarity
    is normal around `similarity` for these and around `similarity_of_others` for the nearest other
    question; above `threshold` it is a hit. A hit on an equivalent gives what one attempt at it
    said (also where `otherwise` votes), a false hit the answer to another question, which is wrong.
    """

    source: ClassVar[str] = (
        "Bang, GPTCache: an open-source semantic cache for LLM applications, NLP-OSS 2023"
    )

    equivalent: Share | dict[str, Share] = 0.3
    """Share of queries that have an equivalent in the cache, or {class: share}."""

    threshold: float = 0.85
    """Similarity (cosine) above which the cached answer is given."""

    similarity: float = 0.92
    """Mean similarity of equivalent questions."""

    similarity_of_others: float = 0.7
    """Mean similarity of the nearest question that is not equivalent."""

    similarity_sigma: Annotated[float, Field(gt=0.0)] = 0.05
    """Standard deviation of both."""

    lookup_s: Annotated[float, Field(ge=0.0)] = 0.02
    """Seconds that looking takes."""

    otherwise: str | dict[str, Any] = "single"
    """The strategy of the others: a kind, or a mapping of its kind and parameters."""

    def plan(self, draft: Draft) -> Lookup:
        """Who hits, and the requests of `otherwise` for who does not."""
        from scipy.special import ndtri

        share = draft.queries.by_class(self.equivalent, "strategy.equivalent")
        drawn = uniforms(draft.seed, "semantic_cache", "", draft.numbers_end)
        drawn = drawn[draft.queries.number]
        equivalent = drawn[:, 0] < share
        mean = np.where(equivalent, self.similarity, self.similarity_of_others)
        hit = mean + self.similarity_sigma * ndtri(drawn[:, 1]) >= self.threshold
        inner = nested(self.otherwise, "strategy.otherwise")
        said = draft.answers(0)
        cached = draft.cached(said, draft.pools.index(draft.one_pool(inner.pool)))
        if said is not None:
            cached[~equivalent] = ANOTHER_QUESTIONS
        return Lookup(hit, cached, inner, plan_nested(inner, draft))

    def answer(self, query: Query, plan: Lookup) -> Answering:
        """Look, and think only if there is nothing."""
        yield query.pause(self.lookup_s)
        if plan.hit[query.place]:
            return int(plan.cached[query.place])
        answer = yield from plan.otherwise.answer(query, plan.plan)
        return answer
