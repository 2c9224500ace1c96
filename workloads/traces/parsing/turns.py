"""Rows that belong to one session: which turn each is, and whom it waits for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workloads.batch import Sessions


def turns_by_time(session_id: NDArray[np.int64]) -> NDArray[np.int32]:
    """The turn of each row, int32[n] from 0, by counting the rows of its session before it.

    session_id: int64[n] of rows in order of time; -1 for none, which is turn 0.
    """
    order = np.argsort(session_id, kind="stable")
    ordered = session_id[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1))
    turn = np.empty(len(ordered), dtype=np.int32)
    turn[order] = np.arange(len(ordered)) - np.repeat(
        starts, np.diff(np.append(starts, len(ordered)))
    )
    turn[session_id < 0] = 0
    return turn


def by_the_clock(session_id: NDArray[np.int64], turn: NDArray[np.int32]) -> Sessions:
    """Sessions whose requests arrive when they are recorded to, waiting for nobody."""
    n = len(session_id)
    return Sessions(
        session_id=session_id,
        turn=turn,
        after=np.full(n, -1, dtype=np.int64),
        pause_s=np.zeros(n),
    )


def previous_turns(session_id: NDArray[np.int64], turn: NDArray[np.int32]) -> NDArray[np.int64]:
    """The row of the previous turn of each row's session, int64[n]; -1 where there is none.

    Of several such rows it is the last one that comes before.
    """
    n = len(session_id)
    if not n:
        return np.empty(0, dtype=np.int64)
    order = np.lexsort((turn, session_id))
    session, number = session_id[order], turn[order].astype(np.int64)
    new = np.ones(n, dtype=bool)
    new[1:] = (session[1:] != session[:-1]) | (number[1:] != number[:-1])
    group = np.cumsum(new) - 1  # of each row in `order`; of rows of one (session, turn)
    starts = np.flatnonzero(new)
    follows = np.zeros(len(starts), dtype=bool)  # whether the group before is the previous turn
    follows[1:] = (session[starts[1:]] == session[starts[:-1]]) & (
        number[starts[1:]] == number[starts[:-1]] + 1
    )
    # Rows are in order within a group (lexsort is stable), so (group, row) rises.
    key = group * n + order
    wanted = (group - 1) * n + order
    at = np.searchsorted(key, wanted, side="left") - 1
    found = follows[group] & (at >= 0)
    found &= group[at] == group - 1
    found &= session >= 0
    before = np.full(n, -1, dtype=np.int64)
    before[order[found]] = order[at[found]]
    return before
