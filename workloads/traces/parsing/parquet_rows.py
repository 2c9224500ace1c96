"""Parquet read in pieces: typed columns as they are, odd ones value by value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from simulator.errors import InputError, Problem
from workloads.traces.parsing.arrow import all_match, arrow, compute, numpy_of
from workloads.traces.parsing.columns import MISSING, Column, Lists, Piece
from workloads.traces.parsing.json_rows import rows_piece
from workloads.traces.parsing.kinds import Decimal, Field, Whole
from workloads.traces.parsing.lists import Ids, Pairs
from workloads.traces.parsing.names import Name
from workloads.traces.parsing.problems import BadRows
from workloads.traces.parsing.source import Source

BATCH_ROWS = 1 << 16


def parquet_pieces(source: Source, fields: Sequence[Field], bad: BadRows) -> Iterator[Piece]:
    """The rows of a Parquet file, columns found by name and others passed over.

    Rows are numbered from 1 where other formats have lines. Malformed rows are left out and put
    into `bad`. Raises InputError if a required column is missing or the file is damaged.
    """
    import pyarrow.parquet

    parquet: Any = pyarrow.parquet
    number = 1
    try:
        file = parquet.ParquetFile(source.seekable())
        names = file.schema_arrow.names
        _check_names(names, fields, source.file)
        fields = [field for field in fields if field.name in names]
        columns = [field.name for field in fields]
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns):
            yield _piece(batch, number, fields, bad)
            number += len(batch)
    except (arrow().ArrowException, OSError, ValueError, MemoryError) as error:
        reason = " ".join(str(error).split())[:200]
        message = f"damaged or truncated Parquet file: {reason}"
        raise InputError(Problem(message, file=source.file)) from None


def _check_names(names: Sequence[str], fields: Sequence[Field], file: str) -> None:
    problems = []
    for field in fields:
        if names.count(field.name) > 1:
            problems.append(Problem("is there twice", file, field=field.name))
        elif field.required and field.name not in names:
            problems.append(Problem("there is no such column", file, field=field.name))
    if problems:
        raise InputError(problems)


def _piece(batch: Any, number: int, fields: Sequence[Field], bad: BadRows) -> Piece:
    lines = list(range(number, number + len(batch)))
    columns: dict[str, Column] = {}
    for field in fields:
        cells = batch.column(field.name)
        column = None
        if not (field.required and cells.null_count):
            try:
                column = _typed(cells, field)
            except arrow().ArrowException:  # a number that does not fit, for one
                column = None
        if column is None:
            rows = batch.select([field.name for field in fields]).to_pylist()
            return rows_piece(lines, rows, fields, bad)
        columns[field.name] = column
    return Piece(np.array(lines, dtype=np.int64), columns)


def _typed(cells: Any, field: Field) -> Column | None:
    """The column of an Arrow array of a fitting type; None if it has another one, or bad values."""
    pa, kind = arrow(), field.kind
    if pa.types.is_dictionary(cells.type):
        cells = cells.dictionary_decode()
    if isinstance(kind, Whole) and pa.types.is_integer(cells.type):
        whole = numpy_of(cells.cast(pa.int64()).fill_null(MISSING))
        return whole if kind.holds(whole, cells.null_count) else None
    if isinstance(kind, Decimal) and _is_number(cells.type):
        decimal = numpy_of(cells.cast(pa.float64()).fill_null(np.nan))
        return decimal if kind.holds(decimal, cells.null_count) else None
    if isinstance(kind, Name) and pa.types.is_integer(cells.type):
        number = numpy_of(cells.cast(pa.int64()).fill_null(MISSING))
        return number if int((number == MISSING).sum()) == cells.null_count else None
    if isinstance(kind, Name) and pa.types.is_string(cells.type):
        return kind.from_arrow(cells) if all_match(cells, kind.grammar) else None
    if isinstance(kind, Ids) and _is_list(cells.type):
        return _lists(cells, kind)
    return None


def _lists(cells: Any, kind: Ids) -> Lists | None:
    pa, pc = arrow(), compute()
    lengths = numpy_of(pc.list_value_length(cells).fill_null(-1)).astype(np.int64)
    flat = pc.list_flatten(cells)
    if isinstance(kind, Pairs):
        if not _is_list(flat.type) or flat.null_count:
            return None
        if not pc.all(pc.equal(pc.list_value_length(flat), 2), min_count=0).as_py():
            return None
        flat = pc.list_flatten(flat)
    if flat.null_count or not pa.types.is_integer(flat.type):
        return None
    numbers = numpy_of(flat.cast(pa.int64()))
    if isinstance(kind, Pairs):
        numbers = numbers.reshape(-1, 2)
        if not kind.holds(numbers):
            return None
    return Lists(lengths, numbers)


def _is_number(type_: Any) -> bool:
    types = arrow().types
    return bool(types.is_integer(type_) or types.is_floating(type_))


def _is_list(type_: Any) -> bool:
    types = arrow().types
    return bool(
        types.is_list(type_) or types.is_large_list(type_) or types.is_fixed_size_list(type_)
    )
