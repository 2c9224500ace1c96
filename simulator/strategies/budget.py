"""A cap on thinking: where it is reached, the answer is forced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simulator.errors import InputError, Problem
from simulator.strategies.base import STRATEGIES, Call, Draft, Strategy
from workloads.batch import MAX_TOKENS

ByClass = dict[str, Annotated[int, Field(ge=0, le=MAX_TOKENS)]]


@STRATEGIES.register("budget")
@dataclass(eq=False)
class Budget(Strategy):
    """Thinking ends at `max_thinking_tokens`, and goes on ("Wait") up to `min_thinking_tokens`.

    In both cases the answer is as long as ever. Shorter thinking makes right answers rarer; so may
    longer thinking than the model wants.
    """

    source: ClassVar[str] = (
        "Muennighoff et al., s1: simple test-time scaling, arXiv:2501.19393 (budget forcing)"
    )

    max_thinking_tokens: Annotated[int, Field(ge=0, le=MAX_TOKENS)] | ByClass = 8192
    """Most thinking tokens of a query, or {class: tokens}."""

    min_thinking_tokens: Annotated[int, Field(ge=0, le=MAX_TOKENS)] | ByClass = 0
    """Fewest thinking tokens of a query, or {class: tokens}."""

    def plan(self, draft: Draft) -> Call:
        """The attempt that the workload drew, cut or stretched."""
        queries = draft.queries
        least = queries.by_class(self.min_thinking_tokens, "strategy.min_thinking_tokens")
        most = queries.by_class(self.max_thinking_tokens, "strategy.max_thinking_tokens")
        if (least > most).any():
            message = "is above max_thinking_tokens"
            raise InputError(Problem(message, field="strategy.min_thinking_tokens"))
        natural = draft.lengths(0)[0]
        return cut(draft, np.clip(natural, least, most).astype(np.int64), self.pool)


def cut(draft: Draft, given_tokens: NDArray[np.int64], pool: str | None) -> Call:
    """Plan attempt 0 with so much thinking (int64[n]), and the answer that it comes to."""
    answer = draft.lengths(0)[1]
    check_room(draft, answer)
    said = draft.answers(0, given_tokens)
    return draft.ask(draft.own, given_tokens, answer, answers=said, pool=draft.any_pool(pool))


def check_room(draft: Draft, answer_tokens: np.ndarray) -> None:
    """Raises `InputError` if caps leave no room for an answer even without thinking."""
    cap = draft.queries.max_tokens
    short = (cap > 0) & (cap < answer_tokens)
    if short.any():
        k = int(np.argmax(short))
        name = draft.queries.class_names[draft.queries.class_id[k]]
        message = (
            f"{int(short.sum()):,} queries have answers longer than this, so that no budget for"
            f" thinking lets them end: class {name} has one of {int(answer_tokens[k]):,} tokens"
        )
        raise InputError(Problem(message, field=f"workload: max_tokens {int(cap[k]):,}"))
