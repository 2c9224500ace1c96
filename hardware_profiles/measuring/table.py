"""The CSV of measurements: its columns, a writer that keeps what a cut run had, and a reader.

The meaning of each column is in the docstring of `hardware_profiles.measure`.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import Self

from simulator.errors import InputError, Problem

TEXT = ("op", "gpu", "backend", "dtype", "kv_dtype")
FLOATS = ("ragged", "latency_ms", "p10_ms", "p90_ms")
REQUIRED = ("op", "latency_ms", "samples")


@dataclass(frozen=True)
class Measurement:
    """One row. None where the column does not apply to the operation; times in milliseconds."""

    op: str
    gpu: str = ""
    backend: str = ""
    dtype: str = ""
    kv_dtype: str = ""
    m: int | None = None
    n: int | None = None
    k: int | None = None
    batch: int | None = None
    q_heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    context_tokens: int | None = None
    isl: int | None = None
    ragged: float | None = None
    tp: int | None = None
    bytes: int | None = None
    latency_ms: float = 0.0
    p10_ms: float | None = None
    p90_ms: float | None = None
    samples: int = 0


COLUMNS = tuple(column.name for column in fields(Measurement))


@dataclass(frozen=True)
class Measurements:
    """A file read back: `metadata` from its `# key: value` lines, `skipped` points, `rows`."""

    metadata: dict[str, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    rows: list[Measurement] = field(default_factory=list)


class TableWriter:
    """Writes `# key: value` lines, the header and one flushed line per measurement.

    Opens `path` for exclusive creation: measurements are never overwritten (InputError).
    """

    def __init__(self, path: str | Path, metadata: Mapping[str, object]) -> None:
        try:
            self._file = open(path, "x", encoding="utf-8", newline="")  # noqa: SIM115
        except FileExistsError:
            raise InputError(
                Problem("exists already; give --out another name", file=str(path))
            ) from None
        except OSError as error:
            raise InputError(
                Problem(f"cannot be written: {error.strerror}", file=str(path))
            ) from None
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._skipped: set[str] = set()
        self.written = 0
        for key, value in metadata.items():
            self.note(key, value)
        self._rows.writerow(COLUMNS)
        self._file.flush()

    def note(self, key: str, value: object) -> None:
        """One `# key: value` line; line breaks inside the value become blanks."""
        self._file.write(f"# {key}: {' '.join(str(value).split())}\n")
        self._file.flush()

    def skip(self, what: str, why: object) -> bool:
        """Say once that points were left out and why; False if that was said before."""
        text = f"{what}: {' '.join(str(why).split())[:300]}"
        if text in self._skipped:
            return False
        self._skipped.add(text)
        self.note("skipped", text)
        return True

    def write(self, row: Measurement) -> None:
        """Append one row; it is in the file (not only in a buffer) when this returns."""
        self._rows.writerow([_format(getattr(row, name)) for name in COLUMNS])
        self._file.flush()
        self.written += 1

    def close(self) -> None:
        """Write out to the disk and close."""
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def read_measurements(path: str | Path) -> Measurements:
    """A file written by `TableWriter`, or by hand to the same columns (in any order).

    Columns that do not apply may be left out; op, latency_ms and samples must be there. A last
    line without its line break (the run was cut there) is dropped. Raises InputError with the line
    of everything wrong.
    """
    name = str(path)
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(Problem(f"cannot be read: {error}", file=name)) from None
    result = Measurements()
    problems: list[Problem] = []
    header: list[str] | None = None
    for number, line in enumerate(text[: text.rfind("\n") + 1].splitlines(), start=1):
        if not line.strip():
            continue
        if line.startswith("#"):
            key, _, value = line[1:].partition(":")
            if key.strip() == "skipped":
                result.skipped.append(value.strip())
            else:
                result.metadata[key.strip()] = value.strip()
            continue
        cells = next(csv.reader([line]))
        if header is None:
            header = [cell.strip() for cell in cells]
            problems += _header_problems(header, name, number)
            if problems:
                break
            continue
        if len(cells) != len(header):
            message = f"{len(cells)} cells under {len(header)} columns"
            problems.append(Problem(message, file=name, line=number))
            continue
        row = _parse(dict(zip(header, cells, strict=True)), name, number, problems)
        if row is not None:
            result.rows.append(row)
    if header is None:
        problems.append(Problem("holds no header line and no measurement", file=name))
    if problems:
        raise InputError(problems)
    return result


def _format(value: str | float | None) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _header_problems(header: list[str], file: str, line: int) -> list[Problem]:
    wrong = [f"unknown column {name!r}" for name in header if name not in COLUMNS]
    wrong += [f"no column {name!r}" for name in REQUIRED if name not in header]
    wrong += [f"column {name!r} twice" for name in sorted(set(header)) if header.count(name) > 1]
    return [Problem(message, file=file, line=line) for message in wrong]


def _parse(
    cells: dict[str, str], file: str, line: int, problems: list[Problem]
) -> Measurement | None:
    known = len(problems)
    values: dict[str, str | int | float | None] = {}
    for name, cell in cells.items():
        cell = cell.strip()
        if name in TEXT:
            values[name] = cell
            continue
        if not cell:
            values[name] = None
            continue
        try:
            number = float(cell) if name in FLOATS else int(cell)
        except ValueError:
            problems.append(Problem(f"{cell!r} is not a number", file, line, name))
            continue
        if not 0 <= number < float("inf"):
            problems.append(Problem(f"{cell} is not zero or more", file, line, name))
        values[name] = number
    for name in REQUIRED:
        if name in values and not values[name]:
            problems.append(Problem("is empty or zero", file, line, name))
    return Measurement(**values) if len(problems) == known else None  # type: ignore[arg-type]
