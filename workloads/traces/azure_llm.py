"""Azure LLM inference traces: CSV with the columns TIMESTAMP, ContextTokens, GeneratedTokens.

Published at Azure/AzurePublicDataset; 2023: Patel et al., "Splitwise", ISCA'24, timestamps such
as `2023-11-16 18:15:46.6805900`; 2024: Stojkovic et al., "DynamoLLM", HPCA'25, with a zone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.errors import InputError, Problem
from workloads.traces.base import READERS, TraceRows, first_line, malformed

COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
HEADER = ",".join(COLUMNS)

# One grammar for both parsers: whatever the fast one accepts, the careful one does.
TIMESTAMP = (
    r"(?:19|20)[0-9]{2}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?"
    r"(Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])?"
)
COUNT = r"[0-9]{1,9}"
ROW = re.compile(f"{TIMESTAMP},{COUNT},{COUNT}".encode())  # group 1 is the zone

Columns = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]  # ns, context, generated


@READERS.register("azure_llm")
class AzureLlmReader:
    """The reader of both years' files."""

    title = "Azure LLM CSV"
    layout = f"the header {HEADER}"

    def matches(self, first_line: str) -> bool:
        """Whether the file begins with the header."""
        return first_line == HEADER

    def read(self, content: bytes, file: str) -> TraceRows:
        """Parses a whole file, see `read`."""
        return read(content, file)


def read(content: bytes, file: str) -> TraceRows:
    """Parses a whole file; `file` is its name for messages.

    Timestamps keep all their digits (100 ns in the 2023 files). Rows without context or without
    generated tokens are left out and counted in `dropped`; times are counted from the earliest
    row, left out or not. Raises InputError for a wrong header, a file without rows and malformed
    rows (negative, fractional or missing counts included).
    """
    if first_line(content) != HEADER:
        raise InputError(Problem(f"expected the header {HEADER}", file=file, line=1))
    time_ns, context, generated = _parse_fast(content) or _parse_carefully(content, file)
    if not time_ns.size:
        raise InputError(Problem("a header but no rows", file=file))
    order = np.argsort(time_ns, kind="stable")
    time_ns, context, generated = time_ns[order], context[order], generated[order]
    no_context = context == 0
    nothing_generated = (generated == 0) & ~no_context
    keep = ~(no_context | nothing_generated)
    if not keep.any():
        message = "every row has 0 ContextTokens or 0 GeneratedTokens: nothing to simulate"
        raise InputError(Problem(message, file=file))
    reasons = {
        "ContextTokens is 0": int(no_context.sum()),
        "GeneratedTokens is 0": int(nothing_generated.sum()),
    }
    return TraceRows(
        arrival_s=(time_ns[keep] - time_ns[0]) / 1e9,
        prompt_tokens=context[keep],
        answer_tokens=generated[keep],
        dropped={reason: rows for reason, rows in reasons.items() if rows},
    )


def _arrow() -> tuple[Any, Any, Any]:
    """pyarrow, its compute and its csv module, imported when first used (and untyped)."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv

    return pa, pc, csv


def _parse_fast(content: bytes) -> Columns | None:
    """The columns by way of Arrow, or None if anything at all is out of order."""
    pa, pc, csv = _arrow()
    try:
        table = csv.read_csv(
            pa.BufferReader(content),
            read_options=csv.ReadOptions(column_names=COLUMNS, skip_rows=1),
            parse_options=csv.ParseOptions(quote_char=False),
            convert_options=csv.ConvertOptions(column_types=dict.fromkeys(COLUMNS, pa.string())),
        )
        texts = [table.column(name) for name in COLUMNS]
        for text, grammar in zip(texts, (TIMESTAMP, COUNT, COUNT), strict=True):
            if not pc.all(pc.match_substring_regex(text, rf"\A(?:{grammar})\z")).as_py():
                return None
        zone = re.search(r"Z|[+-]..:..$", texts[0][0].as_py()) if len(texts[0]) else None
        # Fails, as it should, if only some rows have a zone.
        time = pc.cast(texts[0], pa.timestamp("ns", tz="UTC" if zone else None))
        # DLPack, because Arrow's own to_numpy imports pandas, which takes longer than the reading.
        nanoseconds, context, generated = (
            np.asarray(np.from_dlpack(column.cast(pa.int64()).combine_chunks()), dtype=np.int64)
            for column in (time, *texts[1:])
        )
        return nanoseconds, context, generated
    except pa.ArrowException:
        return None


def _parse_carefully(content: bytes, file: str) -> Columns:
    """The columns row by row in plain Python, to say of every bad row what is wrong with it."""
    lines = content.splitlines()
    error = malformed(_problems(lines, file), file)
    if error.problems:
        raise error
    rows = [line.decode().split(",") for line in lines[1:] if line]
    values = [(_nanoseconds(time), int(context), int(made)) for time, context, made in rows]
    columns = np.array(values, dtype=np.int64).reshape(-1, 3)
    return columns[:, 0], columns[:, 1], columns[:, 2]


def _problems(lines: list[bytes], file: str) -> Iterator[list[Problem]]:
    """The problems of each malformed row; blank lines, as at the end of many files, are skipped."""
    zoned: bool | None = None
    for number, line in enumerate(lines[1:], start=2):
        if not line:
            continue
        match = ROW.fullmatch(line)
        if match is None or not _is_date(line.decode()):
            yield _row_problems(line, file, number)
            continue
        has_zone = match[1] is not None
        zoned = has_zone if zoned is None else zoned
        if has_zone != zoned:
            message = f"a time {'with' if has_zone else 'without'} a zone, unlike earlier rows"
            yield [Problem(message, file, number, COLUMNS[0])]


def _row_problems(line: bytes, file: str, number: int) -> list[Problem]:
    row = line.decode("utf-8", errors="replace").split(",")
    if len(row) != len(COLUMNS):
        return [Problem(f"expected {len(COLUMNS)} fields, found {len(row)}", file, number)]
    messages = (_time_problem(row[0]), _count_problem(row[1]), _count_problem(row[2]))
    return [
        Problem(message, file, number, name)
        for name, message in zip(COLUMNS, messages, strict=True)
        if message
    ]


def _is_date(text: str) -> bool:
    """Whether the first 19 characters, known to look like a time, are one (30 February is not)."""
    try:
        datetime.fromisoformat(text[:19])
    except ValueError:
        return False
    return True


def _time_problem(text: str) -> str | None:
    if re.fullmatch(TIMESTAMP, text) and _is_date(text):
        return None
    return f"not a time like 2023-11-16 18:15:46.6805900: {_shown(text)}"


def _count_problem(text: str) -> str | None:
    if re.fullmatch(COUNT, text):
        return None
    if re.fullmatch(r"[0-9]+", text):
        return f"too large, at most 999999999: {_shown(text)}"
    if re.fullmatch(r"-[0-9]+", text):
        return f"must not be negative: {_shown(text)}"
    return f"not a whole number: {_shown(text)}"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")


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
