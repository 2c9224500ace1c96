"""What `ponder schedulers`, `routers`, `predictors` and `admissions` share: a registry, listed."""

from __future__ import annotations

import inspect
import json
from typing import Any

from simulator.cli.catalogue import show
from simulator.policy import Parameter, Policy, parameters_of
from simulator.registry import Registry

HEADINGS = {
    "name": "kind",
    "summary": "what it does",
    "parameters": "parameters = defaults",
    "source": "source",
}


def show_policies(registry: Registry[Any], as_json: bool) -> None:
    """Print what is registered, in order of names, as a table or as JSON.

    JSON has `name`, `summary` (the first line of the class's docstring), `description` (all of it),
    `parameters` (a list of `name`, `default`, `description`) and `source` (null if there is none).
    """
    described = [_described(kind, registry[kind]) for kind in registry]
    show(described if as_json else [_row(each) for each in described], HEADINGS, as_json)


def _described(kind: str, cls: type[Any]) -> dict[str, Any]:
    text = inspect.getdoc(cls) or ""
    policy = issubclass(cls, Policy)
    parameters: list[Parameter] = parameters_of(cls) if policy else []
    return {
        "name": kind,
        "summary": text.partition("\n")[0],
        "description": text,
        "parameters": [vars(parameter) for parameter in parameters],
        "source": (cls.source or None) if policy else None,
    }


def _row(policy: dict[str, Any]) -> dict[str, Any]:
    """A row of the table: what a default is, as YAML writes it."""
    from rich.markup import escape

    parameters = [
        f"{each['name']} = {json.dumps(each['default'])}: {each['description']}"
        for each in policy["parameters"]
    ]
    return {
        "name": policy["name"],
        "summary": escape(policy["summary"]),
        "parameters": escape("\n".join(parameters)) or "-",
        "source": escape(policy["source"] or "-"),
    }
