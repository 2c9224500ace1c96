"""Thinking in rounds that forget: the context is contracted between them, so KV stays bounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from simulator.quality import NOBODY
from simulator.strategies.base import STRATEGIES, Answering, Call, Draft, Query, Strategy
from workloads.batch import MAX_TOKENS


@STRATEGIES.register("memoryless")
@dataclass(eq=False)
class Memoryless(Strategy):
    """Every `round_tokens` of thinking a new request begins with the prompt and a short summary.

    What a request holds never grows beyond prompt + carried + round. The rounds are prefilled anew,
    and each round but the last writes its summary besides thinking.
    """

    source: ClassVar[str] = (
        "Teng et al., Atom of thoughts for Markov LLM test-time scaling, arXiv:2502.12018;"
        " Aghajohari et al., The Markovian thinker, arXiv:2510.06557"
    )

    round_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] = 8192
    """Thinking tokens of a round."""

    carried_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] = 512
    """Tokens of summary that the next round starts from."""

    kept: Annotated[float, Field(ge=0.0, le=1.0)] = 1.0
    """Share of its thinking that still helps when a round has been summed up."""

    def plan(self, draft: Draft) -> list[Call]:
        """The rounds of the attempt that the workload drew; the last one answers."""
        natural, answer = draft.lengths_below_cap(0)
        rounds = np.maximum(-(-natural // self.round_tokens), 1)
        calls = []
        prompt = draft.own
        for number in range(int(rounds.max())):
            left = natural - number * self.round_tokens
            last = rounds == number + 1
            thinking = np.clip(left, 0, self.round_tokens)
            useful = np.where(
                last, self.kept * (natural - thinking) + thinking, natural
            )  # of which the last round is still there as it was
            calls.append(
                draft.ask(
                    prompt,
                    np.where(last, thinking, thinking + self.carried_tokens),
                    np.where(last, answer, 0),
                    pool=draft.any_pool(self.pool),
                    where=rounds > number,
                    answers=draft.answers(0, np.rint(useful).astype(np.int64)),
                )
            )
            prompt = draft.own.then(draft.new(self.carried_tokens))
        return calls

    def answer(self, query: Query, plan: list[Call]) -> Answering:
        """One round after the other."""
        said = NOBODY
        for call in plan:
            if not query.has(call):
                break
            request = query.send(call)
            yield request
            if not request.completed:
                return NOBODY
            said = request.answer
        return said
