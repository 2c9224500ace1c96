"""The JSON Schema of experiment files, and look-ups of known keys in it for error messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from functools import cache
from typing import Any

from simulator.config.source import KeyPath

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


@cache
def experiment_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of an experiment file. Treat the result as read-only."""
    from simulator.config.experiment import Experiment

    schema = Experiment.model_json_schema(mode="validation")
    whole: dict[str, Any] = _unwrap({"$schema": _DIALECT, **schema, "title": "ponder experiment"})
    return whole


def known_keys(data: Any, path: KeyPath) -> list[str] | None:
    """Keys an experiment may have at `path`, or None where any key will do (names of pools).

    `data` is the experiment as written; its `kind` fields decide between alternatives.
    """
    keys: dict[str, None] = {}
    for node in _nodes(data, path):
        if _free_names(node):
            return None
        keys.update(dict.fromkeys(node.get("properties", ())))
    return list(keys)


def nearest(word: str, known: list[str]) -> str | None:
    """The one of `known` that `word` is probably a misspelling of."""
    found = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return found[0] if found else None


def elsewhere(data: Any, path: KeyPath, key: str) -> KeyPath | None:
    """Where `key` would be right: a mapping above `path`, or one directly below one of those."""
    for depth in range(len(path), -1, -1):
        here = path[:depth]
        for child in (None, *(known_keys(data, here) or ())):
            place = here if child is None else (*here, child)
            if place == path or key not in (known_keys(data, place) or ()):
                continue
            if sum("properties" in node for node in _nodes(data, place)) == 1:  # no kind to guess
                return (*place, key)
    return None


def _unwrap(node: Any) -> Any:
    """Descriptions as one line each: editors wrap them, and docstrings carry line breaks."""
    if isinstance(node, dict):
        return {
            key: " ".join(value.split())
            if key == "description" and isinstance(value, str)
            else _unwrap(value)
            for key, value in node.items()
        }
    return [_unwrap(item) for item in node] if isinstance(node, list) else node


def _nodes(data: Any, path: KeyPath) -> list[dict[str, Any]]:
    """Schema nodes that describe the mapping at `path`."""
    nodes = list(_alternatives(experiment_schema(), data))
    for part in path:
        data = _step(data, part)
        nodes = [
            alternative
            for node in nodes
            for child in _children(node, part)
            for alternative in _alternatives(child, data)
        ]
    return nodes


def _step(data: Any, part: str | int) -> Any:
    if isinstance(data, dict):
        return data.get(part)
    if isinstance(data, list) and isinstance(part, int) and part < len(data):
        return data[part]
    return None


def _children(node: dict[str, Any], part: str | int) -> Iterator[dict[str, Any]]:
    if part in node.get("properties", ()):
        yield node["properties"][part]
    elif _free_names(node):
        yield from _free_names(node)
    elif isinstance(part, int) and isinstance(node.get("items"), dict):
        yield node["items"]


def _free_names(node: dict[str, Any]) -> list[dict[str, Any]]:
    """What may stand under names of the user's choice, if `node` lets the user choose names."""
    free = [*node.get("patternProperties", {}).values(), node.get("additionalProperties")]
    return [child for child in free if isinstance(child, dict)]


def _alternatives(node: dict[str, Any], data: Any) -> Iterator[dict[str, Any]]:
    """What `node` may stand for, once references and unions are followed and `kind` is known."""
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        yield from _alternatives(experiment_schema()["$defs"][name], data)
    elif "anyOf" in node or "oneOf" in node:
        options = [
            option
            for child in node.get("anyOf") or node["oneOf"]
            for option in _alternatives(child, data)
        ]
        kind = data.get("kind") if isinstance(data, dict) else None
        chosen = [option for option in options if kind is not None and _kind(option) == kind]
        yield from chosen or options
    else:
        yield node


def _kind(node: dict[str, Any]) -> str | None:
    kind: dict[str, str] = node.get("properties", {}).get("kind", {})
    return kind.get("const") or kind.get("default")
