"""What a check says of one property, and how the checks of all cases become one line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Verdict:
    """Whether a policy has a property; if it has not, or that could not be checked, why."""

    name: str
    status: Literal["passed", "failed", "skipped"]
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.status:8}{self.name}" + (f": {self.reason}" if self.reason else "")


class ConformanceError(AssertionError):
    """A policy lacks properties that it must have; `verdicts` are those of the failed ones."""

    def __init__(self, policy: str, verdicts: Iterable[Verdict]) -> None:
        self.verdicts = [verdict for verdict in verdicts if verdict.status == "failed"]
        lines = [f"  {verdict.name}: {verdict.reason}" for verdict in self.verdicts]
        super().__init__("\n".join([f"{policy} does not conform:", *lines]))


def judge(name: str, findings: Iterable[str | None]) -> Verdict:
    """The verdict on property `name` from one finding a case.

    A finding is what is wrong, "" if nothing is, None if the case could not be checked.
    """
    checked = 0
    for finding in findings:
        if finding:
            return Verdict(name, "failed", finding)
        checked += finding is not None
    if checked == 0:
        return Verdict(name, "skipped", "no case was served to its end")
    return Verdict(name, "passed")


def enforce(policy: str, verdicts: Iterable[Verdict]) -> None:
    """Raise `ConformanceError` if any verdict on `policy` (its name) is a failure."""
    verdicts = list(verdicts)
    if any(verdict.status == "failed" for verdict in verdicts):
        raise ConformanceError(policy, verdicts)
