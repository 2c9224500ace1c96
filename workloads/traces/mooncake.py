"""Mooncake traces: JSON Lines with timestamp, input_length, output_length and hash_ids.

Published at kvcache-ai/Mooncake, `FAST25-release/traces` (Qin et al., "Mooncake", FAST'25), and
written by several benchmark tools. `timestamp` is in milliseconds; `hash_ids` name the 512-token
blocks of the prompt, each with all that is before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from workloads.traces.base import READERS, TraceRows, usable_rows
from workloads.traces.parsing.blocks import check_block_size, check_blocks, segments_of_blocks
from workloads.traces.parsing.columns import Piece, Table
from workloads.traces.parsing.head import Head
from workloads.traces.parsing.json_rows import json_pieces
from workloads.traces.parsing.kinds import Decimal, Field, Whole
from workloads.traces.parsing.lists import Ids
from workloads.traces.parsing.problems import BadRows
from workloads.traces.parsing.source import Source

FIELDS = (
    Field("timestamp", Decimal()),
    Field("input_length", Whole()),
    Field("output_length", Whole()),
    Field("hash_ids", Ids(), required=False),
)


@READERS.register("mooncake")
@dataclass(frozen=True)
class MooncakeReader:
    """The reader of Mooncake's format. `block_size` is in tokens.

    output_length is all that was generated: there is no word of thinking. Times are counted from
    the earliest row.
    """

    title: ClassVar[str] = "Mooncake JSONL"
    layout: ClassVar[str] = "JSON lines with timestamp, input_length, output_length, hash_ids"
    block_size: int = 512

    def __post_init__(self) -> None:
        check_block_size(self.block_size)

    def matches(self, head: Head) -> bool:
        """Whether the first line has these keys, and no chat_id as Qwen-Bailian's has."""
        keys = set(head.keys)
        needed = {"timestamp", "input_length", "output_length"}
        return not head.array and needed <= keys and "chat_id" not in keys

    def read(self, source: Source) -> TraceRows:
        """Parses a whole file; a row whose hash_ids do not fit its input_length is malformed."""
        bad = BadRows(source.file)
        table = Table(self._pieces(source, bad), bad)
        time_ms = table.numbers("timestamp")
        prompt, output = table.numbers("input_length"), table.numbers("output_length")
        reasons = [("input_length is 0", prompt == 0), ("output_length is 0", output == 0)]
        rows, dropped = usable_rows(time_ms, reasons, source.file)
        return TraceRows(
            arrival_s=(time_ms[rows] - time_ms.min()) / 1e3,
            prompt_tokens=prompt[rows],
            answer_tokens=output[rows],
            segments=segments_of_blocks(prompt, table.lists("hash_ids"), self.block_size, rows),
            dropped=dropped,
        )

    def _pieces(self, source: Source, bad: BadRows) -> Iterator[Piece]:
        for piece in json_pieces(source, FIELDS, bad):
            check_blocks(piece, "input_length", "hash_ids", self.block_size, bad)
            yield piece
