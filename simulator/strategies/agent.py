"""Think, search or call a tool, wait, read what came back, think on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simulator.quality import NOBODY
from simulator.rng import luck
from simulator.strategies.base import STRATEGIES, Answering, Call, Draft, Query, Strategy
from workloads.batch import MAX_TOKENS


class Steps(NamedTuple):
    """A request for each step, the last of which answers; pauses after each but the last."""

    calls: list[Call]
    pause_s: NDArray[np.float64]  # float64[searches, n]


@STRATEGIES.register("agent")
@dataclass(eq=False)
class Agent(Strategy):
    """The thinking of a query is spread over `searches` tool calls and the answer after them.

    Searching is an axis of compute of its own: b searches turn the part
    `gain` (1 - exp(-b / gain_searches)) of failures into successes, less with each. Thinking stays
    in the context (`keep_thinking`) or is dropped when a tool has been called.
    """

    source: ClassVar[str] = (
        "Yao et al., ReAct, arXiv:2210.03629; scaling of searches: Jin et al., Search-R1,"
        " arXiv:2503.09516"
    )

    searches: Annotated[int, Field(ge=0, le=256)] = 4
    """Searches or tool calls before the answer."""

    call_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] = 50
    """Tokens that a tool call takes."""

    result_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] = 1000
    """Tokens that a result puts into the prompt."""

    tool_s: Annotated[float, Field(ge=0.0)] = 1.0
    """Seconds that a tool takes, in the median."""

    tool_sigma: Annotated[float, Field(ge=0.0, le=5.0)] = 0.5
    """Standard deviation of the logarithm of these seconds."""

    gain: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Part of failures that endless searching turns into successes."""

    gain_searches: Annotated[float, Field(gt=0.0)] = 4.0
    """Searches after which 63 % of that is gained."""

    keep_thinking: bool = True
    """Whether earlier thinking stays in the prompt."""

    def plan(self, draft: Draft) -> Steps:
        """The attempt that the workload drew, cut into equal parts by tool calls."""
        from scipy.special import ndtri

        natural, answer = draft.lengths_below_cap(0)
        lift = self.gain * -math.expm1(-self.searches / self.gain_searches)
        pause_s = np.empty((self.searches, len(draft)))
        calls: list[Call] = []
        prompt = draft.own
        for step in range(self.searches + 1):
            last = step == self.searches
            part = natural * (step + 1) // (self.searches + 1)
            part = part - natural * step // (self.searches + 1)
            call = draft.ask(
                prompt,
                part,
                answer if last else self.call_tokens,
                pool=draft.any_pool(self.pool),
                answers=draft.answers(0, natural, lift) if last else None,
            )
            calls.append(call)
            if not last:
                drawn = luck(draft.seed, "tool_pause", "", draft.numbers_end, sample=step)
                pause_s[step] = self.tool_s * np.exp(
                    self.tool_sigma * ndtri(drawn[draft.queries.number])
                )
                kept = (
                    call.transcript()
                    if self.keep_thinking
                    else prompt.then(draft.new(self.call_tokens))
                )
                prompt = kept.then(draft.new(self.result_tokens))
        return Steps(calls, pause_s)

    def answer(self, query: Query, plan: Steps) -> Answering:
        """Steps and pauses by turns."""
        last = len(plan.calls) - 1
        for step, call in enumerate(plan.calls):
            request = query.send(call)
            yield request
            if not request.completed:
                return NOBODY
            if step == last:
                return request.answer
            yield query.pause(float(plan.pause_s[step, query.place]))
        return NOBODY
