"""What every strategy can do, and where it is filed."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import simpy
from pydantic import Field

from simulator.policy import Policy
from simulator.registry import Registry
from simulator.strategies.calls import Call
from simulator.strategies.draft import Draft
from simulator.strategies.query import Query

Answering = Generator[simpy.Event, Any, int]
"""A SimPy process that ends with an answer's id, or `NOBODY`."""


# In words of its own, because pydantic reads the line below a field in its own class only.
_POOL = "Pool of the attempts; None: wherever the router says."


@dataclass(eq=False, kw_only=True)
class Strategy(Policy):
    """How a query spends test-time compute: which requests it issues, and what it makes of them.

    First `plan` lists, for all queries at once, every request that any of them may issue. Then each
    query is a SimPy process of its own, `answer`, which sends these requests, waits for them,
    cancels them. What a request answers is known when it has finished, and no sooner.

    A strategy of one request needs no process: where `answer` is not overridden, the first call is
    sent when the query arrives, and its answer is the query's.

    `compares_answers`: it makes no sense where nobody knows what attempts answer.
    """

    pool: Annotated[str | None, Field(description=_POOL)] = None

    compares_answers: ClassVar[bool] = False

    def plan(self, draft: Draft) -> Any:
        """Plan the requests of the queries of `draft`; what it returns is handed to `answer`.

        Raises `InputError` for parameters that don't go with the queries or the pools.
        """
        raise NotImplementedError

    def answer(self, query: Query, plan: Any) -> Answering:
        """Find the answer of one query; ends with its id (`NOBODY` if there is none).

        Where it is not overridden, `plan` is the call that is sent.
        """
        request = query.send(plan)
        yield request
        return request.answer

    @classmethod
    def sends_one_request(cls) -> bool:
        """Whether a query is its first call and nothing else."""
        return cls.answer is Strategy.answer


STRATEGIES: Registry[type[Strategy]] = Registry("strategy")

__all__ = ["STRATEGIES", "Answering", "Call", "Draft", "Query", "Strategy"]
