"""Reading a population: a table of windows and one of lengths, or ServeGen's directory."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path

from simulator.errors import InputError, Problem
from workloads.population.length_rows import chunk_lengths, jsonl_lengths
from workloads.population.model import DAY_S, WINDOW_S, ClientLengths, Population
from workloads.population.window_rows import WindowRow, chunk_rows, clients_of, table_rows
from workloads.traces.parsing.problems import BadRows
from workloads.traces.parsing.source import Source

_CHUNK = re.compile(r"chunk-([0-9]{1,9})-(trace\.csv|dataset\.json)")
_WINDOWS, _PDFS = "windows.csv", "pdfs.jsonl"


def read_population(windows: Path, lengths: Path | None = None) -> Population:
    """Reads a population.

    `windows` is a table with the columns client_id, t_s, rate_rps, iat_cv, pattern, shape, scale,
    plain, gzip or zstd, and `lengths` JSONL, a line for a client and time (None: `companion`'s);
    or `windows` is a directory of `chunk-*-trace.csv` and `chunk-*-dataset.json`, as in
    `data/reason/deepseek-r1` of alibaba/ServeGen, and `lengths` is None.

    Raises InputError, naming every malformed row (the first 20 in full), for files that are
    missing or malformed, and for clients with traffic and no lengths.
    """
    if os.path.isdir(windows):
        if lengths is not None:
            message = "a directory holds its own lengths: leave lengths_path out"
            raise InputError(Problem(message, file=str(windows)))
        files = tuple(path for pair in chunk_files(windows).values() for path in pair)
        return _read_chunks(windows, _stamps(files))
    files = (windows, companion(windows) if lengths is None else lengths)
    return _read_table(files[0], files[1], _stamps(files))


def companion(windows: Path) -> Path:
    """Where the lengths of a table lie if nobody says: `x_pdfs.jsonl.gz` beside `x_windows.csv.gz`,
    packed or not. Raises InputError if the name is of another kind or there is no such file.
    """
    if _WINDOWS in windows.name:
        stem = windows.name.removesuffix(".gz").replace(_WINDOWS, _PDFS)
        for name in (stem + ".gz", stem):
            if os.path.isfile(windows.parent / name):
                return windows.parent / name
    message = (
        f"the lengths of these clients are missing: give lengths_path, or put them beside as "
        f"NAME_{_PDFS} (.gz or not) of NAME_{_WINDOWS}"
    )
    raise InputError(Problem(message, file=str(windows)))


def chunk_files(directory: Path) -> dict[int, tuple[Path, Path]]:
    """The trace and the dataset of each client, by number.

    Raises InputError if there are none or one lacks the other.
    """
    numbers: dict[int, set[str]] = {}
    try:
        names = sorted(os.listdir(directory))
    except OSError as error:
        raise InputError(Problem(f"can't be read: {error.strerror}", file=str(directory))) from None
    for match in filter(None, map(_CHUNK.fullmatch, names)):
        numbers.setdefault(int(match[1]), set()).add(match[2])
    if not numbers:
        message = "no chunk-*-trace.csv and chunk-*-dataset.json here"
        raise InputError(Problem(message, file=str(directory)))
    problems = [
        Problem(f"no such file beside its chunk-{number}-{next(iter(there))}", file=str(missing))
        for number, there in numbers.items()
        for kind in ("trace.csv", "dataset.json")
        if kind not in there
        for missing in [directory / f"chunk-{number}-{kind}"]
    ]
    if problems:
        raise InputError(problems)
    return {
        number: (
            directory / f"chunk-{number}-trace.csv",
            directory / f"chunk-{number}-dataset.json",
        )
        for number in sorted(numbers)
    }


def _stamps(files: tuple[Path, ...]) -> tuple[tuple[int, int], ...]:
    """What tells one version of the files from another; of a missing file (0, 0)."""

    def stamp(path: Path) -> tuple[int, int]:
        try:
            status = path.stat()
        except (OSError, ValueError):
            return 0, 0
        return status.st_mtime_ns, status.st_size

    return tuple(map(stamp, files))


# A run asks for its requests more than once, and reading takes longer than drawing an hour of them.
@lru_cache(maxsize=2)
def _read_table(windows: Path, lengths: Path, stamps: tuple[tuple[int, int], ...]) -> Population:
    bad = [BadRows(str(windows)), BadRows(str(lengths))]
    rows = table_rows(_lines(windows), bad[0])
    found = jsonl_lengths(_lines(lengths), bad[1])
    _check(bad)
    return _population(rows, found, windows.name, lengths)


@lru_cache(maxsize=2)
def _read_chunks(directory: Path, stamps: tuple[tuple[int, int], ...]) -> Population:
    rows: list[WindowRow] = []
    lengths: dict[int, tuple[ClientLengths, ...]] = {}
    bad: list[BadRows] = []
    for number, (trace, dataset) in chunk_files(directory).items():
        bad += [BadRows(str(trace)), BadRows(str(dataset))]
        own = chunk_rows(_lines(trace), bad[-2], number)
        rows += own
        last = max((row.window for row in own), default=0)
        end_s = -(-(last + 1) * WINDOW_S // DAY_S) * DAY_S
        lengths[number] = chunk_lengths("\n".join(_lines(dataset)), bad[-1], end_s)
    _check(bad)
    return _population(rows, lengths, f"{directory.resolve().name} (ServeGen)", directory)


def _population(
    rows: list[WindowRow],
    lengths: dict[int, tuple[ClientLengths, ...]],
    source: str,
    lengths_at: Path,
) -> Population:
    if not rows:
        raise InputError(Problem("no window with traffic: nothing to simulate", file=source))
    without = sorted({row.client for row in rows if not lengths.get(row.client)})
    if without:
        listed = ", ".join(map(str, without[:10])) + (", ..." if len(without) > 10 else "")
        message = f"no lengths for clients that have traffic: {listed}"
        raise InputError(Problem(message, file=str(lengths_at)))
    return Population(
        clients=clients_of(rows, lengths),
        windows_source=source,
        lengths_source=lengths_at.name,
        other_shapes=sum(not row.shape_agrees() for row in rows),
    )


def _lines(path: Path) -> list[str]:
    with Source(path) as source:
        content = b"".join(piece for _, piece in source.lines())
    return content.decode("utf-8", errors="replace").split("\n")


def _check(files: list[BadRows]) -> None:
    """Raises InputError for the malformed rows of all files together."""
    problems: list[Problem] = []
    for bad in files:
        try:
            bad.check()
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
