"""Names and groups of requests and pools: what a result shows and the engine need not know."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from workloads.batch import RequestBatch


@dataclass(frozen=True, eq=False)
class Labels:
    """Names and groups of the n requests of a batch, row by row.

    client_id: int32[n], index into `client_names`. query_id: int64[n], the row of the first request
    of the query; query_requests: int64[n], how many requests it has. session_id, turn: int64[n] and
    int32[n], -1 and 0 outside of sessions. difficulty: float64[n], NaN where unknown. None stands
    for a column that says nothing.
    class_slo, class_value_usd: class -> its own latency targets (seconds by name), and what a
    correct answer is worth.
    """

    class_names: tuple[str, ...]
    client_names: tuple[str, ...] = ("default",)
    client_id: NDArray[np.int32] | None = None
    query_id: NDArray[np.int64] | None = None
    query_requests: NDArray[np.int64] | None = None
    session_id: NDArray[np.int64] | None = None
    turn: NDArray[np.int32] | None = None
    difficulty: NDArray[np.float64] | None = None
    class_slo: dict[str, dict[str, float]] = field(default_factory=dict)
    class_value_usd: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, batch: RequestBatch) -> Labels:
        """The labels of the requests of `batch`."""
        sessions, first = batch.sessions, first_request_of_query(batch)
        return cls(
            class_names=batch.class_names,
            client_names=batch.client_names,
            client_id=batch.client_id,
            query_id=first,
            query_requests=None if first is None else np.bincount(first)[first],
            session_id=None if sessions is None else sessions.session_id,
            turn=None if sessions is None else sessions.turn,
            difficulty=batch.difficulty,
            class_slo=batch.class_slo,
            class_value_usd=batch.class_value_usd,
        )


def first_request_of_query(batch: RequestBatch) -> NDArray[np.int64] | None:
    """For each request the row of the first one of its query, int64[n]; None if all stand alone."""
    if batch.sessions is None or batch.sessions.query_id is None:
        return None
    _, first, inverse = np.unique(batch.sessions.query_id, return_index=True, return_inverse=True)
    return np.asarray(first[inverse], dtype=np.int64)


@dataclass(frozen=True)
class PoolLabel:
    """What a result says of a pool: its model and GPU by name, and what it costs to keep."""

    name: str
    model: str
    gpu: str
    num_gpus: int
    price_usd_per_gpu_hour: float
