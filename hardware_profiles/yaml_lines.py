"""YAML with the line of every key, so that a complaint can point at it."""

from __future__ import annotations

from typing import Any

import yaml

from simulator.errors import InputError, Problem

Path = tuple[str | int, ...]


def load_yaml_with_lines(text: str, file: str) -> tuple[Any, dict[Path, int]]:
    """Parse one YAML document.

    Returns the data and, for each path of keys and indices, its 1-based line. A syntax error or a
    key given twice raises InputError with file and line.
    """
    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
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


def _walk(
    node: yaml.Node, path: Path, lines: dict[Path, int], problems: list[Problem], file: str
) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
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
