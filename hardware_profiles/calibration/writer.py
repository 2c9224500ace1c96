"""Write a profile: the data sheet's text as it stands, the kernel tables from their fits."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

WIDTH = 100
# Plain YAML words that need no quotes; "no", "on" and the like are YAML's own and are quoted.
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*\Z")
WORDS = {"true", "false", "yes", "no", "on", "off", "null"}
KERNELS_COMMENT = """\
# Written by `ponder calibrate {command}`: change the fit, not the numbers.
# docs/calibration.md has the residuals by class of shape.
"""


def with_kernels(text: str, kernels: Mapping[str, Any], command: str) -> str:
    """The profile `text` with its `kernels:` block (the last one, or none yet) replaced.

    Everything before the block, comments included, stays as it is; the block and the comment lines
    directly above it are written anew.
    """
    head = re.split(r"(?m)^(?:#.*\n)*kernels:", text, maxsplit=1)[0].rstrip("\n")
    lines = "\n".join(_lines({"kernels": kernels}, 0))
    return f"{head}\n\n{KERNELS_COMMENT.format(command=command)}{lines}\n"


def _lines(node: Mapping[str | int, Any], depth: int) -> Iterator[str]:
    pad = "  " * depth
    for key, value in node.items():
        label = f"{pad}{_flow(key)}:"
        flow = _flow(value)
        if _on_one_line(key, value) or len(label) + 1 + len(flow) <= WIDTH:
            yield f"{label} {flow}"
        elif isinstance(value, Mapping):
            yield label
            yield from _lines(value, depth + 1)
        else:
            yield label
            yield from (f"{pad}  - {_flow(item)}" for item in value)


def _on_one_line(key: str | int, value: Any) -> bool:
    """Text, numbers, rows of numbers, and `fit`: it reads as one record, however long."""
    if isinstance(value, Mapping):
        return key == "fit"
    return not isinstance(value, list) or not any(isinstance(item, list) for item in value)


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow(k)}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, int):
        return str(value)
    text = str(value)
    plain = PLAIN.match(text) and text.lower() not in WORDS
    return text if plain else json.dumps(text, ensure_ascii=False)


def number(value: float) -> str:
    """A float as YAML reads it back: no exponent without a point, 262144 instead of 262144.0."""
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    text = repr(float(value))
    if "e" in text and "." not in text:
        mantissa, _, exponent = text.partition("e")
        text = f"{mantissa}.0e{exponent}"
    return text


def significant(value: float, digits: int = 4) -> float:
    """`value` to this many significant digits: what a profile keeps of a fitted number."""
    return float(f"{value:.{digits}g}")
