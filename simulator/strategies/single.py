"""One chain of thought, as long as the model likes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from simulator.strategies.base import STRATEGIES, Call, Draft, Strategy


@STRATEGIES.register("single")
@dataclass(eq=False)
class Single(Strategy):
    """A query is one request, and what that says is the answer."""

    source: ClassVar[str] = "no test-time compute but the model's own thinking"

    def plan(self, draft: Draft) -> Call:
        """The attempt that the workload drew."""
        thinking, answer = draft.lengths(0)
        return draft.ask(
            draft.own, thinking, answer, answers=draft.answers(0), pool=draft.any_pool(self.pool)
        )
