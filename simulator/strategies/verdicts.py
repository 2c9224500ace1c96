"""Asking a verifier: a served model that reads a transcript, or something that only takes time."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import simpy
from numpy.typing import NDArray

from simulator.quality.verifiers import OutcomeVerifier, ProcessVerifier
from simulator.strategies.calls import Call, Sealed, Where
from simulator.strategies.draft import Draft
from simulator.strategies.prompts import Prompt
from simulator.strategies.query import Query, Request


@dataclass(frozen=True, eq=False)
class Verdict:
    """One verdict on one attempt of each query: its scores, float64[n], and how it is come by."""

    call: Call | None
    scores: NDArray[np.float64]
    seconds: float

    def ask(self, query: Query) -> simpy.Event:
        """Ask for it; happens when it is there."""
        return query.pause(self.seconds) if self.call is None else query.send(self.call)

    def score(self, query: Query, asked: simpy.Event) -> float:
        """What it says, when `asked` has happened; -inf if the verifier could not read it."""
        if not isinstance(asked, Request):
            return float(self.scores[query.place])
        return asked.score if asked.completed else -math.inf


@dataclass(frozen=True)
class Verifier:
    """How well it tells right from wrong (`auc`), and where it runs.

    pool: that of the model that judges; None: it is not served, and takes `seconds`.
    """

    auc: float
    process: bool
    pool: str | None
    seconds: float

    def plan(
        self,
        draft: Draft,
        transcript: Prompt,
        attempt: int,
        answers: Sealed,
        *,
        of_pool: int = 0,
        where: Where | None = None,
        fraction: NDArray[np.float64] | float = 1.0,
    ) -> Verdict:
        """A verdict on `transcript`: a request that reads it and says one token.

        The attempt will say `answers`, if the model of pool number `of_pool` makes it; `fraction`
        of its thinking has been seen.
        """
        kind = ProcessVerifier if self.process else OutcomeVerifier
        scores = draft.scores(kind.from_auc(self.auc), attempt, answers, of_pool, fraction)
        call = None
        if self.pool is not None:
            pool = draft.pool(self.pool, "verifier_pool")
            call = draft.ask(transcript, 0, 1, pool=pool, where=where, scores=scores)
        return Verdict(call, scores, self.seconds)


def best(scored: Iterable[tuple[float, Request]]) -> Request | None:
    """The attempt with the highest score; of equals the first."""
    found: Request | None = None
    highest = -math.inf
    for score, request in scored:
        if found is None or score > highest:
            found, highest = request, score
    return found
