"""A small model first; a large one where the small one disagrees with itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from simulator.errors import InputError, Problem
from simulator.strategies.base import STRATEGIES, Answering, Call, Draft, Query, Strategy
from simulator.strategies.tally import agreement, most_votes, votes
from workloads.batch import MAX_TOKENS


class Stages(NamedTuple):
    """Attempts of the first pool, and the one of the second."""

    first: list[Call]
    second: Call


@STRATEGIES.register("cascade")
@dataclass(eq=False)
class Cascade(Strategy):
    """`samples` attempts at `pool`; if too few agree, one at `second_pool`.

    How far attempts agree is what the small model knows of its own uncertainty: it is not told
    which problems are hard.
    """

    source: ClassVar[str] = (
        "Yue et al., Large language model cascades with mixture of thought representations,"
        " arXiv:2310.03094; Chen et al., FrugalGPT, arXiv:2305.05176"
    )
    compares_answers: ClassVar[bool] = True

    pool: Annotated[str | None, Field(description="Pool of the small model; None: the first.")] = (
        None
    )

    second_pool: str | None = None
    """Pool of the large model; None: the second."""

    samples: Annotated[int, Field(ge=1, le=1024)] = 4
    """Attempts of the small model."""

    agreement: Annotated[float, Field(ge=0.0, le=1.0)] = 0.75
    """Share of them that must say the same, so that nobody else is asked; one without an answer
    agrees with none."""

    first_max_thinking_tokens: Annotated[int, Field(ge=0, le=MAX_TOKENS)] | None = None
    """Cap on the thinking of the small model; 0 for one that answers at once, None for no cap."""

    def plan(self, draft: Draft) -> Stages:
        """Attempts 0 to samples - 1 for the small model, the next for the large one."""
        if len(draft.pools) < 2:
            message = "needs a second pool, with a larger model"
            raise InputError(Problem(message, field="strategy.second_pool"))
        small = draft.one_pool(self.pool)
        others = [name for name in draft.pools if name != small]
        large = draft.one_pool(self.second_pool or others[0], "second_pool")
        if self.first_max_thinking_tokens == 0:
            draft.check_answers_at_once(np.ones(len(draft), dtype=bool), small)
        first = []
        for k in range(self.samples):
            thinking, answer = draft.lengths(k)
            if self.first_max_thinking_tokens is not None:
                thinking = thinking.clip(max=self.first_max_thinking_tokens)
            said = draft.answers(k, thinking)
            first.append(draft.ask(draft.own, thinking, answer, pool=small, answers=said))
        last = self.samples
        said = draft.answers(last)
        second = draft.ask(draft.own, *draft.lengths(last), pool=large, answers=said)
        return Stages(first, second)

    def answer(self, query: Query, plan: Stages) -> Answering:
        """Ask the large model if the small one is not sure."""
        attempts = query.send_all(plan.first)
        yield query.all(attempts)
        given = votes(attempts)
        if given and agreement(given, self.samples) >= self.agreement:
            return most_votes(given)
        appeal = query.send(plan.second)
        yield appeal
        return appeal.answer if appeal.completed else most_votes(given)
