"""How many requests wait and run on each replica, as an admission control sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.engine.replica import Replica


@dataclass(frozen=True, eq=False)
class Counts:
    """One entry a replica, int64[replicas]; of now."""

    num_waiting: NDArray[np.int64]
    num_running: NDArray[np.int64]


def count(replicas: Sequence[Replica]) -> Counts:
    """Look at every replica, at the time of an event."""
    states = [replica.arrays.state[0] for replica in replicas]
    return Counts(
        np.array([state["num_waiting"] for state in states], dtype=np.int64),
        np.array([state["num_running"] for state in states], dtype=np.int64),
    )
