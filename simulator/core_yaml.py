"""YAML with the scalars of version 1.2's core schema, which PyYAML lacks.

`1e-3` is a number, `on` and `no` are words, `10:30` is not sixty-based, dates stay text. That is
what people who write YAML for other tools expect, and what editors check against the JSON Schema.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

_CORE_SCALARS = [
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(?:0|[1-9][0-9_]*)|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)",
        "-+.0123456789",
    ),
    ("merge", r"<<", "<"),
]


def dump_yaml(data: Any) -> str:
    """Plain data as YAML text that `CoreLoader` reads back to equal data, keys in given order.

    Text beyond ASCII is escaped: PyYAML writes some line separators raw and then misreads them.
    """
    return yaml.dump(data, Dumper=CoreDumper, sort_keys=False)


class CoreLoader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


class CoreDumper(yaml.SafeDumper):
    """Quotes exactly those strings that `CoreLoader` would read as something else."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def ignore_aliases(self, data: Any) -> bool:
        """Write every value out: nobody expects anchors in an experiment file."""
        return True


def _construct_float(loader: CoreLoader, node: yaml.ScalarNode) -> int | float:
    text = loader.construct_scalar(node)
    value = float(text)
    # `1e4` is the usual way to write ten thousand requests, so it may stand where an int must.
    return int(value) if "." not in text and value.is_integer() else value


for _tag, _pattern, _first in _CORE_SCALARS:
    for _class in (CoreLoader, CoreDumper):
        _class.add_implicit_resolver(
            f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first)
        )
CoreLoader.add_constructor("tag:yaml.org,2002:float", _construct_float)
