"""`python -m simulator.conformance FAMILY NAME`, or `./my_policy.py:MyClass` for a name.

The family is scheduler, router or strategy. Prints a line for each property that every policy of it
must have: passed, failed or skipped, and why. Exits with 0 if none failed, 1 if any did, 2 for bad
input. `--set name=value` gives the policy a parameter.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import yaml
from pydantic import ValidationError

from simulator.conformance.routers import router_verdicts
from simulator.conformance.schedulers import scheduler_verdicts
from simulator.conformance.strategies import strategy_verdicts
from simulator.errors import InputError, Problem
from simulator.policy import build, find, parameters_of
from simulator.routers import ROUTERS, Router
from simulator.schedulers import SCHEDULERS, Scheduler
from simulator.strategies import STRATEGIES, Strategy

_FAMILIES: dict[str, tuple[Any, type[Any], Any]] = {
    "scheduler": (SCHEDULERS, Scheduler, scheduler_verdicts),
    "router": (ROUTERS, Router, router_verdicts),
    "strategy": (STRATEGIES, Strategy, strategy_verdicts),
}


def main(argv: Sequence[str]) -> int:
    """Check one policy; returns the exit code."""
    parser = argparse.ArgumentParser("python -m simulator.conformance", description=__doc__)
    parser.add_argument("family", choices=list(_FAMILIES))
    parser.add_argument("kind", help="a registered name, or path/to/file.py:ClassName")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="given")
    arguments = parser.parse_args(argv)
    registry, base, verdicts_of = _FAMILIES[arguments.family]
    try:
        cls = find(registry, base, arguments.kind)
        parameters = _parameters(arguments.given)
        _build(cls, parameters)
    except InputError as error:
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        return error.exit_code
    verdicts = verdicts_of(lambda: build(cls, parameters))
    for verdict in verdicts:
        print(verdict)
    return int(any(verdict.status == "failed" for verdict in verdicts))


def _parameters(given: Sequence[str]) -> dict[str, Any]:
    """Values of `--set` as YAML reads them, so that they are what an experiment would say."""
    bad = [Problem(f"--set {each}: not NAME=VALUE") for each in given if "=" not in each]
    if bad:
        raise InputError(bad)
    pairs = (each.split("=", 1) for each in given)
    return {name: yaml.safe_load(value) for name, value in pairs}


def _build(cls: type[Any], parameters: dict[str, Any]) -> Any:
    """An instance; `InputError` with all that is wrong with its parameters."""
    known = ", ".join(parameter.name for parameter in parameters_of(cls)) or "none"
    try:
        return build(cls, parameters)
    except ValidationError as error:
        details = error.errors(include_url=False)
    raise InputError(
        Problem(
            f"no such parameter; known: {known}"
            if each["type"] == "extra_forbidden"
            else f"{each['msg']}, not {each['input']!r}",
            field=".".join(map(str, each["loc"])),
        )
        for each in details
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
