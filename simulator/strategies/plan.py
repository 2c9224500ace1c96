"""From the queries of a workload, and the strategies that serve them, to requests."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.difficulty import NoisyClassifier
from simulator.errors import InputError, Problem
from simulator.policy import blame, blaming
from simulator.quality import NOBODY
from simulator.quality.judge import Judge
from simulator.strategies.assembly import own_segments, segments_of
from simulator.strategies.base import Strategy
from simulator.strategies.calls import Call
from simulator.strategies.draft import Draft, Queries
from simulator.strategies.prompts import Column
from workloads.batch import RequestBatch, Sessions

Lengths = Callable[[int], tuple[Column, Column]]

ANY_POOL = -1

_UNJUDGED = (
    "it goes by what attempts answer, which nobody knows here: say how good the models are, with"
    " `quality` in each pool"
)


@dataclass(frozen=True, eq=False)
class Group:
    """Queries that are served by one strategy: their numbers, int64[n], and its plan.

    first: the first call of the plan. row: int64[calls, n], where the requests stand in the batch;
    -1 where a query has none.
    """

    strategy: Strategy
    plan: Any
    first: Call
    queries: Column
    row: Column


@dataclass(frozen=True, eq=False)
class Plan:
    """Every request that the q queries of a run may issue, m in all.

    queries: the workload's batch. requests: a batch of the requests, query after query, with the
    arrival times of the queries. query: int64[m], the row in `queries`. pool: int64[m], where it
    must go, `ANY_POOL` for wherever the router says. answers: int64[pools, m], what it says if that
    pool serves it. scores: float64[m]. group, place: int64[q], the group of each query, and its
    place in it. judged: whether anybody knows what answers are.
    """

    queries: RequestBatch
    requests: RequestBatch
    query: Column
    pool: Column
    answers: Column
    scores: NDArray[np.float64]
    groups: tuple[Group, ...]
    group: Column
    place: Column
    judged: bool

    @property
    def needs_processes(self) -> bool:
        """Whether what a query sends depends on what happens to what it has sent."""
        return not all(group.strategy.sends_one_request() for group in self.groups)


def plan_requests(
    queries: RequestBatch,
    strategies: Mapping[str, Strategy],
    default: Strategy,
    lengths: Lengths,
    pools: tuple[str, ...],
    *,
    judge: Judge | None = None,
    seed: int = 0,
) -> Plan:
    """Plan all requests of `queries`: those of class `name` by `strategies[name]`, or by `default`.

    lengths: thinking and answer tokens of an attempt at each query, int64[q] each. judge: says what
    attempts at all queries answer. Raises `InputError` where a strategy does, for classes that are
    not there, and for workloads whose queries wait for each other.
    """
    _check(queries, strategies)
    kinds = [strategies.get(name, default) for name in queries.class_names]
    used: list[Strategy] = list(dict.fromkeys(kinds))
    group = np.array([used.index(kind) for kind in kinds])[queries.class_id]
    own = queries.segments or own_segments(queries.prompt_tokens)
    next_segment = own.highest_id + 1
    place = np.zeros(len(queries), dtype=np.int64)
    drafts, plans = [], []
    members = [np.flatnonzero(group == number) for number in range(len(used))]
    for strategy, rows in zip(used, members, strict=True):
        place[rows] = np.arange(len(rows))
        draft = _draft(queries, rows, lengths, pools, judge, seed, next_segment)
        with _written_at(strategy, strategies), blaming("strategy", strategy):
            if strategy.compares_answers and judge is None:
                raise InputError(Problem(_UNJUDGED, field="strategy"))
            plans.append(strategy.plan(draft))
        if not draft.calls:
            raise blame("strategy", strategy, ValueError("it plans no request"))
        drafts.append(draft)
        next_segment = draft.next_segment
    _check_pools(drafts, pools, judge)
    calls = [(call, rows) for d, rows in zip(drafts, members, strict=True) for call in d.calls]
    counts = np.array([call.where.sum() for call, _ in calls])
    number = np.repeat(np.arange(len(calls)), counts)
    query = np.concatenate([rows[call.where] for call, rows in calls])
    order = np.lexsort((number, query))
    row = np.empty_like(order)
    row[order] = np.arange(len(order))

    def column(name: str) -> Column:
        return np.concatenate([getattr(call, name)[call.where] for call, _ in calls])[order]

    answers = np.full((len(pools), len(order)), NOBODY, dtype=np.int64)
    scores = np.full(len(order), np.nan)
    tables, at = [], 0
    for draft, rows in zip(drafts, members, strict=True):
        table = np.full((len(draft.calls), len(rows)), -1, dtype=np.int64)
        for call in draft.calls:
            mine = row[at : at + int(call.where.sum())]
            at += len(mine)
            table[call.index, call.where] = mine
            if call.answers is not None:
                answers[:, mine] = call.answers.open()[:, call.where]
            if call.scores is not None:
                scores[mine] = call.scores[call.where]
        tables.append(table)
    segments = segments_of(own, calls).take(order)
    thinking, answer = column("thinking_tokens"), column("answer_tokens")
    cap = column("max_tokens")
    named = np.array([ANY_POOL if c.pool is None else pools.index(c.pool) for c, _ in calls])
    for call, _ in calls:
        call.forget()
    query, number = query[order], number[order]
    requests = replace(
        replace(queries, segments=None).take(query),
        prompt_tokens=segments.prompt_tokens(),
        thinking_tokens=thinking,
        answer_tokens=answer,
        max_tokens=cap,
        segments=segments,
        sessions=_belonging(query, number),
    )
    firsts = [draft.calls[0] for draft in drafts]
    groups = zip(used, plans, firsts, members, tables, strict=True)
    return Plan(
        queries=queries,
        requests=requests,
        query=query,
        pool=named[number],
        answers=answers,
        scores=scores,
        groups=tuple(Group(*each) for each in groups),
        group=group,
        place=place,
        judged=judge is not None,
    )


@contextmanager
def _written_at(strategy: Strategy, strategies: Mapping[str, Strategy]) -> Iterator[None]:
    """Problems of a class's own strategy are at `strategies.<class>`, not at `strategy`."""
    try:
        yield
    except InputError as error:
        own = [f"strategies.{name}" for name, each in strategies.items() if each is strategy]
        if not own:
            raise
        problems = [
            replace(each, field=each.field and re.sub(r"^strategy\b", own[0], each.field))
            for each in error.problems
        ]
        raise InputError(problems) from None


