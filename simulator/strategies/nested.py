"""A strategy within a strategy, as a parameter: its kind, or a mapping of kind and parameters."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from simulator.errors import InputError, Problem
from simulator.policy import build, find
from simulator.strategies.base import STRATEGIES, Draft, Strategy


def nested(given: str | dict[str, Any], field: str) -> Strategy:
    """The strategy that `given` names. Raises `InputError` at `field` with all that is wrong."""
    parameters = {"kind": given} if isinstance(given, str) else dict(given)
    kind = str(parameters.pop("kind", "single"))
    try:
        return build(find(STRATEGIES, Strategy, kind), parameters)
    except ValidationError as error:
        wrong = [
            Problem(each["msg"], field=".".join([field, *map(str, each["loc"])]))
            for each in error.errors(include_url=False)
        ]
        raise InputError(wrong) from None
    except InputError as error:
        raise InputError(Problem(str(error), field=field)) from None


def plan_nested(strategy: Strategy, draft: Draft) -> Any:
    """Its plan, as its `answer` takes it. Raises `InputError` where `strategy` does not go."""
    if strategy.compares_answers:
        draft.judge  # noqa: B018 - refuses an experiment that does not know what is right
    first = len(draft.calls)
    plan = strategy.plan(draft)
    return draft.calls[first] if strategy.sends_one_request() else plan
