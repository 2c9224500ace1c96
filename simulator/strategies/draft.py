"""What a strategy plans with: queries as columns, and the requests that each of them may issue.

All that luck decides is drawn here, before the run: how long each attempt thinks, and what it
answers. So two strategies under one seed see the same problems, and the same attempts at them.
When a request is sent, and whether at all, is decided in the run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.errors import InputError, Problem
from simulator.facts import DifficultyClassifier
from simulator.quality import NOBODY, answers
from simulator.quality.judge import Judge
from simulator.quality.verifiers import OutcomeVerifier, ProcessVerifier
from simulator.strategies.calls import Call, Sealed, Tokens, Where
from simulator.strategies.prompts import Column, Part, Prompt
from workloads.batch import MAX_TOKENS

MAX_PLANNED = 50_000_000
"""Requests planned for all queries of a strategy, sent or not (some 3 GB)."""


@dataclass(frozen=True, eq=False)
class Queries:
    """The n queries of a draft: what is known of them when they arrive.

    number: int64[n], which query of the run each is, counted from 0: what luck goes by. class_id:
    int32[n], index into `class_names`. prompt_tokens, max_tokens: int64[n]. value_usd: float64[n],
    what a correct answer is worth, NaN where nobody said.
    """

    number: Column
    class_id: NDArray[np.int32]
    class_names: tuple[str, ...]
    prompt_tokens: Column
    max_tokens: Column
    value_usd: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.class_id)

    def by_class(self, values: Mapping[str, float] | float, field: str) -> NDArray[np.float64]:
        """A parameter given for all, or by class, as float64[n].

        Raises `InputError` at `field` for classes that are not there, or not provided for.
        """
        if not isinstance(values, Mapping):
            return np.full(len(self), float(values))
        known = ", ".join(self.class_names)
        problems = [
            Problem(f"there is no class {name!r}; known: {known}", field=field)
            for name in values
            if name not in self.class_names
        ]
        present = [self.class_names[k] for k in np.unique(self.class_id)]
        problems += [
            Problem(f"says nothing of class {name!r}", field=field)
            for name in present
            if name not in values
        ]
        if problems:
            raise InputError(problems)
        column = np.array([values.get(name, np.nan) for name in self.class_names])
        return np.asarray(column[self.class_id], dtype=np.float64)


class Draft:
    """The plan of one strategy for `queries` while it is being made.

    `own`: the queries' prompts. `pools`: names of the pools that requests may be sent to. `judge`:
    says what attempts answer, None if the experiment has no `quality`. `classifier`: tells hard
    queries from easy ones, None if the workload does not know. `seed` addresses what luck a
    strategy has of its own (`simulator.rng`).
    """

    def __init__(
        self,
        queries: Queries,
        pools: tuple[str, ...],
        lengths: Callable[[int], tuple[Column, Column]],
        *,
        judge: Judge | None = None,
        classifier: DifficultyClassifier | None = None,
        seed: int = 0,
        first_segment: int = 0,
    ) -> None:
        self.queries = queries
        self.pools = pools
        self.seed = seed
        self.own = Prompt(queries.prompt_tokens)
        self.calls: list[Call] = []
        self.classifier = classifier
        self._judge = judge
        self._lengths = lengths
        self.next_segment = first_segment

    def __len__(self) -> int:
        return len(self.queries)

    def lengths(self, attempt: int) -> tuple[Column, Column]:
        """Thinking and answer tokens of attempt number `attempt` at each problem, int64[n] each.

        That is what it would come to by itself, with nothing to cut it. Attempt 0 is the one that
        the workload drew.
        """
        return self._lengths(attempt)

    def lengths_below_cap(self, attempt: int) -> tuple[Column, Column]:
        """As `lengths`, thinking cut where the client's cap would leave no room for the answer.

        Who sends thinking in stretches can end it there and ask for the answer; the engine, which
        would cut one request short at its cap, knows nothing of answers.
        """
        thinking, answer = self.lengths(attempt)
        cap = self.queries.max_tokens
        room = np.where(cap > 0, np.maximum(cap - answer, 0), thinking)
        return np.minimum(thinking, room), answer

    @property
    def numbers_end(self) -> int:
        """One more than the highest number of a query: how many uniforms to draw for them."""
        return int(self.queries.number.max(initial=-1)) + 1

    @property
    def judge(self) -> Judge:
        """Who knows what attempts are worth. Raises `InputError` if the experiment does not say."""
        if self._judge is None:
            message = "this strategy compares answers, and no pool says how good its model is"
            raise InputError(Problem(f"{message}: give pools `quality`", field="strategy"))
        return self._judge

    def answers(
        self,
        attempt: int,
        given_tokens: NDArray[Any] | None = None,
        lift: NDArray[np.float64] | float = 0.0,
    ) -> Sealed | None:
        """What attempt number `attempt` answers after it has thought so long.

        given_tokens: int64[n]; None: as long as it likes, else it was cut short, or made to go on.
        lift: the part of failures that other means than thinking turn into successes, 0 to 1. None
        if the experiment has no `quality`.
        """
        if self._judge is None:
            return None
        natural = self.lengths(attempt)[0]
        given = natural if given_tokens is None else np.asarray(given_tokens)
        if given.shape != natural.shape or (given < 0).any():
            raise ValueError(f"given_tokens: expected int64[{len(self)}], none negative")
        return Sealed(self._judge.answers(attempt, given, natural, lift))

    def mean_chance(
        self, where: Where, pool: int, given_tokens: NDArray[Any], attempt: int = 0
    ) -> float:
        """Mean chance of being right over the queries `where` (bool[n]), as an evaluation tells it.

        given_tokens: int64[n], as in `answers`; pool: whose model is asked. NaN over none.
        """
        natural = self.lengths(attempt)[0]
        chances = self.judge.chances(given_tokens, natural)[pool][where]
        return float(chances.mean()) if len(chances) else math.nan

    def answers_if(self, right: Where, attempt: int, pool: int) -> Sealed:
        """What is answered by a search whose outcome is right or wrong as `right` (bool[n]) says.

        attempt: whose luck decides which wrong answer it is; pool: whose model gives it.
        """
        judge = self.judge
        share = judge.of_pool(pool, lambda model, rows: np.full(len(rows), model.dominant_share))
        said = answers(right, judge.uniforms(attempt), attempt, share)
        return Sealed(np.broadcast_to(said, (len(self.pools), len(self))))

    def cached(self, answers: Sealed | None, pool: int) -> Column:
        """Answers that are found without a request, such as in a cache of them: int64[n], ids.

        pool: whose model gave them. All are `NOBODY` if the experiment has no `quality`.
        """
        if answers is None:
            return np.full(len(self), NOBODY, dtype=np.int64)
        return np.array(answers.open()[pool], dtype=np.int64)

    def scores(
        self,
        verifier: OutcomeVerifier,
        attempt: int,
        answers: Sealed,
        pool: int,
        fraction: NDArray[np.float64] | float = 1.0,
    ) -> NDArray[np.float64]:
        """What a verifier makes of attempt number `attempt`, float64[n]: its score.

        answers: what the attempt will say in the end, if the model of `pool` makes it. fraction: of
        its thinking, how much the verifier has seen; below 1 only for a `ProcessVerifier`.
        """
        said, luck = answers.open()[pool], self.judge.uniforms(attempt)
        if isinstance(verifier, ProcessVerifier):
            return np.asarray(verifier.partial_scores(said, luck, fraction), dtype=np.float64)
        return np.asarray(verifier.scores(said, luck), dtype=np.float64)

    def check_answers_at_once(self, where: Where, pool: str) -> None:
        """Raises `InputError` if the model of `pool` solves nothing without thinking.

        where: bool[n], the queries that are to be answered so. A curve of a reasoning model may
        begin at 0, which says nothing of a mode in which it does not think.
        """
        if self._judge is None or not where.any():
            return
        if self.mean_chance(where, self.pools.index(pool), np.zeros(len(self), dtype=int)) == 0.0:
            message = (
                "without thinking its model solves nothing, by the curve: say how many it does,"
                " with without_thinking"
            )
            raise InputError(Problem(message, field=f"pools.{pool}.quality"))

    def any_pool(self, name: str | None, field: str = "pool") -> str | None:
        """The pool for attempts that may go anywhere, unless there is a `name`.

        Raises `InputError` at parameter `field` if there is no such pool.
        """
        return None if name is None else self.pool(name, field)

    def one_pool(self, name: str | None, field: str = "pool") -> str:
        """The pool for attempts whose answers are compared: `name`, or the first of all.

        Raises `InputError` at parameter `field` if there is no such pool.
        """
        return self.pools[0] if name is None else self.pool(name, field)

    def pool(self, name: str, field: str) -> str:
        """`name`, if it is a pool's. Raises `InputError` at parameter `field` if it is not."""
        if name not in self.pools:
            known = ", ".join(self.pools)
            message = f"there is no pool {name!r}; known: {known}"
            raise InputError(Problem(message, field=f"strategy.{field}"))
        return name

    def fresh(self) -> Column:
        """Ids of a new segment for each query, int64[n]: tokens that nobody else has."""
        first = self.next_segment
        self.next_segment += len(self)
        return np.arange(first, self.next_segment)

    def new(self, tokens: Tokens) -> Part:
        """Tokens that come from outside: a tool's result, an instruction."""
        return Part(self.fresh(), self._column(tokens))

    def ask(
        self,
        prompt: Prompt,
        thinking_tokens: Tokens,
        answer_tokens: Tokens,
        *,
        pool: str | None = None,
        where: Where | None = None,
        answers: Sealed | None = None,
        scores: NDArray[np.float64] | None = None,
        goes_on: Call | None = None,
    ) -> Call:
        """Plan a request of each query, or of those `where` is true (bool[n]).

        It must generate a token at least. `goes_on`: what it generates belongs to the same stretch
        of text as that of another call, whose transcript ends its prompt. Raises `InputError` for
        requests that cannot be: longer than any model's, or more than fit into memory; ValueError
        for columns of another shape, and requests that generate nothing.
        """
        thinking, answer = self._column(thinking_tokens), self._column(answer_tokens)
        there = np.ones(len(self), dtype=bool) if where is None else np.array(where)
        if there.dtype != bool or there.shape != (len(self),):
            raise ValueError(f"where: expected bool[{len(self)}], not {there.dtype}{there.shape}")
        if answers is not None and not isinstance(answers, Sealed):
            raise ValueError("answers: expected what draft.answers returned")
        if scores is not None and np.shape(scores) != (len(self),):
            raise ValueError(f"scores: expected float64[{len(self)}]")
        if (there & ((thinking < 0) | (answer < 0) | (thinking + answer < 1))).any():
            raise ValueError("a request generates at least 1 token, and no part of it is negative")
        longest = int((prompt.tokens + thinking + answer)[there].max(initial=0))
        self._check_size(longest)
        call = Call(
            index=len(self.calls),
            pool=None if pool is None else self.pool(pool, "pool"),
            where=there,
            prompt=prompt,
            thinking_tokens=thinking,
            answer_tokens=answer,
            max_tokens=self.queries.max_tokens,
            segment=self.fresh() if goes_on is None else goes_on.segment,
            answers=answers,
            scores=scores,
        )
        self.calls.append(call)
        return call

    def _check_size(self, longest: int) -> None:
        if longest > MAX_TOKENS:
            message = f"a request of {longest:,} tokens; {MAX_TOKENS:,} is the most"
            raise InputError(Problem(message, field="strategy"))
        if (len(self.calls) + 1) * len(self) > MAX_PLANNED:
            message = (
                f"more than {MAX_PLANNED:,} requests to be planned: {len(self.calls):,} for each of"
                f" {len(self):,} queries so far, sent or not"
            )
            raise InputError(Problem(message, field="strategy"))

    def _column(self, tokens: Tokens) -> Column:
        given = np.asarray(tokens)
        if given.dtype.kind not in "iu" or given.shape not in ((), (len(self),)):
            raise ValueError(f"tokens: expected int64[{len(self)}], not {given.dtype}{given.shape}")
        return np.broadcast_to(given.astype(np.int64), (len(self),)).copy()