def _check(queries: RequestBatch, strategies: Mapping[str, Strategy]) -> None:
    known = ", ".join(queries.class_names)
    problems = [
        Problem(f"there is no class {name!r}; known: {known}", field="strategies")
        for name in strategies
        if name not in queries.class_names
    ]
    if queries.sessions is not None:
        message = "a strategy answers single queries, and this workload has sessions"
        problems.append(Problem(message, field="strategy"))
    if problems:
        raise InputError(problems)


def _check_pools(drafts: Sequence[Draft], pools: tuple[str, ...], judge: Judge | None) -> None:
    """Raises `InputError` if answers are wanted of a pool that nobody says how good it is."""
    if judge is None:
        return
    mute = [name for name, model in zip(pools, judge.models, strict=True) if model is None]
    asked = {call.pool for draft in drafts for call in draft.calls if call.answers is not None}
    wanted = [name for name in mute if name in asked or None in asked]
    if wanted:
        message = "its model gives answers, and nobody says how good they are"
        raise InputError([Problem(message, field=f"pools.{name}.quality") for name in wanted])


def _draft(
    queries: RequestBatch,
    rows: Column,
    lengths: Lengths,
    pools: tuple[str, ...],
    judge: Judge | None,
    seed: int,
    first_segment: int,
) -> Draft:
    """A draft for the queries `rows`."""
    worth = [queries.class_value_usd.get(name, np.nan) for name in queries.class_names]

    def own_lengths(attempt: int) -> tuple[Column, Column]:
        thinking, answer = lengths(attempt)
        return thinking[rows], answer[rows]

    classifier = None
    if queries.difficulty is not None:
        classifier = NoisyClassifier(queries.difficulty[rows], rows)
    return Draft(
        Queries(
            number=rows,
            class_id=queries.class_id[rows],
            class_names=queries.class_names,
            prompt_tokens=queries.prompt_tokens[rows],
            max_tokens=queries.max_tokens[rows],
            value_usd=np.array(worth)[queries.class_id[rows]],
        ),
        pools,
        own_lengths,
        judge=None if judge is None else judge.take(rows),
        classifier=classifier,
        seed=seed,
        first_segment=first_segment,
    )


def _belonging(query: Column, number: Column) -> Sessions:
    """Which requests are of one query; when they are sent is not known beforehand."""
    return Sessions(
        session_id=np.full(len(query), -1, dtype=np.int64),
        turn=number.astype(np.int32),
        after=np.full(len(query), -1, dtype=np.int64),
        pause_s=np.zeros(len(query)),
        query_id=query,
    )


__all__ = ["ANY_POOL", "Call", "Group", "Plan", "plan_requests"]
