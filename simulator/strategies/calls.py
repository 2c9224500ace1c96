"""Planned requests, and the answers that they keep to themselves until they have finished."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from simulator.strategies.prompts import Column, Part, Prompt

Where: TypeAlias = NDArray[np.bool_]
Tokens: TypeAlias = "Column | int"


@dataclass(eq=False)
class Sealed:
    """Answers that are known only when a request has finished: int64[pools, n], ids.

    What one is depends on the pool whose model gives it. `RIGHT` and `DOMINANT` of
    `simulator.quality`, or a number of its own. When the plan is made they are taken away.
    """

    _by_pool: Column | None

    def open(self) -> Column:
        """int64[pools, n]; for those who run the plan, not for those who make it."""
        if self._by_pool is None:
            raise ValueError("answers are told when a request has finished, not before")
        return self._by_pool

    def close(self) -> None:
        """The plan is made: nobody opens it any more."""
        self._by_pool = None


@dataclass(eq=False)
class Call:
    """A request that each of n queries may send, as columns; made by `Draft.ask`.

    index: its number in the draft. pool: where it must go, None for wherever the router says.
    where: bool[n], the queries that have it. thinking_tokens, answer_tokens, max_tokens: int64[n],
    the cap 0 for none. segment: int64[n], of what it generates. answers: what it says, None if it
    gives no answer. scores: float64[n] that a verifier gives, None if it is none. In the run only
    its number is left: how long a request will think is not for its query to know.
    """

    index: int
    pool: str | None
    where: Where
    prompt: Prompt
    thinking_tokens: Column
    answer_tokens: Column
    max_tokens: Column
    segment: Column
    answers: Sealed | None
    scores: NDArray[np.float64] | None

    def transcript(self, tokens: Tokens | None = None) -> Prompt:
        """Its prompt, and the first `tokens` that it generates (None: all of them)."""
        quoted = self.thinking_tokens + self.answer_tokens if tokens is None else tokens
        quoted = np.broadcast_to(np.asarray(quoted, dtype=np.int64), self.segment.shape)
        before = 0
        if self.prompt.parts and (self.prompt.parts[-1].segment == self.segment).all():
            before = self.prompt.parts[-1].tokens  # type: ignore[assignment]
        return self.prompt.then(Part(self.segment, quoted + before))

    def forget(self) -> None:
        """The plan is made, and its columns are elsewhere."""
        for name in ("where", "prompt", "thinking_tokens", "answer_tokens", "segment"):
            delattr(self, name)
        if self.answers is not None:
            self.answers.close()
        self.answers = self.scores = None
