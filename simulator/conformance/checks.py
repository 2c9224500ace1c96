"""The properties that all families of policies share, and how a family's are put together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from simulator.conformance import accounts
from simulator.conformance.blindness import expects_arrivals, looks_ahead
from simulator.conformance.case import Case, Run
from simulator.conformance.repeats import (
    differs_in_steps,
    differs_when_later,
    differs_when_repeated,
)
from simulator.conformance.verdict import Verdict, judge
from simulator.errors import IntegrityError

SERVES_ALL = "serves all"
CONSERVES = "conserves requests and tokens"
SAME_BYTES = "same seed, same bytes"
SAME_LATER = "same at any time"
SAME_STEPPING = "same in spans and iterations"
BLIND = "blind to the future"

Make = Callable[[], Any]
Account = Callable[[Run], Iterator[str]]
Comparison = Callable[[Run, Make], str | None]


class Checks:
    """What becomes of `cases` under the policies that `make` makes, and verdicts on it."""

    def __init__(self, make: Make, cases: Sequence[Case]) -> None:
        self._make = make
        runs = [case.serve(make()) for case in cases]
        self._served = [run for run in runs if run.served]
        self._refused = [run for run in runs if _asks_for_the_future(run)]
        self._broken = [run for run in runs if _is_broken(run)]
        self._others = [run for run in runs if run not in (*self._refused, *self._broken)]

    def accounts(self, name: str, *checks: Account) -> Verdict:
        """The verdict on a property that each run has or lacks by itself."""
        return judge(name, self._problems(checks))

    def serves_all(self) -> Verdict:
        """No starvation under finite load."""
        findings = (_in_case(run, next(accounts.unserved(run), "")) for run in self._others)
        return judge(SERVES_ALL, findings)

    def conserves(self, *checks: Account) -> Verdict:
        """Nothing is lost or made up, and the engine's own books are in order."""
        broken = [_in_case(run, str(run.error)) for run in self._broken]
        return judge(CONSERVES, [*broken, *self._problems((accounts.lost, *checks))])

    def repeats(self) -> list[Verdict]:
        """Same bytes, same at any time, same in spans and iterations."""
        return [
            judge(SAME_BYTES, self._compared(differs_when_repeated)),
            judge(SAME_LATER, self._compared(differs_when_later)),
            judge(SAME_STEPPING, self._compared(differs_in_steps)),
        ]

    def blind(self) -> Verdict:
        """Lengths that nobody has seen and requests that have not arrived change nothing."""
        refused = [_in_case(run, str(run.error)) for run in self._refused]
        compared = [*self._compared(looks_ahead), *self._compared(expects_arrivals)]
        return judge(BLIND, [*refused, *compared])

    def _problems(self, checks: Sequence[Account]) -> Iterator[str | None]:
        for run in self._served:
            for check in checks:
                yield _in_case(run, next(check(run), ""))

    def _compared(self, comparison: Comparison) -> Iterator[str | None]:
        return (_in_case(run, comparison(run, self._make)) for run in self._served)


def _asks_for_the_future(run: Run) -> bool:
    """Whether a view refused to say what cannot be known."""
    return isinstance(run.error, AttributeError) and "cannot know" in str(run.error)


def _is_broken(run: Run) -> bool:
    """Whether the engine found its own books in disorder."""
    return isinstance(run.error, IntegrityError) and "invariant" in str(run.error)


def _in_case(run: Run, finding: str | None) -> str | None:
    return f"{run.case.name}: {finding}" if finding else finding
