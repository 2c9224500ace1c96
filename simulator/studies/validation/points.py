"""Read a points file: one measured run of a serving engine a row, as CSV."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simulator.errors import InputError, Problem

TEXTS = (
    "id",
    "src",
    "quality",
    "hardware",
    "model",
    "weights",
    "kv_dtype",
    "engine",
    "engine_version",
    "key_settings",
    "load_mode",
    "pd_config",
    "isl_nominal",
    "osl_nominal",
    "unclear",
    "notes",
    "source_path",
)
COUNTS = (
    "gpus",
    "tp",
    "pp",
    "ep",
    "dp",
    "concurrency",
    "max_num_seqs",
    "max_num_batched_tokens",
    "num_prompts",
)
NUMBERS = ("request_rate", "isl_mean", "osl_mean")
NEEDED = (
    "id",
    "src",
    "hardware",
    "gpus",
    "model",
    "weights",
    "engine",
    "engine_version",
    "load_mode",
)
THROUGHPUTS = ("output_tps", "output_tps_per_gpu", "total_tps", "req_per_s")
_LATENCY = re.compile(r"(ttft|tpot|itl|e2el)_(mean|median|p\d+)_ms")
_OTHERS = ("duration_s", *THROUGHPUTS, "avg_running", "avg_power_w")

_NUMBER = re.compile(r"\s*(inf|\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)")


@dataclass(frozen=True)
class Point:
    """One row: what was run (`None` or "" where the file doesn't say), and what was measured.

    Settings have the column names of the file. `measured` holds every measured value of the row by
    column: throughputs per second, latencies in ms, `avg_running` requests, `avg_power_w` watts.
    `line` is where the row starts in the file, from 1.
    """

    id: str
    src: str
    line: int
    hardware: str
    gpus: int
    model: str
    weights: str
    engine: str
    engine_version: str
    load_mode: str
    quality: str = ""
    kv_dtype: str = ""
    key_settings: str = ""
    pd_config: str = ""
    isl_nominal: str = ""
    osl_nominal: str = ""
    unclear: str = ""
    notes: str = ""
    source_path: str = ""
    tp: int | None = None
    pp: int | None = None
    ep: int | None = None
    dp: int | None = None
    concurrency: int | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    num_prompts: int | None = None
    request_rate: float | None = None
    isl_mean: float | None = None
    osl_mean: float | None = None
    measured: Mapping[str, float] = field(default_factory=dict)

    @property
    def isl_fixed(self) -> float | None:
        """`isl_nominal` where it is a number of tokens and not the name of a data set."""
        return leading_number(self.isl_nominal)

    @property
    def osl_fixed(self) -> float | None:
        """`osl_nominal` where it is a number of tokens and not a rule."""
        return leading_number(self.osl_nominal)


@dataclass(frozen=True)
class Points:
    """A file's rows, in its order, and the measured columns its header has, in its order."""

    rows: list[Point]
    metrics: tuple[str, ...]


def is_metric(column: str) -> bool:
    """Whether a column of this name holds something measured that ponder can predict."""
    return column in _OTHERS or _LATENCY.fullmatch(column) is not None


def leading_number(text: str) -> float | None:
    """The number a cell starts with, as in "1024 (default)"; None if it doesn't."""
    found = _NUMBER.match(text)
    return float(found[1]) if found else None


def read_points(path: str | Path) -> Points:
    """Read a points file.

    Columns may stand in any order; unknown ones are ignored, of those known only `NEEDED` must be
    there. Numbers are read from the digits a cell starts with; empty cells mean not known. Raises
    InputError with every problem found, each with its line and column: columns missing, a needed
    cell empty, not a number where one belongs, an id twice, a row longer or shorter than the
    header, a file that is no CSV or has no rows.
    """
    file = str(path)
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as stream:
            return _read(stream, file)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(Problem(f"is not a CSV file in UTF-8: {error}", file=file)) from None
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise InputError(Problem(message, file=file)) from None


def _read(stream: Iterable[str], file: str) -> Points:
    reader = csv.reader(stream, strict=True)
    header = next(reader, [])
    missing = [column for column in NEEDED if column not in header]
    twice = sorted({column for column in header if header.count(column) > 1 and column})
    if missing or twice:
        told = [Problem("column is missing", file, 1, column) for column in missing]
        raise InputError(told + [Problem("column is there twice", file, 1, c) for c in twice])
    rows: list[Point] = []
    problems: list[Problem] = []
    seen: dict[str, int] = {}
    line = reader.line_num + 1
    for cells in reader:
        if len(cells) == len(header):
            row = _Row(dict(zip(header, cells, strict=True)), file, line)
            point = row.point()
            problems += row.problems
            if point.id and point.id in seen:
                message = f"{point.id!r} is already on line {seen[point.id]}"
                problems.append(Problem(message, file, line, "id"))
            seen.setdefault(point.id, line)
            rows.append(point)
        elif cells:
            message = f"has {len(cells)} cells, the header has {len(header)}"
            problems.append(Problem(message, file, line))
        line = reader.line_num + 1
    if problems:
        raise InputError(problems)
    if not rows:
        raise InputError(Problem("holds no points", file=file))
    return Points(rows, tuple(column for column in header if is_metric(column)))


@dataclass
class _Row:
    cells: dict[str, str]
    file: str
    line: int
    problems: list[Problem] = field(default_factory=list)

    def point(self) -> Point:
        values: dict[str, Any] = {name: self.cells.get(name, "").strip() for name in TEXTS}
        for name in NEEDED:
            if not self.cells[name].strip():
                self.problems.append(Problem("is empty", self.file, self.line, name))
        values |= {name: self._count(name) for name in COUNTS}
        values |= {name: self._number(name) for name in NUMBERS}
        measured = {name: self._number(name) for name in self.cells if is_metric(name)}
        for name, value in measured.items():
            if value is not None and math.isinf(value):
                self.problems.append(Problem("must be finite", self.file, self.line, name))
        return Point(
            **values,
            line=self.line,
            measured={name: value for name, value in measured.items() if value is not None},
        )

    def _number(self, name: str) -> float | None:
        text = self.cells.get(name, "").strip()
        if not text:
            return None
        value = leading_number(text)
        if value is None:
            shown = text if len(text) <= 40 else f"{text[:37]}..."
            message = f"must start with a number, not {shown!r}"
            self.problems.append(Problem(message, self.file, self.line, name))
        return value

    def _count(self, name: str) -> int | None:
        value = self._number(name)
        if value is None:
            return None
        if value < 1 or math.isinf(value) or value != int(value):
            message = f"must be a whole number above 0, not {value:g}"
            self.problems.append(Problem(message, self.file, self.line, name))
            return None
        return int(value)
