"""All that is checked of a scheduler."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from simulator.conformance import accounts
from simulator.conformance.blindness import expects_arrivals, looks_ahead
from simulator.conformance.case import Case
from simulator.conformance.idleness import idle
from simulator.conformance.repeats import (
    differs_in_steps,
    differs_when_later,
    differs_when_repeated,
)
from simulator.conformance.serving import MakeScheduler, Run, serve
from simulator.conformance.verdict import ConformanceError, Verdict, judge
from simulator.conformance.workloads import scheduler_cases
from simulator.errors import IntegrityError

SERVES_ALL = "serves all"
CONSERVES = "conserves requests and tokens"
KV = "keeps within the KV cache"
BUDGETS = "keeps within budgets"
WORK = "leaves no seat empty"
SAME_BYTES = "same seed, same bytes"
SAME_LATER = "same at any time"
SAME_STEPPING = "same in spans and iterations"
BLIND = "blind to the future"

Account = Callable[[Run], Iterator[str]]
Comparison = Callable[[Run, MakeScheduler], str | None]


def check_scheduler(make: MakeScheduler, cases: Sequence[Case] | None = None) -> None:
    """Raise `ConformanceError`, an AssertionError, if a scheduler lacks a property.

    `make` makes a new one, e.g. `MyScheduler` or `lambda: MyScheduler(quantum_tokens=64)`. `cases`:
    what it is tried on, None for `scheduler_cases`.
    """
    verdicts = scheduler_verdicts(make, cases)
    if any(verdict.status == "failed" for verdict in verdicts):
        raise ConformanceError(type(make()).__name__, verdicts)


def scheduler_verdicts(make: MakeScheduler, cases: Sequence[Case] | None = None) -> list[Verdict]:
    """A verdict on each property that a scheduler must have, in the order of the names above."""
    runs = [serve(case, make()) for case in (scheduler_cases() if cases is None else cases)]
    served = [run for run in runs if run.served]
    peeking = [run for run in runs if _is_refused(run)]
    broken = [run for run in runs if _is_broken(run)]
    others = [run for run in runs if run not in (*peeking, *broken)]

    def accounts_of(account: Account, among: Sequence[Run]) -> Iterator[str | None]:
        return (_in_case(run, next(account(run), "")) for run in among)

    def compared(comparison: Comparison) -> Iterator[str | None]:
        return (_in_case(run, comparison(run, make)) for run in served)

    errors = [_in_case(run, str(run.error)) for run in broken]
    refusals = [_in_case(run, str(run.error)) for run in peeking]
    conserves_work = make().work_conserving
    return [
        judge(SERVES_ALL, accounts_of(accounts.unserved, others)),
        judge(CONSERVES, [*errors, *accounts_of(accounts.lost, served)]),
        judge(KV, accounts_of(accounts.leaked, served)),
        judge(BUDGETS, accounts_of(accounts.overspent, served)),
        judge(WORK, accounts_of(idle, served))
        if conserves_work
        else Verdict(WORK, "skipped", "work_conserving is False"),
        judge(SAME_BYTES, compared(differs_when_repeated)),
        judge(SAME_LATER, compared(differs_when_later)),
        judge(SAME_STEPPING, compared(differs_in_steps)),
        judge(BLIND, [*refusals, *compared(looks_ahead), *compared(expects_arrivals)]),
    ]


def _is_refused(run: Run) -> bool:
    """Whether a view refused to say what cannot be known."""
    return isinstance(run.error, AttributeError) and "cannot know" in str(run.error)


def _is_broken(run: Run) -> bool:
    """Whether the engine found its own books in disorder."""
    return isinstance(run.error, IntegrityError) and "invariant" in str(run.error)


def _in_case(run: Run, finding: str | None) -> str | None:
    return f"{run.case.name}: {finding}" if finding else finding
