"""Requests as columns: what a workload hands to the simulator."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
class RequestBatch:
    """`n` requests in order of arrival, drawn before any policy acts.

    arrival_s: float64[n], seconds from the start of the run, non-decreasing.
    prompt_tokens, thinking_tokens, answer_tokens: int64[n]; at least 1, 0 and 1.
    max_tokens: int64[n], cap on thinking + answer tokens, 0 for none.
    class_id: int32[n], index into `class_names`.
    provenance: column -> where its values come from, "trace: ..." or "drawn: ...".
    dropped: reason -> rows that a trace reader left out.
    closed_loop: who sends the requests, if arrival_s is not known beforehand (all 0 then).

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

    def __post_init__(self) -> None:
        shape = (len(self.arrival_s),)
        columns: dict[str, tuple[NDArray[Any], type, int]] = {
            "arrival_s": (self.arrival_s, np.float64, 0),
            "prompt_tokens": (self.prompt_tokens, np.int64, 1),
            "thinking_tokens": (self.thinking_tokens, np.int64, 0),
            "answer_tokens": (self.answer_tokens, np.int64, 1),
            "max_tokens": (self.max_tokens, np.int64, 0),
            "class_id": (self.class_id, np.int32, 0),
        }
        for name, (column, dtype, least) in columns.items():
            if column.dtype != dtype or column.shape != shape:
                raise ValueError(f"{name}: expected {np.dtype(dtype)}{list(shape)}")
            if column.size and not column.min() >= least:
                raise ValueError(f"{name}: values must be at least {least}")
        if not np.isfinite(self.arrival_s).all() or np.any(np.diff(self.arrival_s) < 0):
            raise ValueError("arrival_s: times must be finite and non-decreasing")
        if self.class_id.size and self.class_id.max() >= len(self.class_names):
            raise ValueError("class_id: an id has no name in class_names")
        loop = self.closed_loop
        if loop is not None and (loop.concurrency < 1 or loop.pause_s.shape != shape):
            raise ValueError("closed_loop: needs a client, and a pause for every request")

    def __len__(self) -> int:
        return len(self.arrival_s)
