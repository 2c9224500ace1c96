"""All that is checked of a scheduler."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from simulator.conformance import accounts
from simulator.conformance.case import Case
from simulator.conformance.checks import Checks
from simulator.conformance.engine_case import scheduler_cases
from simulator.conformance.idleness import idle
from simulator.conformance.verdict import Verdict, enforce
from simulator.schedulers.base import Scheduler

KV = "keeps within the KV cache"
BUDGETS = "keeps within budgets"
WORK = "leaves no seat empty"


def check_scheduler(make: Callable[[], Scheduler], cases: Sequence[Case] | None = None) -> None:
    """Raise `ConformanceError`, an AssertionError, if a scheduler lacks a property.

    `make` makes a new one, e.g. `MyScheduler` or `lambda: MyScheduler(quantum_tokens=64)`. `cases`:
    what it is tried on, None for `scheduler_cases`.
    """
    enforce(type(make()).__name__, scheduler_verdicts(make, cases))


def scheduler_verdicts(
    make: Callable[[], Scheduler], cases: Sequence[Case] | None = None
) -> list[Verdict]:
    """A verdict on each property that a scheduler must have, always in the same order."""
    checks = Checks(make, scheduler_cases() if cases is None else cases)
    return [
        checks.serves_all(),
        checks.conserves(accounts.miscounted),
        checks.accounts(KV, accounts.leaked),
        checks.accounts(BUDGETS, accounts.overspent),
        checks.accounts(WORK, idle)
        if make().work_conserving
        else Verdict(WORK, "skipped", "work_conserving is False"),
        *checks.repeats(),
        checks.blind(),
    ]
