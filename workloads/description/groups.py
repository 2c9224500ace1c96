"""Sessions and clients of a trace: how many, how long, how uneven."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workloads.batch import Sessions

LISTED = 5


@dataclass(frozen=True, eq=False)
class SessionStatistics:
    """Sessions: turns of each (int64[sessions]) and the pauses before later turns (seconds)."""

    turns: NDArray[np.int64]
    pauses_s: NDArray[np.float64]
    alone: int

    @property
    def several_share(self) -> float:
        """Share of sessions with more than one turn."""
        return float((self.turns > 1).mean())


@dataclass(frozen=True, eq=False)
class ShareStatistics:
    """How requests are divided among clients or classes.

    busiest: name -> share of the requests, the largest first. gini: 0 if all are alike, near 1 if
    one has all.
    """

    n: int
    busiest: dict[str, float]
    gini: float


def session_statistics(sessions: Sessions | None) -> SessionStatistics | None:
    """Statistics of sessions; None if the trace has none."""
    if sessions is None or not (sessions.session_id >= 0).any():
        return None
    in_one = sessions.session_id >= 0
    _, turns = np.unique(sessions.session_id[in_one], return_counts=True)
    waits = sessions.after >= 0
    return SessionStatistics(
        turns=turns.astype(np.int64),
        pauses_s=sessions.pause_s[waits],
        alone=int((~in_one).sum()),
    )


def share_statistics(
    ids: NDArray[np.int32] | None, names: tuple[str, ...]
) -> ShareStatistics | None:
    """How rows are divided among names; None if there are fewer than 2 of these."""
    if ids is None or len(names) < 2:
        return None
    counts = np.bincount(ids, minlength=len(names))
    order = np.argsort(-counts, kind="stable")
    shares = counts[order] / counts.sum()
    busiest = {names[i]: float(shares[k]) for k, i in enumerate(order[:LISTED])}
    ascending = shares[::-1]
    ranks = np.arange(1, len(names) + 1)
    gini = float((2 * ranks - len(names) - 1) @ ascending / len(names))
    return ShareStatistics(n=len(names), busiest=busiest, gini=gini)
