"""Requests as columns: what a workload hands to the simulator."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.prefix import PromptSegments

MAX_REQUESTS = 100_000_000
"""More requests than this in one batch is taken for a mistake (they would need over 5 GB)."""

MAX_TOKENS = 2**31 - 1
"""No length, drawn or traced, is above this (tokens)."""


@dataclass(frozen=True, eq=False)
class ClosedLoop:
    """Clients who wait for an answer before they send again: when is known only once they did.

    concurrency: clients, each with one request in flight at most.
    pause_s: float64[n], seconds between the k-th answer and the request that it lets go.
    """

    concurrency: int
    pause_s: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sessions:
    """Requests that belong together: turns of a chat, steps of an agent.

    session_id: int64[n], -1 for a request of no session. turn: int32[n], which request of its
    session it is, from 0.
    after: int64[n], the row whose answer lets this request go, `pause_s` (float64[n], seconds)
    later; -1 if it arrives by the clock. A row comes before those that wait for it.
    query_id: int64[n], equal for the requests that answer one query (an agent's steps between two
    messages of its user); None if each is a query of its own.
    """

    session_id: NDArray[np.int64]
    turn: NDArray[np.int32]
    after: NDArray[np.int64]
    pause_s: NDArray[np.float64]
    query_id: NDArray[np.int64] | None = None

    def check(self, n: int) -> None:
        """Raises ValueError if the columns do not fit `n` requests or each other."""
        columns: dict[str, tuple[NDArray[Any], type]] = {
            "session_id": (self.session_id, np.int64),
            "turn": (self.turn, np.int32),
            "after": (self.after, np.int64),
            "pause_s": (self.pause_s, np.float64),
        }
        for name, (column, dtype) in columns.items():
            if column.dtype != dtype or column.shape != (n,):
                raise ValueError(f"{name}: expected {np.dtype(dtype)}[{n}]")
        if (self.after >= np.arange(n)).any() or (n and self.after.min() < -1):
            raise ValueError("after: a request can only wait for an earlier row")
        if n and not (self.pause_s >= 0).all():
            raise ValueError("pause_s: pauses must not be negative")
        if self.query_id is not None and self.query_id.shape != (n,):
            raise ValueError(f"query_id: expected int64[{n}]")

    def take(self, rows: NDArray[np.int64]) -> Sessions:
        """The sessions of `rows` (int64[k]), in that order; all that they wait for must be there.

        Raises ValueError if a row comes before the one it waits for.
        """
        place = np.full(len(self.after), -1, dtype=np.int64)
        place[rows] = np.arange(len(rows))
        after = self.after[rows]
        moved = np.where(after >= 0, place[after], -1)
        if (moved[after >= 0] < 0).any() or (moved >= np.arange(len(rows))).any():
            raise ValueError("after: a request can only wait for an earlier row")
        return Sessions(
            session_id=self.session_id[rows],
            turn=self.turn[rows],
            after=moved,
            pause_s=self.pause_s[rows],
            query_id=None if self.query_id is None else self.query_id[rows],
        )


@dataclass(frozen=True, eq=False)
class RequestBatch:
    """`n` requests in order of arrival, drawn before any policy acts.

    arrival_s: float64[n], seconds from the start of the run, non-decreasing. Of a request that
    waits for another one's answer it is the earliest that is possible, with nothing served yet.
    prompt_tokens, thinking_tokens, answer_tokens: int64[n]; a prompt has at least 1, and so have
    thinking and answer together.
    max_tokens: int64[n], cap on thinking + answer tokens, 0 for none.
    class_id, client_id: int32[n], indices into `class_names` and `client_names`.
    difficulty: float64[n] in [0, 1] of the query behind each request, NaN where unknown.
    records_thinking: False where answer_tokens are all that was generated, thinking included.
    provenance: column -> where its values come from, "trace: ..." or "drawn: ...".
    dropped: reason -> rows that a trace reader left out.
    closed_loop: who sends the requests, if arrival_s is not known beforehand (all 0 then).
    sessions, segments: which requests belong together, and what their prompts share.
    class_slo, class_value_usd: class -> its own latency targets (seconds by name), and what a
    correct answer is worth; class_priority: class -> how urgent it is, smaller first (else 0).

    Raises ValueError if the columns break any of this.
    """

    arrival_s: NDArray[np.float64]
    prompt_tokens: NDArray[np.int64]
    thinking_tokens: NDArray[np.int64]
    answer_tokens: NDArray[np.int64]
    max_tokens: NDArray[np.int64]
    class_id: NDArray[np.int32]
    class_names: tuple[str, ...] = ("default",)
    provenance: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    closed_loop: ClosedLoop | None = None
    client_id: NDArray[np.int32] | None = None
    client_names: tuple[str, ...] = ("default",)
    difficulty: NDArray[np.float64] | None = None
    sessions: Sessions | None = None
    segments: PromptSegments | None = None
    records_thinking: bool = True
    class_slo: dict[str, dict[str, float]] = field(default_factory=dict)
    class_value_usd: dict[str, float] = field(default_factory=dict)
    class_priority: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (len(self.arrival_s),)
        columns: dict[str, tuple[NDArray[Any], type, int]] = {
            "arrival_s": (self.arrival_s, np.float64, 0),
            "prompt_tokens": (self.prompt_tokens, np.int64, 1),
            "thinking_tokens": (self.thinking_tokens, np.int64, 0),
            "answer_tokens": (self.answer_tokens, np.int64, 0),
            "max_tokens": (self.max_tokens, np.int64, 0),
            "class_id": (self.class_id, np.int32, 0),
        }
        for name, (column, dtype, least) in columns.items():
            if column.dtype != dtype or column.shape != shape:
                raise ValueError(f"{name}: expected {np.dtype(dtype)}{list(shape)}")
            if column.size and not column.min() >= least:
                raise ValueError(f"{name}: values must be at least {least}")
        if ((self.thinking_tokens == 0) & (self.answer_tokens == 0)).any():
            raise ValueError("answer_tokens: a request generates at least 1 token")
        if not np.isfinite(self.arrival_s).all() or np.any(np.diff(self.arrival_s) < 0):
            raise ValueError("arrival_s: times must be finite and non-decreasing")
        if self.class_id.size and self.class_id.max() >= len(self.class_names):
            raise ValueError("class_id: an id has no name in class_names")
        if self.client_id is not None:
            if self.client_id.dtype != np.int32 or self.client_id.shape != shape:
                raise ValueError(f"client_id: expected int32{list(shape)}")
            if self.client_id.size and not (
                self.client_id.min() >= 0 and self.client_id.max() < len(self.client_names)
            ):
                raise ValueError("client_id: an id has no name in client_names")
        if self.difficulty is not None and self.difficulty.shape != shape:
            raise ValueError(f"difficulty: expected float64{list(shape)}")
        if self.sessions is not None:
            self.sessions.check(len(self))
        if self.segments is not None:
            if len(self.segments) != len(self):
                raise ValueError("segments: needs every request")
            if (self.segments.prompt_tokens() != self.prompt_tokens).any():
                raise ValueError("segments: a prompt's segments must add up to prompt_tokens")
        loop = self.closed_loop
        if loop is not None and (loop.concurrency < 1 or loop.pause_s.shape != shape):
            raise ValueError("closed_loop: needs a client, and a pause for every request")

    def __len__(self) -> int:
        return len(self.arrival_s)

    def first(self, count: int) -> RequestBatch:
        """The first `count` requests, the rest of their queries, and all that wait for these."""
        n = len(self)
        if count >= n:
            return self
        if self.sessions is None:
            return self.take(np.arange(count))
        after = self.sessions.after.tolist()
        query_id = self.sessions.query_id
        queries = list(range(n)) if query_id is None else query_id.tolist()
        kept, begun = [False] * n, set(queries[:count])
        for i in range(n):
            waits = after[i] >= 0
            wanted = i < count or queries[i] in begun or (waits and kept[after[i]])
            if wanted and (not waits or kept[after[i]]):
                kept[i] = True
                begun.add(queries[i])
        return self.take(np.flatnonzero(kept))

    @property
    def has_followers(self) -> bool:
        """Whether some requests wait for others, so that their times follow from the run."""
        return self.sessions is not None and bool((self.sessions.after >= 0).any())

    def take(
        self, rows: NDArray[np.int64], arrival_s: NDArray[np.float64] | None = None
    ) -> RequestBatch:
        """The requests `rows` (int64[k], in order of arrival), if given with new `arrival_s`.

        Raises ValueError if one waits for a request that is not among them.
        """
        loop = self.closed_loop
        return replace(
            self,
            arrival_s=self.arrival_s[rows] if arrival_s is None else arrival_s,
            prompt_tokens=self.prompt_tokens[rows],
            thinking_tokens=self.thinking_tokens[rows],
            answer_tokens=self.answer_tokens[rows],
            max_tokens=self.max_tokens[rows],
            class_id=self.class_id[rows],
            client_id=None if self.client_id is None else self.client_id[rows],
            difficulty=None if self.difficulty is None else self.difficulty[rows],
            sessions=None if self.sessions is None else self.sessions.take(rows),
            segments=None if self.segments is None else self.segments.take(rows),
            closed_loop=None if loop is None else replace(loop, pause_s=loop.pause_s[rows]),
        )
