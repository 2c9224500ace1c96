"""Writers of traces: requests drawn or read, written for ponder or for another tool."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from simulator.errors import InputError, Problem
from workloads.batch import RequestBatch
from workloads.traces.writers.mooncake import write_mooncake
from workloads.traces.writers.output import output
from workloads.traces.writers.parquet import write_parquet
from workloads.traces.writers.text import write_csv, write_jsonl

Pieces = Iterator[RequestBatch]
WRITERS: dict[str, Callable[[Pieces, BinaryIO], int]] = {
    "csv": write_csv,
    "jsonl": write_jsonl,
    "mooncake": write_mooncake,
    "parquet": write_parquet,
}
"""Format -> what writes pieces of it to an open file and says how many rows these were."""

__all__ = ["WRITERS", "format_of", "write_trace"]


def write_trace(
    requests: RequestBatch | Iterable[RequestBatch], path: str | Path, format: str = "auto"
) -> int:
    """Writes requests as a trace; returns how many.

    `requests` is one batch or, for more than memory holds, an iterable of pieces one after the
    other in time, all with the same columns; `after` counts within a piece. `format` is a name in
    `WRITERS`, or "auto" to go by the suffix: .jsonl, .csv or .parquet, with .gz after the first two
    if it is to be compressed. ponder's own formats keep all columns but `closed_loop`, the names of
    classes that no request has, and provenance; Mooncake's keeps arrival (in ms), prompt, thinking
    and answer together, and which blocks prompts share.

    The file appears under its name when it is complete, with the same bytes for the same requests.
    Raises InputError for an unknown format or suffix, and if the file can't be written.
    """
    path = Path(path)
    writer = WRITERS[format_of(path, format)]
    pieces = iter([requests] if isinstance(requests, RequestBatch) else requests)
    with output(path) as file:
        rows = writer(pieces, file)
        if not rows:
            raise InputError(Problem("there are no requests to write", file=str(path)))
    return rows


def format_of(path: Path, format: str = "auto") -> str:
    """The format in which `path` is written; raises InputError if that is not clear."""
    name = path.name.removesuffix(".gz")
    if format == "auto":
        format = name.rpartition(".")[2] if "." in name else ""
        if format not in ("csv", "jsonl", "parquet"):
            message = "the suffix must be .jsonl, .csv or .parquet, or the format be given"
            raise InputError(Problem(message, file=str(path)))
    elif format not in WRITERS:
        known = ", ".join(WRITERS)
        raise InputError(Problem(f"unknown format {format!r} to write; known: {known}"))
    if format == "parquet" and path.name.endswith(".gz"):
        raise InputError(Problem("Parquet compresses its columns itself: no .gz", file=str(path)))
    return format
