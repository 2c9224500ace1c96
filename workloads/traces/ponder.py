"""ponder's own format, as CSV, JSON Lines or Parquet: all that a request has, a column each.

Required: `arrival_s`, `prompt_tokens`, `answer_tokens`. Optional, and null or empty where a row has
none: `thinking_tokens`, `max_tokens`, `class`, `client`, `difficulty`, `session_id`, `turn`,
`pause_s`, `after`, `query_id`, and what the prompt is made of: `segments` as [[id, tokens], ...]
with `output_ids` [thinking, answer], or `prefix_hashes` with `block_size`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from simulator.errors import InputError, Problem
from workloads.batch import MAX_REQUESTS
from workloads.traces.base import READERS, TraceRows, usable_rows
from workloads.traces.parsing.blocks import MAX_BLOCK_SIZE, check_block_size
from workloads.traces.parsing.columns import Piece, Table
from workloads.traces.parsing.csv_rows import csv_pieces
from workloads.traces.parsing.head import Head
from workloads.traces.parsing.json_rows import json_pieces
from workloads.traces.parsing.kinds import INT64, Decimal, Field, Whole
from workloads.traces.parsing.lists import Ids, Pairs
from workloads.traces.parsing.names import Name
from workloads.traces.parsing.own_prompts import check_prompts, prompts
from workloads.traces.parsing.own_sessions import sessions
from workloads.traces.parsing.parquet_rows import parquet_pieces
from workloads.traces.parsing.problems import BadRows
from workloads.traces.parsing.source import Source

NEEDED = ("arrival_s", "prompt_tokens", "answer_tokens")
FIELDS = (
    Field("arrival_s", Decimal(least=0)),
    Field("prompt_tokens", Whole()),
    Field("answer_tokens", Whole()),
    Field("thinking_tokens", Whole(), required=False),
    Field("max_tokens", Whole(), required=False),
    Field("class", Name(), required=False),
    Field("client", Name(), required=False),
    Field("difficulty", Decimal(0, 1), required=False),
    Field("session_id", Name(), required=False),
    Field("turn", Whole(), required=False),
    Field("pause_s", Decimal(least=0), required=False),
    Field("after", Whole(most=MAX_REQUESTS), required=False),
    Field("query_id", Whole(most=int(INT64.max)), required=False),
    Field("segments", Pairs(), required=False),
    Field("output_ids", Ids(), required=False),
    Field("prefix_hashes", Ids(), required=False),
    Field("block_size", Whole(least=1, most=MAX_BLOCK_SIZE), required=False),
)


@READERS.register("ponder")
@dataclass(frozen=True)
class PonderReader:
    """The reader of the three containers. Other columns are passed over, misspelt ones refused.

    Times stay as they are: seconds from the start of the run. A row with a `pause_s` waits for the
    answer to the previous turn of its session, or to the row of the file that `after` names
    (counted from 0); it arrives at its time if that one is not before it or is left out. Without
    `pause_s` or `after` it arrives at its time. Where no row has a `turn`, turns are counted in
    order of time. `block_size` is that of `prefix_hashes` in rows that do not say it. A request
    that thought and has an answer of 0 tokens was cut while thinking: it gets an answer of one
    token, and a cap that ends it before.
    """

    title: ClassVar[str] = "ponder trace"
    layout: ClassVar[str] = f"CSV, JSON lines or Parquet with {', '.join(NEEDED)}"
    block_size: int = 16

    def __post_init__(self) -> None:
        check_block_size(self.block_size)

    def matches(self, head: Head) -> bool:
        """Whether the columns are there; any Parquet file is taken for one of these."""
        names = set(head.keys) if head.keys else set(head.columns)
        return head.parquet or (not head.array and set(NEEDED) <= names)

    def read(self, source: Source) -> TraceRows:
        """Parses a whole file.

        Malformed are also rows whose segments do not add up to prompt_tokens, or whose
        prefix_hashes do not fit them.
        """
        _refuse_misspelt([*source.head.columns, *source.head.keys], source.file)
        bad = BadRows(source.file)
        table = Table(self._pieces(source, bad), bad)
        time_s, prompt, answer = (table.numbers(name) for name in NEEDED)
        thinking = table.whole("thinking_tokens", 0)
        cap = table.whole("max_tokens", 0)
        if thinking is not None:
            answer, cap = _cut_while_thinking(thinking, answer, cap)
        reasons = [("prompt_tokens is 0", prompt == 0), ("answer_tokens is 0", answer == 0)]
        rows, dropped = usable_rows(time_s, reasons, source.file)
        kinds, class_names = table.classes("class")
        clients, client_names = table.classes("client")
        difficulty = table.numbers("difficulty") if "difficulty" in table else None
        if difficulty is not None and np.isnan(difficulty).all():
            difficulty = None
        return TraceRows(
            arrival_s=time_s[rows],
            prompt_tokens=prompt[rows],
            answer_tokens=answer[rows],
            thinking_tokens=None if thinking is None else thinking[rows],
            max_tokens=None if cap is None else cap[rows],
            class_id=None if kinds is None else kinds[rows],
            class_names=class_names,
            client_id=None if clients is None else clients[rows],
            client_names=client_names,
            difficulty=None if difficulty is None else difficulty[rows],
            sessions=sessions(table, rows, source.file),
            segments=prompts(table, prompt, self.block_size, rows, source.file),
            dropped=dropped,
        )

    def _pieces(self, source: Source, bad: BadRows) -> Iterator[Piece]:
        if source.head.parquet:
            pieces = parquet_pieces(source, FIELDS, bad)
        elif source.head.keys:
            pieces = json_pieces(source, FIELDS, bad)
        else:
            pieces = csv_pieces(source, FIELDS, bad)
        for piece in pieces:
            check_prompts(piece, self.block_size, bad)
            yield piece


def _cut_while_thinking(
    thinking: NDArray[np.int64], answer: NDArray[np.int64], cap: NDArray[np.int64] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """Answers and caps, where requests that never got to their answer are cut off before it."""
    cut = (thinking > 0) & (answer == 0)
    if not cut.any():
        return answer, cap
    before = np.zeros_like(thinking) if cap is None else cap
    ended = np.where(cut & ((before == 0) | (before > thinking)), thinking, before)
    return np.where(cut, 1, answer), ended


def _refuse_misspelt(columns: list[str], file: str) -> None:
    """Raises InputError for unknown columns whose names are close to a known one's."""
    known = [field.name for field in FIELDS]
    problems = []
    for column in columns:
        if column not in known:
            meant = difflib.get_close_matches(column, known, n=1, cutoff=0.8)
            problems += [
                Problem(f"unknown column {column!r}; did you mean {name!r}?", file, 1)
                for name in meant
                if name not in columns
            ]
    if problems:
        raise InputError(problems)
