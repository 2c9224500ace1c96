"""Early rejection: who would be answered too late anyway is told so at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simulator.admission.base import ADMISSIONS, Admission, Replicas
from simulator.admission.bookkeeping import Answers, LetIn, Pace
from simulator.errors import InputError, Problem
from simulator.facts import RequestFacts

Target = Annotated[float, Field(gt=0.0)] | None


@ADMISSIONS.register("slo_reject")
@dataclass(eq=False)
class SloReject(Admission):
    """Rejects a request whose estimated ttft or e2el is above its target.

    With v the tokens a second that a request in service gets, B the requests in service, Q the
    predicted output tokens of the requests that wait, and L those of the request at hand:

        ttft = Q / (v B)         e2el = ttft + L / v

    The batch as a whole makes v B tokens a second, and whoever is last in the queue is let in when
    about as much work has been done as waits before it. v is observed: output tokens after the
    first, over the seconds they took, of requests that were answered, those long ago weighing
    less. Until one was, everybody is let in. The time in which prompts are computed is left out.

    Where nobody has waited for `settled_s` there is no queue, only arrivals between two iterations.
    """

    source: ClassVar[str] = (
        "Qin et al., Mooncake (early rejection based on prediction), arXiv:2407.00079"
    )
    needs_snapshot: ClassVar[bool] = True
    needs_prediction: ClassVar[bool] = True

    ttft_s: Target = None
    """Target of the time to first token (seconds), if there is one."""

    e2el_s: Target = None
    """Target of the time to the last token (seconds), if there is one for all; a request may have
    its own."""

    slack: Annotated[float, Field(gt=0.0)] = 1.0
    """Times its target that an estimate may be: above 1 lets more requests in."""

    remembered_requests: Annotated[float, Field(ge=1.0)] = 100.0
    """Answers after which one weighs 1/e of the latest in v."""

    settled_s: Annotated[float, Field(ge=0.0)] = 1.0
    """A wait below this (seconds) is none; should be longer than an iteration."""

    @property
    def watches_answers(self) -> bool:
        """The speed is learnt from answers."""
        return True

    def start(self, facts: RequestFacts) -> None:
        """Nothing is known yet. Raises `InputError` without a target, or a prediction."""
        due_s = np.minimum(facts.due_s, np.inf if self.e2el_s is None else self.e2el_s)
        if self.ttft_s is None and not np.isfinite(due_s).any():
            message = "slo_reject has no target: give ttft_s or e2el_s, or requests that are due"
            raise InputError(Problem(message, field="admission"))
        self._due_s = self.slack * due_s
        self._ttft_s = np.inf if self.ttft_s is None else self.slack * self.ttft_s
        self._predictor = facts.predictor
        self._let_in = LetIn()
        self._answers = Answers()
        if len(facts) and np.isnan(self._predicted(0)):
            raise InputError(Problem("slo_reject needs a predictor", field="admission"))
        self._pace = Pace(self.remembered_requests)

    def refusal(self, row: int, now_s: float, replicas: Replicas | None) -> str | None:
        """Which target is out of reach."""
        assert replicas is not None
        for finish_s, _, tokens, first_token_s in self._answers.until(now_s):
            self._pace.learn(tokens - 1, finish_s - first_token_s)
        pace_s = self._pace.seconds_per_token  # NaN at first, which is above no target
        ttft_s = self._wait_tokens(now_s, replicas) * pace_s
        if ttft_s > self._ttft_s:
            return "ttft target out of reach"
        if ttft_s + self._predicted(row) * pace_s > self._due_s[row]:
            return "e2el target out of reach"
        return None

    def _wait_tokens(self, now_s: float, replicas: Replicas) -> float:
        """Q / B: tokens that each request in service makes before a newcomer's turn comes."""
        waiting = int(replicas.num_waiting.sum())
        if waiting == 0 or now_s - self._let_in.since_s(waiting) < self.settled_s:
            return 0.0
        return self._let_in.last(waiting) / max(int(replicas.num_running.sum()), 1)

    def _predicted(self, row: int) -> float:
        rows = np.array([row], dtype=np.int64)
        return float(self._predictor.total_tokens(rows, np.zeros(1, dtype=np.int64))[0])

    def admitted(self, row: int, now_s: float) -> None:
        """It waits, until shorter queues are seen."""
        self._let_in.add(self._predicted(row), now_s)

    def answered(
        self,
        rows: NDArray[np.int64],
        output_tokens: NDArray[np.int64],
        first_token_s: NDArray[np.float64],
        finish_s: NDArray[np.float64],
    ) -> None:
        """Speeds to learn from, once they are due."""
        self._answers.add(rows, output_tokens, first_token_s, finish_s)
