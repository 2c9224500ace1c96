"""Malformed rows: all are counted, the first ones are named."""

from __future__ import annotations

from collections.abc import Iterable

from simulator.errors import InputError, Problem

MAX_LISTED_ROWS = 20


class BadRows:
    """Collects what is wrong with the rows of one file."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.count = 0
        self._rows: list[list[Problem]] = []

    def add(self, line: int | None, *wrong: tuple[str | None, str]) -> None:
        """One more malformed row: its line and, for all that is wrong, (field, message)."""
        self.add_row([Problem(text, self.file, line, field) for field, text in wrong])

    def add_row(self, problems: list[Problem]) -> None:
        """One more malformed row, with its problems."""
        self.count += 1
        self._rows.append(problems)
        # Rows come piece by piece, but within a piece in the order of what is looked at.
        if len(self._rows) > 100 * MAX_LISTED_ROWS:
            self._rows = self._first()

    def _first(self) -> list[list[Problem]]:
        return sorted(self._rows, key=_line)[:MAX_LISTED_ROWS]

    def check(self) -> None:
        """Raises InputError if any row was malformed: the first 20 in full, then how many more."""
        problems = self.problems()
        if problems:
            raise InputError(problems)

    def problems(self) -> list[Problem]:
        """Those of the first 20 malformed rows, then how many more there are."""
        problems = [problem for row in self._first() for problem in row]
        if self.count > MAX_LISTED_ROWS:
            unlisted = self.count - MAX_LISTED_ROWS
            problems.append(Problem(f"... and {unlisted:,} more malformed rows", file=self.file))
        return problems


def malformed(rows: Iterable[list[Problem]], file: str) -> InputError:
    """One error for malformed rows whose problems are known: the first 20, then how many more."""
    bad = BadRows(file)
    for row in rows:
        bad.add_row(row)
    return InputError(bad.problems())


def shown(value: object) -> str:
    """A value for a message, shortened."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, deep nesting
        return f"a {type(value).__name__} too large to show"
    return text if len(text) <= 42 else text[:39] + "..." + text[-1:]


def _line(row: list[Problem]) -> int:
    return (row[0].line or 0) if row else 0
