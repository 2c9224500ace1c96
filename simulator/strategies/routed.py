"""Easy queries to a standard model that answers at once, hard ones to a model that thinks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simulator.errors import InputError, Problem
from simulator.strategies.adaptive_budget import Labels
from simulator.strategies.base import STRATEGIES, Answering, Call, Draft, Query, Strategy
from simulator.strategies.budget import check_room
from simulator.strategies.nested import nested, plan_nested

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Ways(NamedTuple):
    """Which queries are called hard, bool[n]; the answer of the others; and how hard ones go on."""

    hard: NDArray[np.bool_]
    at_once: Call
    thinker: Strategy
    plan: Any


@STRATEGIES.register("routed")
@dataclass(eq=False)
class Routed(Strategy):
    """A classifier of stated errors calls queries easy or hard, when they arrive.

    An easy one gets the answer that the workload drew from `easy_pool`, without thinking; a hard
    one is served by the strategy `hard`, in `pool`. The router `difficulty` only chooses
    where a query thinks; this also decides whether it does.
    """

    source: ClassVar[str] = (
        "C. Wang et al., When to reason: semantic router for vLLM, arXiv:2510.08731; Ong et al.,"
        " RouteLLM, arXiv:2406.18665"
    )

    pool: Annotated[
        str | None, Field(description="Pool of the model that thinks; None: the last.")
    ] = None

    easy_pool: str | None = None
    """Pool of the model that answers at once; None: the first."""

    hard_above: Share = 0.5
    """Queries are truly hard whose difficulty is above this."""

    easy_called_hard: Share = 0.1
    """Share of easy queries that are thought about all the same."""

    hard_called_easy: Share = 0.1
    """Share of hard queries that are answered at once."""

    hard: str | dict[str, Any] = "single"
    """The strategy of queries that are called hard: a kind, or its kind and parameters."""

    def plan(self, draft: Draft) -> Ways:
        """The answer of who is called easy, and the requests of `hard` for the others."""
        if len(draft.pools) < 2:
            message = "needs two pools: one that answers at once, one that thinks"
            raise InputError(Problem(message, field="strategy.easy_pool"))
        easy_pool = draft.one_pool(self.easy_pool, "easy_pool")
        hard_pool = draft.one_pool(self.pool or draft.pools[-1])
        hard = Labels(self.hard_above, self.easy_called_hard, self.hard_called_easy).of(draft)
        draft.check_answers_at_once(~hard, easy_pool)
        _, answer = draft.lengths(0)
        check_room(draft, answer)
        at_once = draft.ask(
            draft.own,
            0,
            answer,
            pool=easy_pool,
            where=~hard,
            answers=draft.answers(0, np.zeros_like(answer)),
        )
        thinker = nested(self.hard, "strategy.hard")
        thinker.pool = thinker.pool or hard_pool
        first = len(draft.calls)
        plan = plan_nested(thinker, draft)
        for call in draft.calls[first:]:
            call.pool, call.where = call.pool or hard_pool, call.where & hard
        return Ways(hard, at_once, thinker, plan)

    def answer(self, query: Query, plan: Ways) -> Answering:
        """Answer at once, or think."""
        if plan.hard[query.place]:
            answer = yield from plan.thinker.answer(query, plan.plan)
            return answer
        request = query.send(plan.at_once)
        yield request
        return request.answer
