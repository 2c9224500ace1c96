"""What a scheduler says of requests at their arrival: of many at once, where that can be."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from simulator.engine import answers
from simulator.engine.asking import ENDLESS, RELATIVE_ROUNDING, ROUNDING
from simulator.engine.request import NEVER, NEW
from simulator.engine.views import RequestView
from simulator.errors import IntegrityError
from simulator.schedulers.base import Scheduler

_BATCH = 256


@dataclass
class Answers:
    """Of the requests `first`, `first + 1`, ...: as if they arrived at `arrival_s`."""

    first: int
    arrival_s: list[float]
    rank: list[float]
    review_tokens: list[int]
    review_s: list[float]
    reserve_tokens: list[int]


class Foresight:
    """Asks `scheduler` what it says of requests at their arrival.

    One that `foresees` is asked about the next requests of the table as well, for as long as they
    come at the times that stand there.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        requests: np.ndarray,
        view: Callable[[np.ndarray], RequestView],
        asked: frozenset[str],
    ) -> None:
        self._scheduler = scheduler
        self._requests = requests
        self._view = view
        self._asked = asked
        self._size = _BATCH if type(scheduler).foresees or not asked else 1
        self._answers = Answers(0, [], [], [], [], [])

    def of(self, i: int, arrival_s: float) -> tuple[float, int, float, int]:
        """Rank, output tokens and time (seconds) of the next review, and the reservation (tokens).

        Request i arrives at `arrival_s`. What is not asked is infinite, NEVER, infinite, and 0.
        """
        said = self._answers
        k = i - said.first
        if self._size == 1 or not 0 <= k < len(said.rank) or said.arrival_s[k] != arrival_s:
            self._answers = said = self._ask(i)
            k = 0
        return (
            said.rank[k],
            said.review_tokens[k],
            said.review_s[k],
            said.reserve_tokens[k],
        )

    def _ask(self, first: int) -> Answers:
        table = self._requests[first : first + self._size]
        new = table["status"] == NEW
        arrival_s = table["arrival_s"].copy()
        table["queued_since_s"][new] = arrival_s[new]
        count = len(table)
        view = self._view(np.arange(first, first + count, dtype=np.int64))
        now_s = arrival_s if self._size > 1 else arrival_s[0]

        def ask(method: str, otherwise: float) -> np.ndarray:
            if method not in self._asked:
                return np.full(count, otherwise)
            answer = getattr(self._scheduler, method)
            values = answer(view) if method == "reserve_tokens" else answer(view, now_s)
            return per_request(values, count)

        at_s = ask("review_at", math.inf)
        return Answers(
            first=first,
            arrival_s=arrival_s.tolist(),
            rank=ask("rank", math.inf).tolist(),
            review_tokens=whole_tokens(ask("review_tokens", math.inf)).tolist(),
            review_s=np.where(at_s > arrival_s, at_s, math.inf).tolist(),
            reserve_tokens=_whole(
                np.minimum(answers.tokens(ask("reserve_tokens", 0.0), "reserve_tokens"), NEVER)
            ).tolist(),
        )


def per_request(values: object, count: int) -> np.ndarray:
    """One float64 a request, whether the scheduler gave one for each or one for all.

    Raises `IntegrityError` for anything of another shape.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.shape == (count,):
        return array
    if array.ndim:
        answers.misshapen(array, count)
    return np.full(count, array)


def whole_tokens(more: np.ndarray) -> np.ndarray:
    """Output tokens at which the first review is due, of float64[k]; NEVER if infinite."""
    if np.isnan(more).any():
        raise IntegrityError("review_tokens is not a number")
    finite = more < ENDLESS
    return np.where(finite, np.maximum(_whole(np.where(finite, more, 1.0)), 1), NEVER)


def _whole(tokens: np.ndarray) -> np.ndarray:
    """Rounded up, int64[k]; what is above a whole number by a rounding error is that number."""
    whole = np.ceil(tokens - ROUNDING - RELATIVE_ROUNDING * np.abs(tokens))
    return np.asarray(whole, dtype=np.int64)
