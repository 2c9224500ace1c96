"""Readers of published request traces, one format a file, found by name or by the first line.

Every module of this package is imported here, so that a new file is all that a new format needs.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

from simulator.errors import InputError, Problem
from workloads.traces.base import READERS, TraceReader, TraceRows, first_line, read_bytes

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["READERS", "TraceReader", "TraceRows", "read_trace"]


def read_trace(path: Path, format: str = "auto") -> tuple[TraceRows, TraceReader]:
    """Reads a whole trace file, gzip or plain, and tells which reader did.

    `format` is a name in `READERS`, or "auto" to go by the first line. Raises InputError if the
    file is missing, unreadable, empty, of another format, or has malformed rows.
    """
    content = read_bytes(path)
    head = first_line(content)
    candidates = list(READERS) if format == "auto" else [format]
    for kind in candidates:
        reader = READERS[kind]()
        if reader.matches(head):
            return reader.read(content, str(path)), reader
    expected = "; or ".join(f"{READERS[kind].layout} ({kind})" for kind in candidates)
    shown = head if len(head) <= 80 else head[:77] + "..."
    message = f"not a known trace: expected {expected}, found {shown!r}"
    raise InputError(Problem(message, file=str(path), line=1))
