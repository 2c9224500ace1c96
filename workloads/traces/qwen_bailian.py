"""Qwen-Bailian traces: JSON Lines of chats on Alibaba Cloud, with 16-token block hashes.

Published at alibaba-edu/qwen-bailian-usagetraces-anon (Wang et al., "KVCache Cache in the Wild",
ATC'25): `timestamp` in seconds, `chat_id`, `parent_chat_id` (-1 for the first turn), `turn` from 1,
`type` (text, search, image, file), `input_length`, `output_length`, `hash_ids`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from simulator.errors import InputError, Problem
from workloads.batch import Sessions
from workloads.traces.base import READERS, TraceRows, usable_rows
from workloads.traces.parsing.blocks import check_block_size, check_blocks, segments_of_blocks
from workloads.traces.parsing.columns import Piece, Table
from workloads.traces.parsing.head import Head
from workloads.traces.parsing.json_rows import json_pieces
from workloads.traces.parsing.kinds import Decimal, Field, Whole
from workloads.traces.parsing.lists import Ids
from workloads.traces.parsing.names import Name
from workloads.traces.parsing.problems import BadRows
from workloads.traces.parsing.source import Source
from workloads.traces.parsing.turns import by_the_clock, turns_by_time

_ID = Whole(least=-1, most=2**62)
FIELDS = (
    Field("chat_id", _ID),
    Field("parent_chat_id", _ID, required=False),
    Field("timestamp", Decimal()),
    Field("input_length", Whole()),
    Field("output_length", Whole()),
    Field("type", Name(), required=False),
    Field("turn", Whole(), required=False),
    Field("hash_ids", Ids(), required=False),
)


@READERS.register("qwen_bailian")
@dataclass(frozen=True)
class QwenBailianReader:
    """The reader of these traces. `block_size` is in tokens.

    A session is a chat with all that grew out of it, its id the chat_id of the first turn that is
    known; requests arrive when they are recorded to. The class is the `type`. output_length holds
    what was thought and answered together.
    """

    title: ClassVar[str] = "Qwen-Bailian JSONL"
    layout: ClassVar[str] = "JSON lines with chat_id, timestamp, input_length, output_length"
    block_size: int = 16

    def __post_init__(self) -> None:
        check_block_size(self.block_size)

    def matches(self, head: Head) -> bool:
        """Whether the first line has these keys."""
        needed = {"chat_id", "timestamp", "input_length", "output_length"}
        return not head.array and needed <= set(head.keys)

    def read(self, source: Source) -> TraceRows:
        """Parses a whole file; a row whose hash_ids do not fit its input_length is malformed."""
        bad = BadRows(source.file)
        table = Table(self._pieces(source, bad), bad)
        time_s = table.numbers("timestamp")
        prompt, output = table.numbers("input_length"), table.numbers("output_length")
        reasons = [("input_length is 0", prompt == 0), ("output_length is 0", output == 0)]
        rows, dropped = usable_rows(time_s, reasons, source.file)
        kinds, names = table.classes("type")
        return TraceRows(
            arrival_s=time_s[rows] - time_s.min(),
            prompt_tokens=prompt[rows],
            answer_tokens=output[rows],
            class_id=None if kinds is None else kinds[rows],
            class_names=names,
            sessions=_sessions(table, rows, source.file),
            segments=segments_of_blocks(prompt, table.lists("hash_ids"), self.block_size, rows),
            dropped=dropped,
        )

    def _pieces(self, source: Source, bad: BadRows) -> Iterator[Piece]:
        for piece in json_pieces(source, FIELDS, bad):
            check_blocks(piece, "input_length", "hash_ids", self.block_size, bad)
            yield piece


def _sessions(table: Table, rows: NDArray[np.int64], file: str) -> Sessions:
    chat, parent = table.numbers("chat_id"), table.whole("parent_chat_id", -1)
    root = chat if parent is None else first_turns(chat, parent, file)
    turn = table.whole("turn", 1)
    if turn is None:
        return by_the_clock(root[rows], turns_by_time(root[rows]))
    return by_the_clock(root[rows], (np.maximum(turn[rows], 1) - 1).astype(np.int32))


def first_turns(chat: NDArray[np.int64], parent: NDArray[np.int64], file: str) -> NDArray[np.int64]:
    """The chat that each chat grew out of, int64[n]: up the parents as far as they are known.

    A parent that is not in the file is a first turn too. Raises InputError if parents go round in
    a circle.
    """
    ids, place = np.unique(np.concatenate((chat, parent[parent >= 0])), return_inverse=True)
    up = np.arange(len(ids))
    has_parent = parent >= 0
    # A chat_id that is there twice goes by its first row.
    child = place[: len(chat)][has_parent]
    up[child[::-1]] = place[len(chat) :][::-1]
    first = up == np.arange(len(ids))
    first[child] = False
    for _ in range(len(ids).bit_length()):
        up = up[up]  # twice as far each time
    lost = np.flatnonzero(~first[up])
    if len(lost):
        message = f"chat {int(ids[lost[0]])} grew out of itself"
        raise InputError(Problem(message, file=file, field="parent_chat_id"))
    return np.asarray(ids[up[place[: len(chat)]]])
