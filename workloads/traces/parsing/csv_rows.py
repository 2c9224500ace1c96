"""CSV read in pieces: by Arrow where all is in order, else line by line to say what is not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from simulator.errors import InputError, Problem
from workloads.traces.parsing.arrow import all_match, arrow
from workloads.traces.parsing.columns import Column, Piece
from workloads.traces.parsing.kinds import Field
from workloads.traces.parsing.problems import BadRows
from workloads.traces.parsing.source import Source

_CELL = re.compile(r'(?:"((?:[^"]|"")*)"|([^",]*))(,|$)')


def csv_pieces(source: Source, fields: Sequence[Field], bad: BadRows) -> Iterator[Piece]:
    """The rows of a CSV file with a header, columns found by name and others passed over.

    Malformed rows are left out and put into `bad`; blank lines are skipped. A quoted cell ends on
    its line. Raises InputError if a required column is missing or a column is there twice.
    """
    header: list[str] | None = None
    for number, text in source.lines():
        if header is None:
            line, _, text = text.partition(b"\n")
            header = _header(line, fields, source.file)
            number += 1
            fields = [field for field in fields if field.name in header]
        if not text.strip():
            continue
        columns = _fast(text, header, fields)
        if columns is not None:
            lines = np.arange(number, number + text.count(b"\n") + (not text.endswith(b"\n")))
            yield Piece(lines, columns)
        else:
            yield _carefully(text, number, header, fields, bad)


def _header(line: bytes, fields: Sequence[Field], file: str) -> list[str]:
    try:
        header = [cell.strip() for cell in split(line.decode())]
    except ValueError as error:
        raise InputError(Problem(f"the header can't be read: {error}", file=file, line=1)) from None
    problems = []
    for field in fields:
        if header.count(field.name) > 1:
            problems.append(Problem("is there twice", file, 1, field.name))
        elif field.required and field.name not in header:
            problems.append(Problem("is missing in the header", file, 1, field.name))
    if problems:
        raise InputError(problems)
    return header


def _fast(text: bytes, header: list[str], fields: Sequence[Field]) -> dict[str, Column] | None:
    """The columns by way of Arrow, or None if anything at all is out of order."""
    if b'"' in text or b"\n\n" in text or text.startswith(b"\n"):
        return None
    import pyarrow.csv

    pa = arrow()
    csv: Any = pyarrow.csv
    # Names of its own for every column: those that are passed over may be there twice.
    wanted = {str(header.index(field.name)): field for field in fields}
    try:
        table = csv.read_csv(
            pa.BufferReader(text),
            read_options=csv.ReadOptions(
                column_names=[str(i) for i in range(len(header))], block_size=1 << 20
            ),
            parse_options=csv.ParseOptions(quote_char=False),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(wanted, pa.string()),
                include_columns=list(wanted),
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
        if len(table) != text.count(b"\n") + (not text.endswith(b"\n")):
            return None
        columns: dict[str, Column] = {}
        for key, field in wanted.items():
            cells = table.column(key).combine_chunks()
            if field.required and cells.null_count:
                return None
            if not all_match(cells, field.kind.grammar):
                return None
            column = field.kind.from_arrow(cells)
            if column is None:
                return None
            columns[field.name] = column
        return columns
    except (pa.ArrowException, UnicodeDecodeError):
        return None


def _carefully(
    text: bytes, number: int, header: list[str], fields: Sequence[Field], bad: BadRows
) -> Piece:
    """The columns row by row in plain Python, to say of every bad row what is wrong with it."""
    places = [(header.index(field.name), field) for field in fields]
    lines: list[int] = []
    rows: list[list[Any]] = []
    for at, line in enumerate(text.split(b"\n"), start=number):
        if not line.strip():
            continue
        try:
            # Bytes that are no UTF-8 matter only in cells that are looked at.
            cells = split(line.decode(errors="surrogateescape"))
        except ValueError as error:
            bad.add(at, (None, str(error)))
            continue
        if len(cells) != len(header):
            bad.add(at, (None, f"expected {len(header)} fields, found {len(cells)}"))
            continue
        values, wrong = [], []
        for place, field in places:
            try:
                empty = not cells[place] and not field.required
                values.append(None if empty else field.kind.from_cell(cells[place]))
            except ValueError as error:
                wrong.append((field.name, str(error)))
        if wrong:
            bad.add(at, *wrong)
        else:
            lines.append(at)
            rows.append(values)
    columns: dict[str, Column] = {}
    for i, field in enumerate(fields):
        column = field.kind.pack([row[i] for row in rows])
        assert column is not None, field
        columns[field.name] = column
    return Piece(np.array(lines, dtype=np.int64), columns)


def split(line: str) -> list[str]:
    """The cells of a line, `"a ""b"", c"` being one. Raises ValueError for stray quotes."""
    if '"' not in line:
        return line.split(",")
    cells, at = [], 0
    while True:
        cell = _CELL.match(line, at)
        if cell is None:
            raise ValueError("a quote is not closed or stands within a cell")
        cells.append(cell[2] if cell[1] is None else cell[1].replace('""', '"'))
        at = cell.end()
        if not cell[3]:
            return cells
