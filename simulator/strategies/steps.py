"""Chains of thought as steps: what searches over them share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simulator.quality import CORRECT, NOBODY, AttemptLuck
from simulator.quality.verifiers import OutcomeVerifier, ProcessVerifier
from simulator.strategies.base import Answering, Query, Strategy
from simulator.strategies.calls import Call, Sealed, Where
from simulator.strategies.draft import Draft
from simulator.strategies.prompts import Column, Prompt
from simulator.strategies.query import Request
from simulator.strategies.verdicts import Verdict
from workloads.batch import MAX_TOKENS


class Search(NamedTuple):
    """Rounds of steps that are sent together, the verdicts on them, and the answer at the end."""

    steps: list[list[Call]]
    verdicts: list[list[Verdict]]
    final: Call


@dataclass(eq=False)
class StepSearch(Strategy):
    """Base of searches over steps of thinking, each of which a process reward model scores.

    The attempt that the workload drew has T / `step_tokens` steps (at most `max_steps`), and is
    right if each is sound; so a step is sound with the chance that makes a chain without any choice
    as right as a single attempt. After an unsound step nothing is sound any more.
    """

    step_tokens: Annotated[
        int, Field(ge=1, le=MAX_TOKENS, description="Thinking tokens of a step.")
    ] = 512

    max_steps: Annotated[
        int,
        Field(ge=1, le=256, description="Most steps of a chain; longer thinking has longer steps."),
    ] = 32

    auc: Annotated[
        float,
        Field(ge=0.5, lt=1.0, description="Chance that a sound step scores above an unsound one."),
    ] = 0.8

    verifier_pool: Annotated[
        str | None, Field(description="Pool of the reward model; None: it is not served.")
    ] = None

    verifier_s: Annotated[
        float,
        Field(
            ge=0.0, description="Seconds that a verdict takes where the reward model is not served."
        ),
    ] = 0.0

    pool: Annotated[str | None, Field(description="Pool that thinks; None: the first.")] = None

    def answer(self, query: Query, plan: Search) -> Answering:
        """Round by round, as far as this query goes; then the best chain answers."""
        for steps, verdicts in zip(plan.steps, plan.verdicts, strict=True):
            if not query.has(steps[0]):
                break
            sent = query.send_all(steps)
            yield query.all(sent)
            if not all(request.completed for request in sent):
                return NOBODY
            asked = [verdict.ask(query) for verdict in verdicts]
            yield query.all(asked)
            if not all(each.completed for each in asked if isinstance(each, Request)):
                return NOBODY  # what the reward model could not read, nobody can go on from
        final = query.send(plan.final)
        yield final
        return final.answer


class Chains:
    """The steps of n queries' chains. `steps`: int64[n], how many; `sound`: float64[n], the chance
    that one is; `tokens`: int64[n], thinking tokens of one."""

    def __init__(self, search: StepSearch, draft: Draft) -> None:
        self._draft = draft
        self._search = search
        self._pool = draft.one_pool(search.pool)
        self.pool_index = draft.pools.index(self._pool)
        self.natural, self.answer_tokens = draft.lengths_below_cap(0)
        steps = np.clip(-(-self.natural // search.step_tokens), 1, search.max_steps)
        self.steps: Column = steps
        self.tokens: Column = np.maximum(-(-self.natural // steps), 1)
        whole = draft.lengths(0)[0]
        chance = draft.judge.chances(self.natural, whole)[self.pool_index]
        self.sound = chance ** (1.0 / steps)
        self._verifier = ProcessVerifier(OutcomeVerifier.from_auc(search.auc).d_prime)
        self._luck = AttemptLuck(draft.seed, stream="step")
        self._drawn = 0

    def step(
        self, prompt: Prompt, parent_sound: Where, where: Where
    ) -> tuple[Call, Verdict, Where, NDArray[np.float64]]:
        """Plan another step after `prompt`: its request, the verdict, whether it is sound, its
        score."""
        luck = self._luck(self._draft.judge.query, self._drawn)
        self._drawn += 1
        sound = parent_sound & (luck[..., CORRECT] < self.sound)
        scores = self._verifier.step_scores(sound, luck)
        call = self._draft.ask(prompt, self.tokens, 0, pool=self._pool, where=where)
        reading = None
        if self._search.verifier_pool is not None:
            pool = self._draft.pool(self._search.verifier_pool, "verifier_pool")
            reading = self._draft.ask(
                call.transcript(), 0, 1, pool=pool, where=where, scores=scores
            )
        return call, Verdict(reading, scores, self._search.verifier_s), sound, scores

    def finish(self, prompt: Prompt, sound: Where, depth: Column) -> Call:
        """Plan the end: the steps that are left after `depth` (int64[n]), and the answer."""
        left = self.steps - depth
        luck = self._luck(self._draft.judge.query, self._drawn)
        right = sound & (luck[..., CORRECT] < self.sound**left)
        said: Sealed = self._draft.answers_if(right, 0, self.pool_index)
        return self._draft.ask(
            prompt, left * self.tokens, self.answer_tokens, pool=self._pool, answers=said
        )
