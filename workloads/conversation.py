"""What earlier requests of a session leave in the prompts of later ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.prefix import PromptSegments

SHARED = 0  # segment of the tokens before every prompt of a class
NOBODY = -1  # segment of generated tokens that no later prompt quotes


class ThinkingRetention(StrEnum):
    """Which thinking stays in the prompts that follow."""

    DROP_ALL = "drop_all"
    """None: the template strips it at once, also between two tool calls."""
    KEEP_WITHIN_TOOL_LOOP = "keep_within_tool_loop"
    """That of the turn under way; stripped when the user speaks again."""
    KEEP_TOOL_TURNS = "keep_tool_turns"
    """That which led to a tool call, for good; the thinking before a final answer is stripped."""
    KEEP_ALL = "keep_all"
    """All of it, for good."""


@dataclass(frozen=True, eq=False)
class Script:
    """Requests of sessions, one session after the other, each in order.

    session, turn: int64[n], numbered from 0 through all of them. said: int64[n], tokens that are
    new in the prompt: a user's message (with whatever stands before the first one) or a tool's
    result. thinking, answer: int64[n], tokens generated. calls_tool: bool[n], whether the answer
    is a call, whose result the next request brings.
    """

    session: NDArray[np.int64]
    turn: NDArray[np.int64]
    said: NDArray[np.int64]
    thinking: NDArray[np.int64]
    answer: NDArray[np.int64]
    calls_tool: NDArray[np.bool_]

    def contexts(self, retention: ThinkingRetention) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Each prompt as tokens that stay for good, and tokens of the tool loop under way.

        Both int64[n]; their sum is the length of the prompt. The second is 0 unless thinking is
        kept within tool loops only.
        """
        kept = {
            ThinkingRetention.KEEP_ALL: self.thinking,
            ThinkingRetention.KEEP_TOOL_TURNS: np.where(self.calls_tool, self.thinking, 0),
        }.get(retention, np.zeros_like(self.thinking))
        opens_session = changes(self.session)
        generated = self.answer + kept
        context = cumulative_within(opens_session, self.said + generated) - generated
        if retention is not ThinkingRetention.KEEP_WITHIN_TOOL_LOOP:
            return context, np.zeros_like(context)
        # From the first thinking of a turn on, what will stay stands still, and the loop grows.
        rows = np.arange(len(context))
        anchor = np.maximum.accumulate(np.where(self._first_thoughts(), rows, 0))
        anchor = np.where(self._after_thinking(), anchor, rows)
        generated = self.answer + self.thinking
        everything = np.cumsum(self.said + generated) - generated
        return context[anchor], everything - everything[anchor]

    def segments(
        self,
        context: NDArray[np.int64],
        loop: NDArray[np.int64],
        retention: ThinkingRetention,
        shared_tokens: int,
    ) -> PromptSegments:
        """What the prompts share: the class's prefix, the session's context, the loop under way.

        `context` and `loop` as from `contexts`; `shared_tokens` is the length of the prefix.
        """
        n = len(self.session)
        session_id = 1 + self.session
        loop_id = 2 + (self.session[-1] if n else 0) + self.turn
        ids = np.column_stack([np.full(n, SHARED), session_id, loop_id])
        tokens = np.column_stack([np.full(n, shared_tokens), context - shared_tokens, loop])
        present = tokens > 0
        if retention is ThinkingRetention.KEEP_WITHIN_TOOL_LOOP:
            in_loop = self._after_thinking() | (self._first_thoughts() & self.calls_tool)
        else:
            in_loop = np.zeros(n, dtype=bool)
        kept = {
            ThinkingRetention.KEEP_ALL: np.ones(n, dtype=bool),
            ThinkingRetention.KEEP_TOOL_TURNS: self.calls_tool,
        }.get(retention, np.zeros(n, dtype=bool))
        answer_id = np.where(in_loop, loop_id, session_id)
        thinking_id = np.where(in_loop | kept, answer_id, NOBODY)
        return PromptSegments(
            start=np.concatenate(([0], np.cumsum(present.sum(axis=1)))).astype(np.int64),
            segment_id=ids[present].astype(np.int64),
            tokens=tokens[present].astype(np.int64),
            output_id=np.column_stack([thinking_id, answer_id]).astype(np.int64),
        )

    def compacted(
        self,
        retention: ThinkingRetention,
        max_context_tokens: int,
        remains_tokens: NDArray[np.int64],
    ) -> Script:
        """The same requests, each prompt that would be too long beginning a new context.

        `remains_tokens`: int64[n], what is left of the old context if it ends before request i.
        Contexts count as sessions, and as turns, of their own. A request that is too long even
        then, or as the first of its session, stays so.
        """
        said = self.said.copy()
        splits = np.zeros(len(said), dtype=bool)
        rows = np.arange(len(said))  # of each session what comes after its last compaction so far
        while len(rows):
            part = replace(self._rows(rows), said=said[rows])
            context, loop = part.contexts(retention)
            opens = changes(part.session)
            too_long = (context + loop > max_context_tokens) & ~opens
            count = cumulative_within(opens, too_long.astype(np.int64))
            first = rows[too_long & (count == 1)]
            said[first] += remains_tokens[first]
            splits[first] = True
            rows = rows[count >= 1]
        return replace(
            self,
            said=said,
            session=np.cumsum(changes(self.session) | splits) - 1,
            turn=np.cumsum(changes(self.turn) | splits) - 1,
        )

    def _rows(self, rows: NDArray[np.int64]) -> Script:
        return Script(
            session=self.session[rows],
            turn=self.turn[rows],
            said=self.said[rows],
            thinking=self.thinking[rows],
            answer=self.answer[rows],
            calls_tool=self.calls_tool[rows],
        )

    def _after_thinking(self) -> NDArray[np.bool_]:
        """Whether an earlier request of the same turn has thought, bool[n]."""
        thought = cumulative_within(changes(self.turn), self.thinking) - self.thinking
        return np.asarray(thought > 0)

    def _first_thoughts(self) -> NDArray[np.bool_]:
        """Whether a request is the first of its turn that thinks, bool[n]."""
        return np.asarray((self.thinking > 0) & ~self._after_thinking())


def alone(prompt_tokens: NDArray[np.int64], shared_tokens: int) -> PromptSegments:
    """The segments of prompts that share nothing but the first `shared_tokens`."""
    n = len(prompt_tokens)
    each = np.arange(n)
    everything = Script(each, each, prompt_tokens, each, each, np.zeros(n, dtype=bool))
    nothing = np.zeros(n, dtype=np.int64)
    return everything.segments(prompt_tokens, nothing, ThinkingRetention.DROP_ALL, shared_tokens)


def changes(values: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each value differs from the one before it, bool[n]; the first does."""
    return np.concatenate((np.ones(min(len(values), 1), dtype=bool), values[1:] != values[:-1]))


def cumulative_within(starts: NDArray[np.bool_], values: NDArray[Any]) -> NDArray[Any]:
    """The sum of `values` since the last start, each included. Exact for whole numbers."""
    total = np.cumsum(values)
    first = np.flatnonzero(starts)
    before = (total - values)[first]
    return np.asarray(total - before[np.cumsum(starts) - 1], dtype=values.dtype)
