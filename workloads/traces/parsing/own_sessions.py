"""The columns of ponder's own format that say which requests belong together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.errors import InputError, Problem
from workloads.batch import Sessions
from workloads.traces.parsing.columns import MISSING, Table
from workloads.traces.parsing.turns import previous_turns, turns_by_time


def sessions(table: Table, rows: NDArray[np.int64], file: str) -> Sessions | None:
    """The sessions of `rows` (int64[k], in order of time); None if no row is in one or waits.

    Raises InputError if some rows of sessions have a turn and others have none.
    """
    n = table.rows
    none = np.full(n, -1, dtype=np.int64)
    session_id = table.identities("session_id") if "session_id" in table else none
    after = table.whole("after", -1)
    query_id = table.whole("query_id", -1)
    if (session_id < 0).all() and after is None and query_id is None:
        return None
    session_id = session_id[rows]
    turn = _turns(table, session_id, rows, file)
    pause_s = (table.numbers("pause_s") if "pause_s" in table else np.full(n, np.nan))[rows]
    waits = ~np.isnan(pause_s) & (turn > 0)
    before = np.where(waits, previous_turns(session_id, turn), -1)
    if after is not None:
        _check_after(after, file)
        place = np.full(n + 1, -1, dtype=np.int64)  # the last one stands for none
        place[rows] = np.arange(len(rows))
        named = place[np.where(after < 0, n, np.minimum(after, n))][rows]
        named = np.where(named < np.arange(len(rows)), named, -1)
        before = np.where(after[rows] >= 0, named, before)
    if query_id is not None:
        query_id = query_id[rows]
        alone = query_id < 0
        query_id[alone] = query_id.max() + 1 + np.arange(int(alone.sum()))
    return Sessions(
        session_id=session_id,
        turn=turn,
        after=before,
        pause_s=np.where((before >= 0) & ~np.isnan(pause_s), pause_s, 0.0),
        query_id=query_id,
    )


def _turns(
    table: Table, session_id: NDArray[np.int64], rows: NDArray[np.int64], file: str
) -> NDArray[np.int32]:
    if "turn" not in table:
        return turns_by_time(session_id)
    turn = table.numbers("turn")[rows]
    unknown = (turn == MISSING) & (session_id >= 0)
    if unknown.sum() == (session_id >= 0).sum():
        return turns_by_time(session_id)
    if unknown.any():
        message = f"is missing in {int(unknown.sum()):,} rows that have a session_id"
        raise InputError(Problem(message, file=file, field="turn"))
    return np.where(turn == MISSING, 0, turn).astype(np.int32)


def _check_after(after: NDArray[np.int64], file: str) -> None:
    wrong = np.flatnonzero(after >= len(after))
    if len(wrong):
        message = (
            f"row {int(wrong[0]):,} waits for row {int(after[wrong[0]]):,}, which is not there"
        )
        raise InputError(Problem(message, file=file, field="after"))
