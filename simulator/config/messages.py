"""Says pydantic's validation errors in plain words, at the place the user wrote the value."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from simulator.config.schema import elsewhere, known_keys, nearest
from simulator.config.source import KeyPath, Source, dotted
from simulator.errors import Problem

_WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}
_BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def explain(error: ValidationError, source: Source) -> list[Problem]:
    """Every error in `error` as a `Problem` with file, line and dotted field, in file order."""
    found: list[Problem] = []
    errors = error.errors(include_url=False)
    with_bad_items = {detail["loc"][:-1] for detail in errors}
    for detail in errors:
        if detail["type"] == "too_short" and detail["loc"] in with_bad_items:
            continue  # pydantic counts the good items only
        path, absent = locate(detail["loc"], source.data)
        message = _message(detail, path, source.data)
        field = path
        if detail["type"] == "missing":
            field = (*path, *absent)
        elif detail["type"].startswith("union_tag") and isinstance(detail["input"], dict):
            field = (*path, "kind")
        place = source.place(field)
        found.append(Problem(message, place.file, place.line, dotted(field) or None))
    return found


def locate(loc: tuple[str | int, ...], data: Any) -> tuple[KeyPath, KeyPath]:
    """Split pydantic's location into the path present in `data` and the rest.

    Pydantic puts names into a location that the user never wrote (the tag of a union, the kind of
    a validator): those are left out of the path.
    """
    path: KeyPath = ()
    for position, part in enumerate(loc):
        if isinstance(data, dict) and part in data:
            data = data[part]
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[int(part)]
        elif position == len(loc) - 1:
            return path, (part,)
        else:
            continue
        path = (*path, part)
    return path, ()


def _message(detail: Any, path: KeyPath, data: Any) -> str:
    kind, given, context = detail["type"], detail.get("input"), detail.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(path, data)
    if kind == "missing":
        return "is required"
    if kind in _WANTED:
        return f"must be {_WANTED[kind]}, not {_show(given)}"
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        bound = context[name]
        bound = int(bound) if bound == int(bound) else bound
        return f"must be {words} {bound}, not {_show(given)}"
    if kind in ("literal_error", "union_tag_invalid"):
        return _not_one_of(context, given)
    if kind == "union_tag_not_found":
        if not isinstance(given, dict):
            return f"must be a mapping with a 'kind', not {_show(given)}"
        return "is required: a 'kind' that says which it is"
    if kind in ("too_long", "too_short"):
        words = "at most" if kind == "too_long" else "at least"
        count = context["max_length" if kind == "too_long" else "min_length"]
        items = "item" if count == 1 else "items"
        return f"must have {words} {count} {items}, not {context['actual_length']}"
    if kind == "string_pattern_mismatch":
        return (
            f"has characters that a name here cannot have: {_show(given)}; letters, digits, _ and -"
            " are safe"
        )
    if kind in ("value_error", "assertion_error"):
        return str(context.get("error") or detail["msg"])
    text = str(detail["msg"])
    return text[:1].lower() + text[1:]


def _unknown_key(path: KeyPath, data: Any) -> str:
    *_, key = path
    parent = path[:-1]
    guess = nearest(str(key), known_keys(data, parent) or [])
    if guess:
        return f"unknown key; did you mean {guess!r}?"
    better = elsewhere(data, parent, str(key))
    if better:
        return f"unknown key here; it belongs at {dotted(better)!r}"
    known = ", ".join(known_keys(data, parent) or ())
    return f"unknown key; known: {known}"


def _not_one_of(context: dict[str, Any], given: Any) -> str:
    expected = context.get("expected") or context["expected_tags"]
    if "tag" in context:
        given = context["tag"]
    known = [word.strip("'") for word in expected.replace(" or ", ", ").split(", ")]
    guess = nearest(given, known) if isinstance(given, str) else None
    hint = f"; did you mean {guess!r}?" if guess else ""
    if len(known) == 1:
        return f"must be {known[0]}, not {_show(given)}{hint}"
    return f"must be one of {', '.join(known)}, not {_show(given)}{hint}"


def _show(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
