"""The columns of ponder's own format, made from requests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.batch import RequestBatch
from workloads.traces.parsing.columns import Lists
from workloads.traces.parsing.turns import previous_turns

CHUNK_ROWS = 1 << 15


@dataclass(frozen=True, eq=False)
class Cells:
    """One column: its values (an array, `Lists`, or codes and names), and which rows have one.

    present: bool[n], None if all have. names: texts that the values are indices into.
    """

    values: NDArray[Any] | Lists
    present: NDArray[np.bool_] | None = None
    names: tuple[str, ...] | None = None


def cells_of(batch: RequestBatch, written: int = 0) -> dict[str, Cells]:
    """The columns of `batch`, by name; `written` rows are in the file before it.

    A column is there if requests of this kind have it, even if none of these does.
    """
    recorded = None
    if not batch.records_thinking:
        recorded = np.zeros(len(batch), dtype=bool)
    columns = {
        "arrival_s": Cells(batch.arrival_s),
        "prompt_tokens": Cells(batch.prompt_tokens),
        "thinking_tokens": Cells(batch.thinking_tokens, recorded),
        "answer_tokens": Cells(batch.answer_tokens),
        "max_tokens": Cells(batch.max_tokens, batch.max_tokens > 0),
    }
    if batch.class_names != ("default",):
        columns["class"] = Cells(batch.class_id, names=batch.class_names)
    if batch.client_id is not None:
        columns["client"] = Cells(batch.client_id, names=batch.client_names)
    if batch.difficulty is not None:
        columns["difficulty"] = Cells(batch.difficulty, np.isfinite(batch.difficulty))
    if batch.sessions is not None:
        sessions = batch.sessions
        member, waits = sessions.session_id >= 0, sessions.after >= 0
        # Most wait for the previous turn, which goes without saying.
        unusual = waits & (
            (sessions.after != previous_turns(sessions.session_id, sessions.turn))
            | (sessions.turn == 0)
        )
        columns["session_id"] = Cells(sessions.session_id, member)
        columns["turn"] = Cells(sessions.turn, np.logical_or(member, sessions.turn > 0))
        columns["pause_s"] = Cells(sessions.pause_s, waits)
        columns["after"] = Cells(sessions.after + written, unusual)
        if sessions.query_id is not None:
            columns["query_id"] = Cells(sessions.query_id)
    if batch.segments is not None:
        segments = batch.segments
        pairs = np.column_stack((segments.segment_id, segments.tokens))
        columns["segments"] = Cells(Lists(np.diff(segments.start), pairs))
        quoted: NDArray[np.bool_] = np.max(segments.output_id, axis=1) >= 0
        twos = np.full(len(batch), 2, dtype=np.int64)
        columns["output_ids"] = Cells(Lists(twos, segments.output_id.reshape(-1)), quoted)
    return columns


def chunks(pieces: Iterator[RequestBatch]) -> Iterator[dict[str, Cells]]:
    """The columns of all pieces, some ten thousand rows at a time, the same ones throughout.

    Raises ValueError if a later piece has other columns than the first.
    """
    names: list[str] | None = None
    written = 0
    for batch in pieces:
        columns = cells_of(batch, written)
        if names is None:
            names = list(columns)
        elif names != list(columns):
            raise ValueError(f"pieces differ: columns {names}, then {list(columns)}")
        written += len(batch)
        for start in range(0, len(batch), CHUNK_ROWS):
            rows = slice(start, min(start + CHUNK_ROWS, len(batch)))
            yield {name: _part(cells, rows) for name, cells in columns.items()}


def _part(cells: Cells, rows: slice) -> Cells:
    values = cells.values
    if isinstance(values, Lists):
        start = int(values.lengths[: rows.start].sum())
        lengths = values.lengths[rows]
        values = Lists(lengths, values.flat[start : start + int(lengths.sum())])
    else:
        values = values[rows]
    present = None if cells.present is None else cells.present[rows]
    return Cells(values, present, cells.names)
