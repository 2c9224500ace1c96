"""Reads YAML into plain data and remembers the file and line of every value.

Scalars are those of `simulator.core_yaml`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from simulator.core_yaml import CoreLoader
from simulator.errors import InputError, Problem

KeyPath = tuple[str | int, ...]

MAX_VALUES = 100_000  # aliases written out; far more than any experiment has
_LARGEST_INT = 2**1024  # beyond any float, and small enough to print

_MERGE_TAG = "tag:yaml.org,2002:merge"


@dataclass(frozen=True)
class Place:
    """Where a value was written: a file and 1-based line, or a command-line option."""

    file: str | None
    line: int | None = None


@dataclass
class Source:
    """A YAML document as plain data (`dict`, `list`, scalars) plus the place of every key path.

    `problems` holds what was wrong but did not stop the reading (duplicate keys, odd keys).
    """

    data: Any
    places: dict[KeyPath, Place]
    problems: list[Problem] = field(default_factory=list)

    def place(self, path: KeyPath) -> Place:
        """Where `path` was written, or else its nearest enclosing value."""
        for length in range(len(path), -1, -1):
            found = self.places.get(path[:length])
            if found is not None:
                return found
        return Place(None)

    def place_of(self, field: str) -> Place:
        """As `place`, for a dotted path."""
        by_text = {dotted(path): place for path, place in self.places.items()}
        while field and field not in by_text:
            field = field.rpartition(".")[0]
        return by_text.get(field, Place(None))

    def problem(self, path: KeyPath, message: str) -> Problem:
        """A `Problem` about the value at `path`, with its file, line and dotted field."""
        place = self.place(path)
        return Problem(message, place.file, place.line, dotted(path) or None)

    def record(self, path: KeyPath, place: Place) -> None:
        """Say that everything at and below `path` now comes from `place`."""
        for old in [known for known in self.places if known[: len(path)] == path]:
            del self.places[old]
        self.places[path] = place


def dotted(path: KeyPath) -> str:
    """`("pools", "a", "replicas")` as `pools.a.replicas`."""
    return ".".join(str(part) for part in path)


def undotted(text: str) -> KeyPath:
    """The inverse of `dotted`; parts made of digits become list positions."""
    return tuple(int(part) if part.isdecimal() else part for part in text.split("."))


def read_yaml(path: str | Path) -> Source:
    """Read a YAML file whose root is a mapping.

    Raises `InputError` (naming file and line) if it is missing, unreadable, not UTF-8 or not YAML.
    """
    name = str(path)
    try:
        raw = Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError(Problem("no such file", name)) from None
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(Problem(f"cannot be read: {reason}", name[:200])) from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError(Problem("is not UTF-8 text", name, line)) from None
    source = parse_yaml(text, name)
    if source.data is None:
        raise InputError(Problem("is empty", name))
    if not isinstance(source.data, dict):
        raise InputError(Problem("must be a mapping of keys to values", name, 1))
    return source


def parse_yaml(text: str, name: str) -> Source:
    """Parse one YAML document; `name` stands for the file in problems.

    Raises `InputError` on a syntax error, with its line.
    """
    try:
        loader = CoreLoader(text)
        node = loader.get_single_node()
        builder = _Builder(loader, name)
        data = None if node is None else builder.build(node, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(part for part in (error.context, error.problem) if part)
        line = mark.line + 1 if mark else None
        raise InputError(Problem(f"not valid YAML: {what}", name, line)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"not valid YAML: character {error.character!r} is not allowed"
        raise InputError(Problem(message, name, line)) from None
    except RecursionError:
        raise InputError(Problem("not usable YAML: nested too deeply", name)) from None
    builder.places.setdefault((), Place(name, 1 if node is not None else None))
    return Source(data, builder.places, builder.problems)


def from_mapping(data: Mapping[str, Any]) -> Source:
    """A `Source` of data that was built in Python: problems then carry only the field.

    Raises `InputError` for keys that are no text and for data that contains itself.
    """
    source = Source(None, {(): Place(None)})
    try:
        source.data = plain(data, (), source.problems)
    except RecursionError:
        raise InputError("the experiment is nested too deeply") from None
    if source.problems:
        raise InputError(source.problems)
    return source


def plain(value: Any, path: KeyPath = (), problems: list[Problem] | None = None) -> Any:
    """`value` with dicts for mappings, lists for sequences, Python's numbers for NumPy's.

    Keys that are no text are added to `problems`.
    """
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str) and problems is not None:
                message = f"a key must be text, not {key!r}"
                problems.append(Problem(message, field=dotted(path) or None))
        return {key: plain(item, (*path, key), problems) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, (*path, i), problems) for i, item in enumerate(value)]
    return value


def clean(source: Source) -> list[Problem]:
    """Replace what JSON cannot hold, halves of characters and endless integers; what was wrong.

    The integers need no complaint: what stands in for them is still too large everywhere.
    """
    problems: list[Problem] = []

    def cleaned(value: Any, path: KeyPath) -> Any:
        if isinstance(value, dict):
            return {text(k, path): cleaned(item, (*path, k)) for k, item in value.items()}
        if isinstance(value, list):
            return [cleaned(item, (*path, i)) for i, item in enumerate(value)]
        if isinstance(value, int) and abs(value) > _LARGEST_INT:
            return _LARGEST_INT if value > 0 else -_LARGEST_INT
        return text(value, path) if isinstance(value, str) else value

    def text(value: str, path: KeyPath) -> str:
        sound = value.encode("utf-8", "replace").decode("utf-8")
        if sound != value:
            problems.append(source.problem(path, f"holds half a character: {value!r}"))
        return sound

    source.data = cleaned(source.data, ())
    return problems


class _Builder:
    """Turns composed nodes into plain data, noting the place of each key path on the way."""

    def __init__(self, loader: CoreLoader, name: str) -> None:
        self.loader = loader
        self.name = name
        self.places: dict[KeyPath, Place] = {}
        self.problems: list[Problem] = []
        self._open: list[yaml.Node] = []
        self._count = 0

    def build(self, node: yaml.Node, path: KeyPath) -> Any:
        self._count += 1
        if self._count > MAX_VALUES:
            message = f"holds more than {MAX_VALUES:,} values, each alias (*) written out"
            raise InputError(Problem(message, self.name, node.start_mark.line + 1))
        self.places.setdefault(path, self._place(node))
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if any(node is outer for outer in self._open):
            self._problem(node, path, "an alias (*) refers to the value that contains it")
            return None
        self._open.append(node)
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.build(item, (*path, i)) for i, item in enumerate(node.value)]
            assert isinstance(node, yaml.MappingNode)
            return self._mapping(node, path)
        finally:
            self._open.pop()

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        try:
            return self.loader.construct_object(node)
        except (ValueError, OverflowError):
            self._problem(node, path, f"cannot be read as {node.tag.rpartition(':')[2]}")
            return None

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for _, value_node in (pair for pair in node.value if pair[0].tag == _MERGE_TAG):
            for part in self._merge_parts(value_node, path):
                merged = {**part, **merged}
        for key_node, value_node in (pair for pair in node.value if pair[0].tag != _MERGE_TAG):
            key = key_node.value
            here = (*path, str(key))
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(key_node, path, "a key must be a single word")
            elif key in result:
                first = self.places[here].line
                self._problem(key_node, here, f"duplicate key, first given on line {first}")
            else:
                self.places[here] = self._place(key_node)
                result[key] = self.build(value_node, here)
        return {**merged, **result}

    def _merge_parts(self, node: yaml.Node, path: KeyPath) -> list[dict[str, Any]]:
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        if all(isinstance(part, yaml.MappingNode) for part in nodes):
            return [self.build(part, path) or {} for part in nodes]
        self._problem(node, path, "'<<' takes a mapping or a list of mappings")
        return []

    def _place(self, node: yaml.Node) -> Place:
        return Place(self.name, node.start_mark.line + 1)

    def _problem(self, node: yaml.Node, path: KeyPath, message: str) -> None:
        place = self._place(node)
        self.problems.append(Problem(message, place.file, place.line, dotted(path) or None))
