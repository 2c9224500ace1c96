"""`--set path.to.key=value`: changes to an experiment made on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from simulator.config.schema import known_keys, nearest
from simulator.config.source import KeyPath, Place, Source, dotted, parse_yaml, undotted
from simulator.errors import InputError, Problem


@dataclass(frozen=True)
class Override:
    """One change: the value at `path` becomes `value`. `origin` is what the user typed."""

    path: KeyPath
    value: Any
    origin: str


def parse_override(text: str) -> Override:
    """Read `path.to.key=value`; the value is YAML (`=2`, `=[1, 2]`, `={kind: poisson}`, `=null`).

    Raises `InputError` if there is no `=`, a part of the path is empty or the value is not YAML.
    """
    origin = f"--set {text}"
    field, equals, value = text.partition("=")
    field = field.strip()
    if not equals:
        raise InputError(Problem("must have the form path.to.key=value", origin))
    if not all(field.split(".")):
        raise InputError(Problem("the part before '=' must be a path such as slo.ttft_s", origin))
    try:
        source = parse_yaml(value, origin)
        problems = source.problems
    except InputError as error:
        problems = error.problems
    if problems:
        raise InputError(Problem(problem.message, origin) for problem in problems)
    return Override(undotted(field), source.data, origin)


def apply_override(source: Source, override: Override) -> Problem | None:
    """Change `source` in place; the changed value's place is then the option, not a line.

    Mappings on the way that the file leaves out are created. Returns what is wrong with the path,
    if anything; the value is checked later, with the rest of the experiment.
    """
    place = Place(override.origin)
    container: Any = source.data
    path: KeyPath = ()
    for part in override.path:
        last = len(path) == len(override.path) - 1
        if not isinstance(container, dict | list):
            message = f"is the single value {container!r}, so nothing can be set inside it"
            return Problem(message, place.file, field=dotted(path))
        key: str | int = str(part) if isinstance(container, dict) else part
        if isinstance(container, list) and not (isinstance(key, int) and key < len(container)):
            message = f"has {len(container)} items, numbered from 0; there is no {key!r}"
            return Problem(message, place.file, field=dotted(path))
        child = container.get(key) if isinstance(container, dict) else container[int(key)]
        if not last and child is None:
            message = _unknown(source.data, path, str(key))
            if message:
                return Problem(message, place.file, field=dotted((*path, key)))
            child = {}
        path = (*path, key)
        if last or child == {}:
            child = override.value if last else child
            container[key] = child  # type: ignore[index]
            source.record(path, place)
        container = child
    return None


def _unknown(data: Any, path: KeyPath, key: str) -> str:
    """Why the mapping `key` cannot be created at `path`; empty if it can."""
    known = known_keys(data, path)
    if known is None:
        present = data
        for part in path:
            present = present[part]
        known = list(present)
    if key in known:
        return ""
    guess = nearest(key, known)
    hint = f"did you mean {guess!r}?" if guess else f"known: {', '.join(known) or 'none'}"
    return f"no such path; {hint}"
