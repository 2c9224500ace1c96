"""Azure LLM inference traces: CSV with the columns TIMESTAMP, ContextTokens, GeneratedTokens.

Published at Azure/AzurePublicDataset; 2023: Patel et al., "Splitwise", ISCA'24, timestamps such
as `2023-11-16 18:15:46.6805900`; 2024: Stojkovic et al., "DynamoLLM", HPCA'25, with a zone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from workloads.traces.base import READERS, TraceRows, usable_rows
from workloads.traces.parsing.arrow import arrow, numpy_of
from workloads.traces.parsing.columns import Column, Table
from workloads.traces.parsing.csv_rows import csv_pieces
from workloads.traces.parsing.head import Head
from workloads.traces.parsing.kinds import Field, Kind, Whole
from workloads.traces.parsing.problems import BadRows, shown
from workloads.traces.parsing.source import Source

COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
HEADER = ",".join(COLUMNS)


class Timestamp(Kind):
    """A date and time, as nanoseconds since 1970; with a zone in every row or in none.

    One instance reads one file, as it remembers whether there are zones.
    """

    grammar = (
        r"(?:19|20)[0-9]{2}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?"
        r"(?:Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])?"
    )

    def __init__(self) -> None:
        self._zoned: bool | None = None

    def from_cell(self, text: str) -> int:
        """The nanoseconds, exact to the last digit."""
        zoned = re.search(r"Z|[+-]..:..$", text[19:]) is not None
        try:
            if not re.fullmatch(self.grammar, text):
                raise ValueError
            made = _nanoseconds(text)
        except ValueError:
            message = f"not a time like 2023-11-16 18:15:46.6805900: {shown(text)}"
            raise ValueError(message) from None
        if self._zoned not in (None, zoned):
            raise ValueError(f"a time {'with' if zoned else 'without'} a zone, unlike earlier rows")
        self._zoned = zoned
        return made

    def from_json(self, value: Any) -> int:
        """The time in a text."""
        return self.from_cell(str(value))

    def from_arrow(self, cells: Any) -> Column | None:
        """By Arrow's cast, which fails, as it should, if only some rows have a zone."""
        pa = arrow()
        zoned = bool(re.search(r"Z|[+-]..:..$", cells[0].as_py()[19:]))
        if self._zoned not in (None, zoned):
            return None
        time = cells.cast(pa.timestamp("ns", tz="UTC" if zoned else None))
        self._zoned = zoned
        return numpy_of(time.cast(pa.int64()))

    def pack(self, values: Sequence[Any]) -> Column:
        """Nanoseconds."""
        return np.array(values, dtype=np.int64)


@READERS.register("azure_llm")
class AzureLlmReader:
    """The reader of both years' files.

    Timestamps keep all their digits (100 ns in the 2023 files). Rows without context or without
    generated tokens are left out and counted in `dropped`; times are counted from the earliest
    row, left out or not.
    """

    title = "Azure LLM CSV"
    layout = f"the header {HEADER}"

    def matches(self, head: Head) -> bool:
        """Whether the file begins with the header."""
        return head.first_line == HEADER

    def read(self, source: Source) -> TraceRows:
        """Parses a whole file; a row with a negative, fractional or missing count is malformed."""
        kinds = (Timestamp(), Whole(), Whole())
        fields = [Field(name, kind) for name, kind in zip(COLUMNS, kinds, strict=True)]
        bad = BadRows(source.file)
        table = Table(csv_pieces(source, fields, bad), bad)
        time_ns, context, made = (table.numbers(name) for name in COLUMNS)
        reasons = [("ContextTokens is 0", context == 0), ("GeneratedTokens is 0", made == 0)]
        rows, dropped = usable_rows(time_ns, reasons, source.file)
        return TraceRows(
            arrival_s=(time_ns[rows] - time_ns.min()) / 1e9,
            prompt_tokens=context[rows],
            answer_tokens=made[rows],
            dropped=dropped,
        )


def _nanoseconds(text: str) -> int:
    """Nanoseconds since 1970 of a timestamp that follows the grammar, exact to its last digit."""
    digits, sign, hours, minutes = re.findall(r"(?:\.([0-9]+))?Z?(?:([+-])(..):(..))?", text[19:])[
        0
    ]
    since = datetime.fromisoformat(text[:19]) - datetime(1970, 1, 1)
    if sign:
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        since += offset if sign == "-" else -offset
    return (since.days * 86_400 + since.seconds) * 10**9 + int(digits.ljust(9, "0"))
