"""Every failure a user can cause, each with the exit code the command line returns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class PonderError(Exception):
    """Base of all errors ponder raises on purpose; `exit_code` is what the CLI exits with."""

    exit_code = 1


@dataclass(frozen=True)
class Problem:
    """One thing wrong with an input: where (`file`, 1-based `line`, dotted `field`) and what."""

    message: str
    file: str | None = None
    line: int | None = None
    field: str | None = None

    def __str__(self) -> str:
        where = self.file or ""
        if self.line is not None:
            where += f":{self.line}"
        parts = [part for part in (where, self.field, self.message) if part]
        return ": ".join(parts)


class InputError(PonderError):
    """Bad input. Holds *all* problems found, not only the first; the CLI exits with 2."""

    exit_code = 2

    def __init__(self, problems: Iterable[Problem] | Problem | str) -> None:
        if isinstance(problems, str):
            problems = [Problem(problems)]
        elif isinstance(problems, Problem):
            problems = [problems]
        self.problems: list[Problem] = list(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class IntegrityError(PonderError):
    """An invariant was broken: a bug in ponder or in a policy, never bad input."""

    exit_code = 3
