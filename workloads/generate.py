"""From the laws of a class to its requests, and from the requests of classes to one batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from simulator.prefix import PromptSegments
from workloads.batch import MAX_TOKENS, RequestBatch, Sessions
from workloads.conversation import alone
from workloads.queries import QueryLaws
from workloads.sessions import SessionLaws, SessionRequests, draw_sessions


def class_batch(
    queries: QueryLaws,
    seed: int,
    name: str,
    starts_s: NDArray[np.float64],
    *,
    session: SessionLaws | None = None,
    client: str | None = None,
    most: int | None = None,
) -> RequestBatch:
    """The requests of class `name` whose queries, or whose sessions, start at `starts_s`.

    `starts_s`: float64[n], seconds, non-decreasing. The draws depend on `seed` and `name` only. If
    only the first `most` requests are wanted, later ones may be missing.
    """
    dropped: dict[str, int] = {}
    if session is None:
        drawn = queries.draw(seed, name, len(starts_s))
        arrival_s, sessions = starts_s, None
        prompt, thinking, answer = drawn.prompt_tokens, drawn.thinking_tokens, drawn.answer_tokens
        shared = queries.shared_prefix_tokens
        segments = alone(prompt, shared) if shared else None
        difficulty = drawn.difficulty
    else:
        spoken, arrival_s = _sessions_from(session, queries, seed, name, starts_s, most)
        order = np.argsort(arrival_s, kind="stable")
        arrival_s, spoken = arrival_s[order], spoken.take(order)
        sessions, segments = spoken.sessions, spoken.segments
        prompt, thinking = spoken.prompt_tokens, spoken.thinking_tokens
        answer, difficulty = spoken.answer_tokens, spoken.difficulty
        if spoken.dropped:
            reason = f"first prompt of a session of {name} beyond max_context_tokens"
            dropped[reason] = spoken.dropped
    rows = len(arrival_s)
    return RequestBatch(
        arrival_s=arrival_s,
        prompt_tokens=prompt,
        thinking_tokens=thinking,
        answer_tokens=answer,
        max_tokens=np.full(rows, queries.max_tokens or 0, dtype=np.int64),
        class_id=np.zeros(rows, dtype=np.int32),
        class_names=(name,),
        provenance=queries.provenance() | (session.provenance() if session else {}),
        client_id=np.zeros(rows, dtype=np.int32),
        client_names=(client or name,),
        dropped=dropped,
        difficulty=difficulty,
        sessions=sessions,
        segments=segments,
    )


def _sessions_from(
    session: SessionLaws,
    queries: QueryLaws,
    seed: int,
    name: str,
    starts_s: NDArray[np.float64],
    most: int | None,
) -> tuple[SessionRequests, NDArray[np.float64]]:
    """The requests of the sessions, and when each comes if all were answered at once.

    With `most`, of as many sessions as are enough for the first so many requests: that many come
    before the first session that is left out.
    """
    count = len(starts_s) if most is None else min(256, len(starts_s))
    while True:
        drawn = draw_sessions(session, queries, seed, name, count)
        arrival_s = starts_s[drawn.sessions.session_id] + drawn.offset_s
        if most is None or count == len(starts_s):
            return drawn, arrival_s
        if (arrival_s < starts_s[count]).sum() >= most:
            return drawn, arrival_s
        each = len(arrival_s) / count or 1.0  # requests that a session brings
        count = min(max(count + count // 2, int(1.25 * most / each)), len(starts_s))


def served_at(batch: RequestBatch, tpot_s: float) -> RequestBatch:
    """The same requests, when each output token took `tpot_s` seconds and nothing else any time.

    Moves the requests that wait for others, for traces that can't say so.
    """
    if not batch.has_followers or tpot_s == 0.0:
        return batch
    assert batch.sessions is not None
    sessions = batch.sessions
    cap = np.where(batch.max_tokens > 0, batch.max_tokens, MAX_TOKENS)
    output = np.minimum(batch.thinking_tokens + batch.answer_tokens, cap)
    arrival_s = batch.arrival_s.copy()
    rows = np.flatnonzero(sessions.after >= 0)
    settled = sessions.after < 0
    while len(rows):  # those who wait for the first, then those who wait for them ...
        now = rows[settled[sessions.after[rows]]]
        before = sessions.after[now]
        arrival_s[now] = arrival_s[before] + output[before] * tpot_s + sessions.pause_s[now]
        settled[now] = True
        rows = rows[~settled[rows]]
    order = np.argsort(arrival_s, kind="stable")
    return batch.take(order, arrival_s[order])


def combine(batches: Sequence[RequestBatch]) -> RequestBatch:
    """The requests of several batches in order of arrival; of equal times, in that of the batches.

    Classes and clients of equal names become one. Raises ValueError for closed loops, which have no
    times to sort by.
    """
    if any(batch.closed_loop is not None for batch in batches):
        raise ValueError("closed loops can't be combined")
    arrival_s = np.concatenate([batch.arrival_s for batch in batches])
    order = np.argsort(arrival_s, kind="stable")

    def column(name: str) -> NDArray[np.int64]:
        return np.concatenate([getattr(batch, name) for batch in batches])[order]

    class_names, class_ids = _merged([(b.class_names, b.class_id) for b in batches])
    client_names, client_ids = _merged([(b.client_names, _client_id(b)) for b in batches])
    difficulty = None
    if any(batch.difficulty is not None for batch in batches):
        parts = [np.full(len(b), np.nan) if b.difficulty is None else b.difficulty for b in batches]
        difficulty = np.concatenate(parts)[order]
    sessions, segments = _sessions(batches), _segments(batches)
    dropped: dict[str, int] = {}
    for batch in batches:
        for reason, rows in batch.dropped.items():
            dropped[reason] = dropped.get(reason, 0) + rows
    return RequestBatch(
        arrival_s=arrival_s[order],
        prompt_tokens=column("prompt_tokens"),
        thinking_tokens=column("thinking_tokens"),
        answer_tokens=column("answer_tokens"),
        max_tokens=column("max_tokens"),
        class_id=class_ids[order],
        class_names=class_names,
        client_id=client_ids[order],
        client_names=client_names,
        difficulty=difficulty,
        dropped=dropped,
        sessions=None if sessions is None else sessions.take(order),
        segments=None if segments is None else segments.take(order),
    )


def _client_id(batch: RequestBatch) -> NDArray[np.int32]:
    return np.zeros(len(batch), dtype=np.int32) if batch.client_id is None else batch.client_id


def _merged(
    named: Sequence[tuple[tuple[str, ...], NDArray[np.int32]]],
) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """All names, each once, and the ids of all rows in terms of them."""
    names = list(dict.fromkeys(name for own, _ in named for name in own))
    places = {name: i for i, name in enumerate(names)}
    ids = [np.array([places[name] for name in own], dtype=np.int32)[id_] for own, id_ in named]
    return tuple(names), np.concatenate(ids)


def _sessions(batches: Sequence[RequestBatch]) -> Sessions | None:
    """The sessions of all batches, one after the other, each with ids of its own."""
    if all(batch.sessions is None for batch in batches):
        return None
    parts, rows, ids = [], 0, 0
    for batch in batches:
        n = len(batch)
        own = batch.sessions or Sessions(
            session_id=np.full(n, -1, dtype=np.int64),
            turn=np.zeros(n, dtype=np.int32),
            after=np.full(n, -1, dtype=np.int64),
            pause_s=np.zeros(n),
        )
        query_id = np.arange(n) if own.query_id is None else own.query_id
        query_id = np.unique(query_id, return_inverse=True)[1]
        parts.append(
            Sessions(
                session_id=np.where(own.session_id >= 0, own.session_id + ids, -1),
                turn=own.turn,
                after=np.where(own.after >= 0, own.after + rows, -1),
                pause_s=own.pause_s,
                query_id=query_id + rows,
            )
        )
        rows += n
        ids += int(own.session_id.max(initial=-1)) + 1
    fields = ("session_id", "turn", "after", "pause_s", "query_id")
    return Sessions(**{f: np.concatenate([getattr(part, f) for part in parts]) for f in fields})


def _segments(batches: Sequence[RequestBatch]) -> PromptSegments | None:
    """What the prompts of all batches share, each batch with segments of its own."""
    if all(batch.segments is None for batch in batches):
        return None
    parts, used = [], 0
    for batch in batches:
        own = batch.segments or alone(batch.prompt_tokens, 0)
        parts.append(own.renamed(used))
        used = max(used, parts[-1].highest_id + 1)
    return PromptSegments.concatenate(parts)
