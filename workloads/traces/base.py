"""What a trace reader gives, and what every reader does at its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from simulator.errors import InputError, Problem
from simulator.prefix import PromptSegments
from simulator.registry import Registry
from workloads.batch import RequestBatch, Sessions
from workloads.traces.parsing.head import Head
from workloads.traces.parsing.problems import malformed
from workloads.traces.parsing.source import Source, read_bytes

__all__ = [
    "READERS",
    "TraceReader",
    "TraceRows",
    "malformed",
    "read_bytes",
    "rows_to_batch",
    "usable_rows",
]


@dataclass(frozen=True, eq=False)
class TraceRows:
    """The usable rows of a trace, sorted by time; rows of equal times in the file's order.

    arrival_s: float64[n], seconds from the earliest row of the file, or from the start that its
    format names. prompt_tokens, answer_tokens: int64[n], all at least 1. thinking_tokens: int64[n],
    at least 0, or None where the format does not record it. class_id, client_id: int32[n], indices
    into the names; None where the format has no such column. max_tokens, difficulty, sessions,
    segments: as in `RequestBatch`; None likewise.
    estimated: names of columns that were not measured but guessed, such as tokens from characters.
    dropped: reason -> rows left out.
    """

    arrival_s: NDArray[np.float64]
    prompt_tokens: NDArray[np.int64]
    answer_tokens: NDArray[np.int64]
    thinking_tokens: NDArray[np.int64] | None = None
    class_id: NDArray[np.int32] | None = None
    class_names: tuple[str, ...] = ()
    client_id: NDArray[np.int32] | None = None
    client_names: tuple[str, ...] = ()
    max_tokens: NDArray[np.int64] | None = None
    difficulty: NDArray[np.float64] | None = None
    sessions: Sessions | None = None
    segments: PromptSegments | None = None
    estimated: tuple[str, ...] = ()
    dropped: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.arrival_s)


class TraceReader(Protocol):
    """One trace format: a class whose instances take no argument that must be given.

    `title` names it in results, `layout` describes it in messages. A reader that has options is a
    dataclass with a field for each.
    """

    title: ClassVar[str]
    layout: ClassVar[str]

    def matches(self, head: Head) -> bool:
        """Whether a file that begins like this is of this format."""

    def read(self, source: Source) -> TraceRows:
        """Parses a whole file, piece by piece.

        Raises InputError naming every malformed row (the first 20 in full).
        """


READERS: Registry[type[Any]] = Registry("trace format")


def usable_rows(
    time: NDArray[Any], reasons: Sequence[tuple[str, NDArray[np.bool_]]], file: str
) -> tuple[NDArray[np.int64], dict[str, int]]:
    """The rows to keep, int64[k], in order of time, and how many are left out by which reason.

    `reasons`: (text, bool[n] of the rows that it applies to); a row counts for the first of its
    reasons. Raises InputError if no row is left.
    """
    if not len(time):
        raise InputError(Problem("holds no requests", file=file))
    left_out = np.zeros(len(time), dtype=bool)
    dropped = {}
    for reason, applies in reasons:
        count = int((applies & ~left_out).sum())
        if count:
            dropped[reason] = count
        left_out |= applies
    rows = np.flatnonzero(~left_out)
    if not len(rows):
        why = " or ".join(dropped)
        raise InputError(Problem(f"every row is left out ({why}): nothing to simulate", file=file))
    order = np.argsort(time[rows], kind="stable")
    return rows[order], dropped


def rows_to_batch(rows: TraceRows, provenance: dict[str, str] | None = None) -> RequestBatch:
    """The rows of a trace as requests: no thinking and no cap where the trace records none."""
    n = len(rows)
    thinking, cap, kind = rows.thinking_tokens, rows.max_tokens, rows.class_id
    return RequestBatch(
        arrival_s=rows.arrival_s,
        prompt_tokens=rows.prompt_tokens,
        thinking_tokens=np.zeros(n, dtype=np.int64) if thinking is None else thinking,
        answer_tokens=rows.answer_tokens,
        max_tokens=np.zeros(n, dtype=np.int64) if cap is None else cap,
        class_id=np.zeros(n, dtype=np.int32) if kind is None else kind,
        class_names=rows.class_names or ("default",),
        client_id=rows.client_id,
        client_names=rows.client_names or ("default",),
        difficulty=rows.difficulty,
        sessions=rows.sessions,
        segments=rows.segments,
        records_thinking=thinking is not None,
        provenance=provenance or {},
        dropped=dict(rows.dropped),
    )
