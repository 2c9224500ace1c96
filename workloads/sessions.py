"""Chats of several turns and loops of agents: who says what, and when.

A session is a series of turns; a turn begins with a message of the user and takes one request, or
several where the model calls tools: all but the last then end in a tool call, and the tool's result
begins the next. Whatever was said before is part of the next prompt; of what was *thought*, models
and chat templates keep more or less (`ThinkingRetention`), which decides how long prompts get and
up to where the cached prefix of the last request can be used again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from simulator.errors import InputError, Problem
from simulator.prefix import PromptSegments
from simulator.rng import luck
from workloads.batch import MAX_REQUESTS, MAX_TOKENS, Sessions
from workloads.conversation import Script, ThinkingRetention, changes, cumulative_within
from workloads.laws.law import Law
from workloads.lengths import LengthLaw
from workloads.queries import QueryLaws
from workloads.schema import Section
from workloads.session_laws import ConstantCount, ConstantPause, Count, Pause


class SessionLaws(Section):
    """How the sessions of a class go on after their first prompt.

    `turns`: messages of the user in a session. `requests_per_turn`: 1 + the tool calls of a turn.
    `user_tokens`: a later message (default: as the class's `prompt_tokens`, which is the first).
    `tool_call_tokens`: what is generated after the thinking to call a tool (default: as an answer);
    `tool_result_tokens`: what the tool says. `user_pause_s`: from an answer to the next message;
    `tool_pause_s`: from a call to its result. Before the first prompt longer than
    `max_context_tokens` a session ends or, with `compacted_tokens`, goes on with a summary of so
    many tokens in place of all that was said before.
    """

    turns: Count = ConstantCount(count=1)
    requests_per_turn: Count = ConstantCount(count=1)
    user_tokens: LengthLaw | None = None
    tool_call_tokens: LengthLaw | None = None
    tool_result_tokens: LengthLaw | None = None
    user_pause_s: Pause = ConstantPause(seconds=0.0)
    tool_pause_s: Pause = ConstantPause(seconds=0.0)
    thinking_retention: ThinkingRetention = Field(
        ThinkingRetention.KEEP_WITHIN_TOOL_LOOP,
        strict=False,
        description="Which thinking stays in later prompts.",
    )
    max_context_tokens: int | None = Field(None, ge=1, le=MAX_TOKENS)
    compacted_tokens: LengthLaw | None = None

    @field_validator("user_tokens", "tool_call_tokens", "tool_result_tokens", "compacted_tokens")
    @classmethod
    def _never_empty(cls, law: Law | None) -> Law | None:
        if law is not None and law.support()[0] < 1:
            raise ValueError("needs at least 1 token, and this law can draw 0")
        return law

    @model_validator(mode="after")
    def _tools_say_something(self) -> SessionLaws:
        if self.requests_per_turn != ConstantCount(count=1) and self.tool_result_tokens is None:
            raise ValueError("turns of several requests need tool_result_tokens")
        if self.compacted_tokens is not None and self.max_context_tokens is None:
            raise ValueError("compacted_tokens need max_context_tokens")
        return self

    def provenance(self) -> dict[str, str]:
        """Where turns and pauses come from, in words."""
        steps = f"{self.requests_per_turn.describe()} requests each"
        pauses = f"user {self.user_pause_s.describe()}; tools {self.tool_pause_s.describe()}"
        return {
            "turns": f"drawn: {self.turns.describe()}; {steps}",
            "pause_s": f"drawn: {pauses}",
            "earlier thinking": f"{self.thinking_retention.value} in later prompts",
        }


@dataclass(frozen=True, eq=False)
class SessionRequests:
    """The requests of sessions, one session after the other, its requests in order.

    offset_s: float64[n], seconds from the start of the session if everything were answered at
    once. dropped: sessions whose first prompt was too long. The other columns are as in
    `RequestBatch`; `sessions.session_id` counts from 0.
    """

    offset_s: NDArray[np.float64]
    prompt_tokens: NDArray[np.int64]
    thinking_tokens: NDArray[np.int64]
    answer_tokens: NDArray[np.int64]
    difficulty: NDArray[np.float64] | None
    sessions: Sessions
    segments: PromptSegments
    dropped: int = 0

    def take(self, rows: NDArray[np.int64]) -> SessionRequests:
        """The requests of `rows` (int64[k]); all that they wait for must be among them."""
        return SessionRequests(
            offset_s=self.offset_s[rows],
            prompt_tokens=self.prompt_tokens[rows],
            thinking_tokens=self.thinking_tokens[rows],
            answer_tokens=self.answer_tokens[rows],
            difficulty=None if self.difficulty is None else self.difficulty[rows],
            sessions=self.sessions.take(rows),
            segments=self.segments.take(rows),
            dropped=self.dropped,
        )


def draw_sessions(
    laws: SessionLaws, queries: QueryLaws, seed: int, entity: str, count: int
) -> SessionRequests:
    """The first `count` sessions of class `entity`; more sessions begin with the same ones.

    Raises InputError if they would have more than 100 million requests.
    """
    turns = laws.turns.quantile(luck(seed, "turns", entity, count))
    _require_plausible(entity, "turns", int(turns.sum()), count)
    steps = laws.requests_per_turn.quantile(luck(seed, "steps", entity, int(turns.sum())))
    n = int(steps.sum())
    _require_plausible(entity, "requests", n, count)
    turn = np.repeat(np.arange(len(steps)), steps)
    session = np.repeat(np.arange(count), turns)[turn]
    opens_turn, opens_session = changes(turn), changes(session)
    calls_tool = np.append(~opens_turn[1:], np.zeros(min(n, 1), dtype=bool))

    problem, difficulty = queries.problems(seed, entity, len(steps))
    prompt_luck = luck(seed, "prompt", entity, len(steps))
    prompt, thinking, answer = queries.lengths(
        np.column_stack([prompt_luck[turn], problem[turn], luck(seed, "answer", entity, n)]),
        luck(seed, "within_problem", entity, n),
    )
    said = prompt - np.where(opens_session, 0, queries.shared_prefix_tokens)
    for rows, law, column, own in (
        (opens_turn & ~opens_session, laws.user_tokens, said, prompt_luck[turn]),
        (~opens_turn, laws.tool_result_tokens, said, luck(seed, "tool_result", entity, n)),
        (calls_tool, laws.tool_call_tokens, answer, luck(seed, "tool_call", entity, n)),
    ):
        if law is not None:
            column[rows] = law.quantile(own[rows])
    pause_s = np.where(
        opens_turn,
        laws.user_pause_s.quantile(luck(seed, "user_pause", entity, n)),
        laws.tool_pause_s.quantile(luck(seed, "tool_pause", entity, n)),
    )
    pause_s[opens_session] = 0.0

    cap = MAX_TOKENS if queries.max_tokens is None else queries.max_tokens
    kept_thinking = np.minimum(thinking, cap)
    kept_answer = np.minimum(answer, cap - kept_thinking)
    script = Script(session, turn, said, kept_thinking, kept_answer, calls_tool)
    if laws.compacted_tokens is not None and laws.max_context_tokens is not None:
        summary = laws.compacted_tokens.quantile(luck(seed, "compacted", entity, n))
        script = script.compacted(
            laws.thinking_retention,
            laws.max_context_tokens,
            queries.shared_prefix_tokens + summary,
        )
    context, loop = script.contexts(laws.thinking_retention)
    ones = np.ones(n, dtype=np.int32)
    requests = SessionRequests(
        offset_s=cumulative_within(opens_session, pause_s),
        prompt_tokens=context + loop,
        thinking_tokens=thinking,
        answer_tokens=answer,
        difficulty=None if difficulty is None else difficulty[turn],
        sessions=Sessions(
            session_id=session,
            turn=cumulative_within(opens_session, ones) - np.int32(1),
            after=np.where(opens_session, -1, np.arange(n) - 1),
            pause_s=pause_s,
            query_id=turn,
        ),
        segments=script.segments(
            context, loop, laws.thinking_retention, queries.shared_prefix_tokens
        ),
    )
    if laws.max_context_tokens is None:
        return requests
    too_long = (requests.prompt_tokens > laws.max_context_tokens).astype(np.int64)
    kept = requests.take(np.flatnonzero(cumulative_within(opens_session, too_long) == 0))
    return replace(kept, dropped=int(too_long[opens_session].sum()))


def _require_plausible(entity: str, what: str, number: int, sessions: int) -> None:
    if number > MAX_REQUESTS:
        message = f"{number:.3g} {what} in {sessions:,} sessions of {entity}"
        message += f"; {MAX_REQUESTS:,} is the most"
        raise InputError(Problem(message, field="workload"))
