"""Rate limits: so many requests or tokens a second, with bursts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simulator.admission.base import ADMISSIONS, Admission, Replicas
from simulator.admission.bookkeeping import Answers
from simulator.facts import RequestFacts

_ROUNDING = 1e-9  # of one request: a bucket that is full up to rounding lets it pass
_SECONDS_OF_BURST = 60.0


@ADMISSIONS.register("token_bucket")
@dataclass(eq=False)
class TokenBucket(Admission):
    """A bucket that fills at a constant rate up to a brim; who finds too little in it is rejected.

    By requests, each takes one out. By tokens, each takes its prompt out when it comes and its
    output when that is known, at its end, as gateways do that count usage; so a bucket may get
    below empty, and lets nobody pass until it is above.
    """

    source: ClassVar[str] = (
        "Envoy AI Gateway, usage-based rate limiting"
        " (https://aigateway.envoyproxy.io/docs/capabilities/usage-based-ratelimiting)"
    )

    rate_per_s: Annotated[float, Field(gt=0.0)] = 10.0
    """Requests or tokens a second that flow into a bucket."""

    burst: Annotated[float, Field(ge=1.0)] | None = None
    """Requests or tokens that a bucket holds at most, and at first; by default a minute's worth."""

    unit: Literal["requests", "tokens"] = "requests"
    """What is counted."""

    per: Literal["client", "cluster"] = "client"
    """Whose bucket it is: each client has its own, or all share one."""

    @property
    def watches_answers(self) -> bool:
        """Only output tokens have to be waited for."""
        return self.unit == "tokens"

    def start(self, facts: RequestFacts) -> None:
        """All buckets are full."""
        shared = self.per == "cluster"
        buckets = 1 if shared else len(facts.client_names)
        self._bucket = np.zeros(len(facts), np.int32) if shared else facts.client_id
        self._prompt_tokens = facts.prompt_tokens
        self._brim = max(self.burst or self.rate_per_s * _SECONDS_OF_BURST, 1.0)
        self._level = [self._brim] * buckets
        self._filled_s = [0.0] * buckets
        self._answers = Answers()

    def refusal(self, row: int, now_s: float, replicas: Replicas | None) -> str | None:
        """Whether there is too little in the bucket."""
        for finish_s, answered, tokens, _ in self._answers.until(now_s):
            self._take(self._fill(answered, finish_s), float(tokens))
        level = self._level[self._fill(row, now_s)]
        enough = level > 0.0 if self.unit == "tokens" else level >= 1.0 - _ROUNDING
        return None if enough else "rate limit"

    def admitted(self, row: int, now_s: float) -> None:
        """It takes out what is known of it."""
        known = float(self._prompt_tokens[row]) if self.unit == "tokens" else 1.0
        self._take(self._fill(row, now_s), known)

    def answered(
        self,
        rows: NDArray[np.int64],
        output_tokens: NDArray[np.int64],
        first_token_s: NDArray[np.float64],
        finish_s: NDArray[np.float64],
    ) -> None:
        """Output tokens are taken out, at the time of the last one."""
        self._answers.add(rows, output_tokens, first_token_s, finish_s)

    def _fill(self, row: int, now_s: float) -> int:
        """Let flow in what is due into the request's bucket; returns which one it is."""
        bucket = int(self._bucket[row])
        passed_s = now_s - self._filled_s[bucket]
        self._level[bucket] = min(self._level[bucket] + self.rate_per_s * passed_s, self._brim)
        self._filled_s[bucket] = now_s
        return bucket

    def _take(self, bucket: int, amount: float) -> None:
        self._level[bucket] -= amount
