"""JSON Lines read in pieces: one object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from workloads.traces.parsing.columns import Column, Piece
from workloads.traces.parsing.kinds import Field
from workloads.traces.parsing.problems import BadRows, shown
from workloads.traces.parsing.source import Source


def no_constant(name: str) -> None:
    """For `parse_constant`: NaN and Infinity are refused."""
    raise ValueError(f"{name} is no JSON number")


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For `object_pairs_hook`: an object, refused if a key is there twice."""
    made = dict(pairs)
    if len(made) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {shown(twice)} is there twice")
    return made


DECODER = json.JSONDecoder(object_pairs_hook=unique_keys, parse_constant=no_constant)


def json_pieces(source: Source, fields: Sequence[Field], bad: BadRows) -> Iterator[Piece]:
    """The rows of a JSON Lines file; keys that no field names are passed over.

    An absent key and null are the same. Malformed rows are left out and put into `bad`; blank
    lines are skipped.
    """
    for number, text in source.lines():
        try:
            rows = list(map(DECODER.decode, text.decode().removesuffix("\n").split("\n")))
            good = set(map(type, rows)) == {dict}
        except (ValueError, RecursionError):  # a blank line too
            good = False
        if good:
            yield rows_piece(range(number, number + len(rows)), rows, fields, bad)
        else:
            found = list(_objects(number, text, bad))
            yield rows_piece([at for at, _ in found], [row for _, row in found], fields, bad)


def json_objects(source: Source, bad: BadRows) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON Lines file, each with its line; malformed lines go into `bad`."""
    for number, text in source.lines():
        yield from _objects(number, text, bad)


def _objects(number: int, text: bytes, bad: BadRows) -> Iterator[tuple[int, dict[str, Any]]]:
    for at, line in enumerate(text.split(b"\n"), start=number):
        if not line or line.isspace():
            continue
        try:
            row = _object(line)
        except ValueError as error:
            bad.add(at, (None, str(error)))
        else:
            yield at, row


def _object(line: bytes) -> dict[str, Any]:
    """The object on a line. Raises ValueError, worded for the user, if it is none."""
    try:
        row = DECODER.decode(line.decode())
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise ValueError("is nested too deep") from None
    except ValueError as error:  # NaN, a key twice, an integer of thousands of digits
        raise ValueError(f"is not usable JSON: {str(error)[:60]}") from None
    if type(row) is not dict:
        raise ValueError(f"must be an object, one a line: {shown(row)}")
    return row


def rows_piece(
    lines: Sequence[int], rows: Sequence[dict[str, Any]], fields: Sequence[Field], bad: BadRows
) -> Piece:
    """Columns of rows that are objects; those with a wrong value are left out, put into `bad`."""
    columns: dict[str, Column] = {}
    keys = {key for shape in set(map(tuple, rows)) for key in shape}
    for field in fields:
        if field.name not in keys and not field.required:
            continue
        values = [row.get(field.name) for row in rows]
        column = None
        if not (field.required and None in values):
            column = field.kind.pack(values)
        if column is None:
            return _carefully(lines, rows, fields, bad)
        columns[field.name] = column
    return Piece(np.array(lines, dtype=np.int64), columns)


def _carefully(
    lines: Sequence[int], rows: Sequence[dict[str, Any]], fields: Sequence[Field], bad: BadRows
) -> Piece:
    kept: list[int] = []
    values: list[list[Any]] = []
    for at, row in zip(lines, rows, strict=True):
        made, wrong = [], []
        for field in fields:
            value = row.get(field.name)
            try:
                if value is not None:
                    value = field.kind.from_json(value)
                elif field.required:
                    raise ValueError("is missing")
                made.append(value)
            except ValueError as error:
                wrong.append((field.name, str(error)))
        if wrong:
            bad.add(at, *wrong)
        else:
            kept.append(at)
            values.append(made)
    columns: dict[str, Column] = {}
    for i, field in enumerate(fields):
        column = field.kind.pack([row[i] for row in values])
        assert column is not None, field
        columns[field.name] = column
    return Piece(np.array(kept, dtype=np.int64), columns)
