"""What a gateway can keep in mind by itself: whom it let in, and which answers went by."""

from __future__ import annotations

import heapq
import math
from array import array
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


class LetIn:
    """Who was let in when, and how much each brought along (tokens).

    As queues are first come, first served, and only their lengths are seen, the k requests that
    wait are taken to be the last k that were let in.
    """

    def __init__(self) -> None:
        self._sums = array("d", [0.0])
        self._times_s = array("d")

    def add(self, amount: float, now_s: float) -> None:
        """One more, now (seconds)."""
        self._sums.append(self._sums[-1] + amount)
        self._times_s.append(now_s)

    def last(self, count: int) -> float:
        """What the last `count` of them brought, all of them if they are fewer."""
        return self._sums[-1] - self._sums[max(len(self._sums) - 1 - count, 0)]

    def since_s(self, count: int) -> float:
        """When the first of the last `count` (at least 1) was let in; infinite if nobody was."""
        if not self._times_s:
            return math.inf
        return self._times_s[max(len(self._times_s) - count, 0)]


class Answers:
    """Answers that went by, each handed on when its time has come."""

    def __init__(self) -> None:
        self._pending: list[tuple[float, int, int, float]] = []

    def add(
        self,
        rows: NDArray[np.int64],
        output_tokens: NDArray[np.int64],
        first_token_s: NDArray[np.float64],
        finish_s: NDArray[np.float64],
    ) -> None:
        """As `Admission.answered`."""
        columns = (finish_s, rows, output_tokens, first_token_s)
        for answer in zip(*(column.tolist() for column in columns), strict=True):
            heapq.heappush(self._pending, answer)

    def until(self, now_s: float) -> Iterator[tuple[float, int, int, float]]:
        """Those finished by now, oldest first: finish_s, row, output tokens, first_token_s."""
        while self._pending and self._pending[0][0] <= now_s:
            yield heapq.heappop(self._pending)


class Pace:
    """Seconds per output token of a request in service, as answers show it.

    Tokens after the first of each answer, over the seconds they took; an answer weighs 1/e of one
    that is `remembered` (answers) later.
    """

    def __init__(self, remembered: float) -> None:
        self._keep = math.exp(-1.0 / remembered)
        self._tokens = self._seconds = 0.0

    def learn(self, tokens: int, seconds: float) -> None:
        """An answer's tokens after the first, and the seconds from the first to the last."""
        self._tokens = self._keep * self._tokens + tokens
        self._seconds = self._keep * self._seconds + seconds

    @property
    def seconds_per_token(self) -> float:
        """NaN until there was an answer of two tokens."""
        return self._seconds / self._tokens if self._tokens > 0.0 else math.nan
