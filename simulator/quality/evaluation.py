"""Reads a user's own evaluation: accuracy at some thinking lengths, or counts by problem."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simulator.errors import InputError, Problem

Floats = NDArray[np.float64]

TOKENS = ("thinking_tokens", "mean_thinking_tokens")
CONTROLS = {
    "": False,
    "natural": False,
    "effort": False,
    "forced": True,
    "budget_forcing": True,
    "wait_and_think_more": True,
}
_MOST_TOKENS = 1e9


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Measured points: float64[n] thinking tokens and accuracy in [0, 1], bool[n] forced.

    attempts: float64[n] behind each point, or None. counts: for each point that was given problem
    by problem, (correct, total) of its problems.
    """

    tokens: Floats
    accuracy: Floats
    forced: NDArray[np.bool_]
    attempts: Floats | None
    counts: list[tuple[Floats, Floats]] = field(default_factory=list)


def read_evaluation(path: str | Path, where: Mapping[str, str] | None = None) -> Evaluation:
    """Read a CSV of points, only the rows whose columns hold what `where` says.

    Columns: `thinking_tokens` (or `mean_thinking_tokens`); then `accuracy` (0 to 1) or
    `accuracy_pct`, optionally with `n` attempts behind it, or `correct` of `total` attempts,
    optionally of a `problem`: rows of one length and control are then the problems of one point.
    `control`: natural (the default; also effort) or forced (also budget_forcing and
    wait_and_think_more). Other columns are left alone.

    Raises InputError with everything wrong, each with file, line and column.
    """
    name = str(path)
    rows, columns = _read(name)
    wanted = dict(where or {})
    problems = [
        Problem("no such column", name, 1, column) for column in wanted if column not in columns
    ]
    token_column = next((column for column in TOKENS if column in columns), None)
    if token_column is None:
        message = f"is required (or {TOKENS[1]})"
        problems.append(Problem(message, name, 1, TOKENS[0]))
    kinds = [kind for kind in ("accuracy", "accuracy_pct") if kind in columns]
    counted = "correct" in columns or "total" in columns
    if len(kinds) + counted != 1:
        message = "give exactly one of accuracy, accuracy_pct, or correct and total"
        problems.append(Problem(message, name, 1))
    if counted:
        missing = {"correct", "total"} - set(columns)
        problems += [Problem("is required with the other", name, 1, each) for each in missing]
    if problems:
        raise InputError(problems)
    chosen = [
        (line, row)
        for line, row in rows
        if all(row[column] == value for column, value in wanted.items())
    ]
    if not chosen:
        conditions = ", ".join(f"{column}={value}" for column, value in wanted.items())
        raise InputError(Problem(f"no rows{f' with {conditions}' if wanted else ''}", name))
    reader = _Reader(name)
    points = [reader.point(line, row, str(token_column), kinds) for line, row in chosen]
    if reader.problems:
        raise InputError(reader.problems)
    return _gathered(points, by_problem="problem" in columns and counted)


@dataclass(frozen=True)
class _Point:
    tokens: float
    forced: bool
    accuracy: float
    attempts: float
    correct: float = math.nan


@dataclass
class _Reader:
    file: str
    problems: list[Problem] = field(default_factory=list)

    def point(self, line: int, row: Mapping[str, str], tokens: str, kinds: Sequence[str]) -> _Point:
        """One row; what is wrong with it goes into `problems`."""
        control = row.get("control", "")
        if control not in CONTROLS:
            known = ", ".join(word for word in CONTROLS if word)
            self._wrong(f"must be one of {known}, not {control!r}", line, "control")
        length = self._number(row, tokens, line, 0.0, _MOST_TOKENS)
        forced = CONTROLS.get(control, False)
        if kinds:
            top = 1.0 if kinds[0] == "accuracy" else 100.0
            accuracy = self._number(row, kinds[0], line, 0.0, top) / top
            attempts = self._number(row, "n", line, 1.0) if row.get("n") else math.nan
            return _Point(length, forced, accuracy, attempts)
        total = self._number(row, "total", line, 1.0, whole=True)
        most = math.inf if math.isnan(total) else total
        correct = self._number(row, "correct", line, 0.0, most, whole=True)
        return _Point(length, forced, correct / total, total, correct)

    def _number(
        self,
        row: Mapping[str, str],
        column: str,
        line: int,
        low: float,
        high: float = math.inf,
        *,
        whole: bool = False,
    ) -> float:
        text = row[column].strip()
        try:
            value = float(text)
        except ValueError:
            self._wrong(
                f"must be a number, not {text[:40]!r}" if text else "is empty", line, column
            )
            return math.nan
        if not (low <= value <= high and math.isfinite(value)):
            bounds = f"at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
            self._wrong(f"must be {bounds}, not {text}", line, column)
            return math.nan
        if whole and value != int(value):
            self._wrong(f"must be a whole number, not {text}", line, column)
        return value

    def _wrong(self, message: str, line: int, column: str) -> None:
        self.problems.append(Problem(message, self.file, line, column))


def _read(name: str) -> tuple[list[tuple[int, dict[str, str]]], list[str]]:
    try:
        text = Path(name).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(Problem("no such file", name)) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "is not UTF-8 text"
        raise InputError(Problem(f"cannot be read: {reason}", name[:200])) from None
    reader = csv.reader(text.splitlines())
    try:
        header = [cell.strip() for cell in next(reader)]
    except StopIteration:
        raise InputError(Problem("is empty", name)) from None
    twice = sorted({column for column in header if header.count(column) > 1})
    if twice:
        raise InputError([Problem("column is there twice", name, 1, each) for each in twice])
    rows, problems = [], []
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            message = f"has {len(cells)} cells where the header has {len(header)}"
            problems.append(Problem(message, name, reader.line_num))
        else:
            rows.append(
                (reader.line_num, dict(zip(header, (c.strip() for c in cells), strict=True)))
            )
    if problems:
        raise InputError(problems)
    if not rows:
        raise InputError(Problem("has no rows", name))
    return rows, header


def _gathered(points: Iterable[_Point], *, by_problem: bool) -> Evaluation:
    if not by_problem:
        listed = list(points)
        attempts = np.array([point.attempts for point in listed])
        return Evaluation(
            np.array([point.tokens for point in listed]),
            np.array([point.accuracy for point in listed]),
            np.array([point.forced for point in listed]),
            None if np.isnan(attempts).any() else attempts,
        )
    groups: dict[tuple[float, bool], list[_Point]] = {}
    for point in points:
        groups.setdefault((point.tokens, point.forced), []).append(point)
    counts = [
        (np.array([p.correct for p in group]), np.array([p.attempts for p in group]))
        for group in groups.values()
    ]
    # Every problem counts alike, however often it was tried.
    return Evaluation(
        np.array([tokens for tokens, _ in groups]),
        np.array([float(np.mean(correct / total)) for correct, total in counts]),
        np.array([forced for _, forced in groups]),
        np.array([float(total.sum()) for _, total in counts]),
        counts,
    )
