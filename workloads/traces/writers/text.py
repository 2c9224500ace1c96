"""ponder's own format as JSON Lines and as CSV."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

import numpy as np

from simulator.errors import InputError
from workloads.batch import RequestBatch
from workloads.traces.parsing.columns import Lists
from workloads.traces.parsing.names import is_name
from workloads.traces.writers.cells import Cells, chunks


def write_jsonl(pieces: Iterator[RequestBatch], file: BinaryIO) -> int:
    """One object a line; a key that a request has no value for is left out."""
    rows = 0
    for columns in chunks(pieces):
        parts = []
        for name, cells in columns.items():
            key = json.dumps(name)
            texts = _texts(cells, _json_name, ", ", "[{}, {}]".format)
            if isinstance(cells.values, Lists):
                parts.append([f"{key}: [{text}]" for text in texts])
            else:
                parts.append([f"{key}: {text}" for text in texts])
            _blank(parts[-1], cells)
        lines = ["{" + ", ".join(filter(None, row)) + "}\n" for row in zip(*parts, strict=True)]
        file.write("".join(lines).encode())
        rows += len(lines)
    return rows


def write_csv(pieces: Iterator[RequestBatch], file: BinaryIO) -> int:
    """A header and one line a request, empty where it has no value."""
    rows = 0
    header = False
    for columns in chunks(pieces):
        if not header:
            file.write((",".join(columns) + "\n").encode())
            header = True
        parts = []
        for cells in columns.values():
            parts.append(_texts(cells, _csv_name, " ", "{}:{}".format))
            _blank(parts[-1], cells)
        lines = [",".join(row) + "\n" for row in zip(*parts, strict=True)]
        file.write("".join(lines).encode())
        rows += len(lines)
    return rows


def _texts(
    cells: Cells, name: Callable[[str], str], between: str, pair: Callable[[int, int], str]
) -> list[str]:
    """The values of a column as texts, floats with all digits that they need."""
    if cells.names is not None:
        names = [name(text) for text in cells.names]
        return [names[i] for i in np.asarray(cells.values).tolist()]
    if not isinstance(cells.values, Lists):
        return list(map(repr, cells.values.tolist()))
    flat = cells.values.flat
    if flat.ndim == 2:
        items = [pair(*two) for two in flat.tolist()]
    else:
        items = list(map(str, flat.tolist()))
    return _joined(items, cells.values.lengths.tolist(), between)


def _joined(items: Sequence[str], lengths: list[int], between: str) -> list[str]:
    texts, at = [], 0
    for length in lengths:
        texts.append(between.join(items[at : at + length]))
        at += length
    return texts


def _blank(texts: list[str], cells: Cells) -> None:
    if cells.present is not None:
        for i in np.flatnonzero(~cells.present).tolist():
            texts[i] = ""


def _json_name(name: str) -> str:
    return json.dumps(_checked(name), ensure_ascii=False)


def _csv_name(name: str) -> str:
    if "\n" in name or "\r" in name:
        raise InputError(f"the name {name!r} has a line end, which CSV has no place for")
    if '"' in _checked(name) or "," in name:
        return '"' + name.replace('"', '""') + '"'
    return name


def _checked(name: str) -> str:
    if not is_name(name):
        raise InputError(
            f"the name {name!r} can't be written: empty, with a NUL, or not possible in UTF-8"
        )
    return name
