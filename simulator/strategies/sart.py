"""More branches than needed: stop with the first that end, prune those that look bad."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from simpy import Event

from simulator.errors import InputError, Problem
from simulator.quality import NOBODY
from simulator.strategies.base import STRATEGIES, Answering, Call, Draft, Query, Strategy
from simulator.strategies.query import Request
from simulator.strategies.verdicts import Verdict, Verifier, best
from workloads.batch import MAX_TOKENS


@dataclass(frozen=True, eq=False)
class Branch:
    """A branch of thinking in stretches, with a verdict after each but the last."""

    stretches: list[Call]
    verdicts: list[Verdict]


@STRATEGIES.register("sart")
@dataclass(eq=False)
class Sart(Strategy):
    """`samples` branches think; the query ends with the first `enough` of them.

    Every `check_every_tokens` a process reward model looks at each branch, and those below
    `prune_below` are given up, as long as `enough` are left. Of the branches that end, the one that
    the reward model likes best gives the answer.
    """

    source: ClassVar[str] = (
        "SART: Serving LLM reasoning efficiently and accurately, arXiv:2505.13326"
        " (redundant sampling with early stopping, two-phase pruning)"
    )
    compares_answers: ClassVar[bool] = True

    samples: Annotated[int, Field(ge=1, le=256)] = 8
    """Branches."""

    enough: Annotated[int, Field(ge=1, le=256)] = 4
    """Branches that must end."""

    check_every_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] = 4096
    """Tokens of a branch from one look to the next."""

    prune_below: float = -0.5
    """Score below which a branch is given up; wrong ones score 0 in the mean, with deviation 1."""

    auc: Annotated[float, Field(ge=0.5, lt=1.0)] = 0.85
    """Chance that a whole right branch scores above a wrong one."""

    verifier_pool: str | None = None
    """Pool of the reward model; None: it is not served."""

    verifier_s: Annotated[float, Field(ge=0.0)] = 0.0
    """Seconds that a verdict takes where the reward model is not served."""

    pool: Annotated[str | None, Field(description="Pool of the branches; None: the first.")] = None

    def plan(self, draft: Draft) -> list[Branch]:
        """All branches in stretches, to their natural ends."""
        if self.enough > self.samples:
            message = f"is more than there are samples, {self.samples}"
            raise InputError(Problem(message, field="strategy.enough"))
        return [self._branch(draft, k) for k in range(self.samples)]

    def _branch(self, draft: Draft, k: int) -> Branch:
        pool = draft.one_pool(self.pool)
        verifier = Verifier(self.auc, True, self.verifier_pool, self.verifier_s)
        natural, answer = draft.lengths_below_cap(k)
        said = draft.answers(k, natural)
        assert said is not None
        rounds = np.maximum(-(-natural // self.check_every_tokens), 1)
        stretches: list[Call] = []
        verdicts: list[Verdict] = []
        for number in range(int(rounds.max())):
            last = rounds == number + 1
            here = rounds > number
            begun = number * self.check_every_tokens
            call = draft.ask(
                stretches[-1].transcript() if stretches else draft.own,
                np.clip(natural - begun, 0, self.check_every_tokens),
                np.where(last, answer, 0),
                pool=pool,
                where=here,
                answers=said,
                goes_on=stretches[-1] if stretches else None,
            )
            stretches.append(call)
            seen = np.minimum(natural, begun + self.check_every_tokens) / np.maximum(natural, 1)
            verdicts.append(
                verifier.plan(
                    draft,
                    call.transcript(),
                    k,
                    said,
                    of_pool=draft.pools.index(pool),
                    where=here,
                    fraction=np.where(natural > 0, seen, 1.0),
                )
            )
        return Branch(stretches, verdicts)

    def answer(self, query: Query, plan: list[Branch]) -> Answering:
        """Go on with the branches that look well until enough have ended."""
        runs = [_Run(branch, query) for branch in plan]
        ended: list[_Run] = []
        while len(ended) < self.enough:
            awaited = [run.awaited for run in runs if run.awaited is not None]
            if not awaited:
                break
            yield query.some(awaited, 1)
            for run in runs:
                if len(ended) == self.enough or not run.hears_verdict(query):
                    continue
                alive = sum(each.awaited is not None for each in runs) + len(ended) + 1
                if not run.has_more(query):
                    ended.append(run)
                elif run.score >= self.prune_below or alive <= self.enough:
                    run.go_on(query)
        query.cancel([run.awaited for run in runs if isinstance(run.awaited, Request)])
        chosen = best((run.score, run.said) for run in ended if run.said is not None)
        return NOBODY if chosen is None else chosen.answer


class _Run:
    """A branch in the run: thinking a stretch, or waiting for the verdict on it.

    said: its last stretch that is over; score: the last verdict.
    """

    def __init__(self, branch: Branch, query: Query) -> None:
        self._branch = branch
        self._stretch = -1
        self._thinking: Request | None = None
        self._asked: Event | None = None
        self.said: Request | None = None
        self.score = -math.inf
        self.go_on(query)

    @property
    def awaited(self) -> Event | None:
        """What it waits for; None if it has ended, or has been given up."""
        return self._asked or self._thinking

    def hears_verdict(self, query: Query) -> bool:
        """Take what has come: a stretch, on which it asks for a verdict, or that. Whether it is."""
        verdict = self._branch.verdicts[self._stretch]
        if self._thinking is not None and self._thinking.processed:
            thought, self._thinking = self._thinking, None
            if thought.completed:
                self.said, self._asked = thought, verdict.ask(query)
        if self._asked is None or not self._asked.processed:
            return False
        self.score = verdict.score(query, self._asked)
        self._asked = None
        return True

    def has_more(self, query: Query) -> bool:
        """Whether there is another stretch."""
        following = self._stretch + 1
        stretches = self._branch.stretches
        return following < len(stretches) and query.has(stretches[following])

    def go_on(self, query: Query) -> None:
        """Send the next stretch."""
        self._stretch += 1
        self._thinking = query.send(self._branch.stretches[self._stretch])
