"""All that is checked of a router."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from simulator.conformance.case import Case
from simulator.conformance.checks import Checks
from simulator.conformance.fleet_case import router_cases
from simulator.conformance.verdict import Verdict, enforce
from simulator.routers.base import Router


def check_router(make: Callable[[], Router], cases: Sequence[Case] | None = None) -> None:
    """Raise `ConformanceError`, an AssertionError, if a router lacks a property.

    `make` makes a new one, e.g. `MyRouter` or `lambda: MyRouter(snapshot_delay_s=0.1)`. `cases`:
    what it is tried on, None for `router_cases`.
    """
    enforce(type(make()).__name__, router_verdicts(make, cases))


def router_verdicts(
    make: Callable[[], Router], cases: Sequence[Case] | None = None
) -> list[Verdict]:
    """A verdict on each property that a router must have, always in the same order."""
    checks = Checks(make, router_cases() if cases is None else cases)
    return [checks.serves_all(), checks.conserves(), *checks.repeats(), checks.blind()]
