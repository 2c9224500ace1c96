"""YAML with the line of every key, so that a complaint can point at it."""

from __future__ import annotations

from typing import Any

import yaml

from simulator.errors import InputError, Problem

MAX_VALUES = 200_000  # aliases written out; a profile has a few thousand
MAX_DEPTH = 100  # the C parser composes recursively, without a limit of its own

Path = tuple[str | int, ...]


def load_yaml_with_lines(text: str, file: str) -> tuple[Any, dict[Path, int]]:
    """Parse one YAML document.

    Returns the data and, for each path of keys and indices, its 1-based line. A syntax error, a
    key given twice or endless nesting raises InputError with file and line.
    """
    try:
        loader_class = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        _check_depth(text, loader_class, file)
        loader = loader_class(text)
        node = loader.get_single_node()
        lines: dict[Path, int] = {}
        problems: list[Problem] = []
        if node is not None:
            _walk(node, (), lines, problems, file)
        if problems:
            raise InputError(problems)
        return (None if node is None else loader.construct_document(node)), lines
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise InputError(Problem(str(error.problem), file=file, line=line)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"holds a character that YAML does not allow: {chr(error.character)!r}"
        raise InputError(Problem(message, file=file, line=line)) from None
    except (ValueError, OverflowError) as error:  # a date or a number that is none
        raise InputError(Problem(f"not usable YAML: {error}", file=file)) from None


def _check_depth(text: str, loader_class: Any, file: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=loader_class):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            line = event.start_mark.line + 1 if event.start_mark else None
            raise InputError(Problem("is nested too deeply", file=file, line=line))


def _walk(
    node: yaml.Node, path: Path, lines: dict[Path, int], problems: list[Problem], file: str
) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if len(path) > MAX_DEPTH or len(lines) > MAX_VALUES:
        message = "too much is nested here: does an alias (*) refer to what contains it?"
        raise InputError(Problem(message, file=file, line=node.start_mark.line + 1))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                message = "a key must be a single word"
                problems.append(Problem(message, file=file, line=key.start_mark.line + 1))
                continue
            at = (*path, key.value)
            line = key.start_mark.line + 1
            if at in lines:
                field = ".".join(map(str, at))
                problems.append(Problem("given twice", file=file, line=line, field=field))
            lines[at] = line
            _walk(value, at, lines, problems, file)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _walk(value, (*path, index), lines, problems, file)
