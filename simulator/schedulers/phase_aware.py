"""Thinking first, by turns; answers no faster than they are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from simulator.errors import InputError, Problem
from simulator.schedulers.base import EPOCH_S, SCHEDULERS, Action, Scheduler, has_come

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from simulator.engine.config import EngineConfig
    from simulator.engine.views import RequestView
    from simulator.facts import RequestFacts


@SCHEDULERS.register("phase_aware")
@dataclass(eq=False)
class PhaseAware(Scheduler):
    """Requests that think go first, by turns; answers give way while their reader has enough.

    A reader starts with the first answer token and reads `reader_tokens_per_s`. An answer that is
    ahead of its reader by `ahead_s` or more gives its seat to a request that thinks; it is due
    again when its reader is `back_s` from the end of what there is, and then goes before all
    others, also in place of running ones. KV is kept until others need it.
    """

    source: ClassVar[str] = (
        "PASCAL: Cho et al., A phase-aware scheduling algorithm for serving reasoning-based large"
        " language models, HPCA 2026, arXiv:2602.11530"
    )
    foresees: ClassVar[bool] = True
    rank_changes: ClassVar = "running"
    reviews_on: ClassVar = frozenset({"phase_change"})
    when_displaced: ClassVar[int] = Action.PARK

    quantum_tokens: Annotated[int, Field(ge=1)] = 512
    """Thinking tokens of a turn."""

    reader_tokens_per_s: Annotated[float, Field(gt=0.0)] = 10.0
    """How fast an answer is read (tokens a second)."""

    ahead_s: Annotated[float, Field(gt=0.0)] = 10.0
    """Reading time in hand (seconds) with which an answer may give way."""

    back_s: Annotated[float, Field(ge=0.0)] = 2.0
    """Reading time in hand (seconds) with which it is due again; less than `ahead_s`."""

    def problems(self) -> list[Problem]:
        """That an answer would be due again as soon as it gives way."""
        if self.back_s < self.ahead_s:
            return []
        message = f"{self.back_s} must be below ahead_s, {self.ahead_s}"
        return [Problem(message, field="back_s")]

    def start(self, facts: RequestFacts, config: EngineConfig) -> None:
        """Raises `InputError` for parameters that do not go together."""
        if self.problems():
            raise InputError(self.problems())

    def rank(self, view: RequestView, now_s: float) -> ArrayLike:
        """Answers that are due, the most urgent first; thinking by turns; all other answers."""
        back_s = self._read_s(view) - self.back_s  # NaN while it thinks
        later = np.where(_thinks(view), 0.0, EPOCH_S) + view.queued_since_s
        return np.where(has_come(back_s, now_s), back_s - EPOCH_S, later)

    def displace(self, candidate: RequestView, running: RequestView, now_s: float) -> int | None:
        """The answer furthest ahead of its reader; for one that is due, else the last to think."""
        hand_s = np.where(_thinks(running), -np.inf, self._read_s(running) - now_s)
        furthest = int(np.argmax(hand_s))
        rank = float(np.asarray(self.rank(candidate, now_s))[0])
        if hand_s[furthest] >= self.ahead_s and rank < EPOCH_S:
            return furthest
        turn_s = np.where(_thinks(running), running.queued_since_s, -np.inf)
        last = int(np.argmax(turn_s))
        return last if rank < 0.0 and turn_s[last] >= 0.0 else None

    def review_tokens(self, view: RequestView, now_s: float) -> ArrayLike:
        """Those who think: a turn. Answers: what is missing until they are ahead by enough."""
        missing = (self.ahead_s - self._read_s(view) + now_s) * self.reader_tokens_per_s
        return np.where(_thinks(view), self.quantum_tokens, np.maximum(missing, 16.0))

    def review_at(self, view: RequestView, now_s: float) -> ArrayLike:
        """When a waiting answer is due."""
        waits = ~(view.running | _thinks(view))
        return np.where(waits, self._read_s(view) - self.back_s, np.inf)

    def on_review(self, view: RequestView, now_s: float) -> ArrayLike:
        """A turn of thinking is over; an answer gives way if its reader has enough."""
        enough = _thinks(view) | (self._read_s(view) - now_s >= self.ahead_s)
        return np.where(enough, Action.PARK, Action.KEEP)

    def _read_s(self, view: RequestView) -> np.ndarray:
        """When its reader will have read what there is of the answer (seconds); NaN if none."""
        return view.first_answer_s + view.answer_tokens / self.reader_tokens_per_s


def _thinks(view: RequestView) -> np.ndarray:
    """Who is thinking, or has no word of its answer yet: bool[k]."""
    return view.thinking | np.isnan(view.first_answer_s)
