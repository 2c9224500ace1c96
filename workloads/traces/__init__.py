"""Readers of published request traces, one format a file, found by name or by the file's content.

Every module of this package is imported here, so that a new file is all that a new format needs.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import pkgutil
from pathlib import Path
from typing import Any

from simulator.errors import InputError, Problem
from workloads.traces.base import READERS, TraceReader, TraceRows, rows_to_batch
from workloads.traces.parsing.source import Source

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["READERS", "TraceReader", "TraceRows", "read_trace", "rows_to_batch"]


def read_trace(
    path: str | Path, format: str = "auto", **options: Any
) -> tuple[TraceRows, TraceReader]:
    """Reads a whole trace file, plain, gzip or zstd, and tells which reader did.

    `path` may also be a directory of ServeGen's `chunk-*-trace.csv` and `chunk-*-dataset.json`.
    `format` is a name in `READERS`, or "auto" to go by the content. `options` are those of the
    format: `block_size`, `tokenizer`. Raises InputError if the file is missing, unreadable, empty,
    of another format, or has malformed rows, and for options that the format does not have.
    """
    path = Path(path)
    if os.path.isdir(path):  # ServeGen's: any of its files of one client stands for all of them
        path = min(path.glob("chunk-*-trace.csv"), default=path)
    kinds = list(READERS) if format == "auto" else [format]
    readers = {kind: READERS[kind] for kind in kinds}
    with Source(path) as source:
        for kind, reader_class in readers.items():
            if reader_class().matches(source.head):
                reader: TraceReader = _with_options(kind, reader_class, options)
                return reader.read(source), reader
        expected = "; or ".join(f"{readers[kind].layout} ({kind})" for kind in kinds)
        message = f"not a known trace: expected {expected}, found {source.head.shown()}"
        raise InputError(Problem(message, file=source.file, line=1))


def _with_options(kind: str, reader_class: type[Any], options: dict[str, Any]) -> TraceReader:
    known = []
    if dataclasses.is_dataclass(reader_class):
        known = [field.name for field in dataclasses.fields(reader_class)]
    unknown = [name for name in options if name not in known]
    if unknown:
        has = f"it has {', '.join(known)}" if known else "it has none"
        raise InputError([Problem(f"{kind} has no option {name!r}; {has}") for name in unknown])
    reader: TraceReader = reader_class(**options)
    return reader
