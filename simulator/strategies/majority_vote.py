"""Several attempts vote, and most votes win (self-consistency)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from simulator.strategies.base import STRATEGIES, Answering, Call, Draft, Query, Strategy
from simulator.strategies.tally import is_decided, most_votes, votes


@STRATEGIES.register("majority_vote")
@dataclass(eq=False)
class MajorityVote(Strategy):
    """`samples` attempts are made at once; the answer that most of them give is taken.

    They share the prompt, whose KV a prefix cache holds once. Of answers with equally many votes
    the one given first wins.
    """

    source: ClassVar[str] = (
        "Wang et al., Self-consistency improves chain of thought reasoning, arXiv:2203.11171"
    )
    compares_answers: ClassVar[bool] = True

    samples: Annotated[int, Field(ge=1, le=1024)] = 8
    """Attempts that vote."""

    stop_when_decided: bool = False
    """Cancel the others as soon as they can't change the outcome."""

    def plan(self, draft: Draft) -> list[Call]:
        """Attempts at the same prompt."""
        pool = draft.any_pool(self.pool)
        return [
            draft.ask(draft.own, *draft.lengths(k), answers=draft.answers(k), pool=pool)
            for k in range(self.samples)
        ]

    def answer(self, query: Query, plan: list[Call]) -> Answering:
        """Count votes as they come in."""
        voters = query.send_all(plan)
        if not self.stop_when_decided:
            yield query.all(voters)
            return most_votes(votes(voters))
        while True:
            left = sum(not voter.over for voter in voters)
            if left == 0 or is_decided(votes(voters), left):
                query.cancel(voters)
                return most_votes(votes(voters))
            yield query.some(voters, len(voters) - left + 1)
