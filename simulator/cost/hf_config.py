"""A Hugging Face `config.json` and what is wrong with its keys, with their lines."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simulator.errors import InputError, Problem

LARGEST = 2**31 - 1  # beyond any model; arithmetic on it stays within floats


@dataclass
class HfConfig:
    """One parsed `config.json` and the problems found in it so far."""

    data: dict[str, Any]
    text: str
    file: str
    problems: list[Problem] = field(default_factory=list)

    def complain(self, key: str, message: str) -> None:
        """Note what is wrong with a key, and the line it stands on."""
        found = re.search(rf'"{re.escape(key)}"\s*:', self.text)
        line = self.text.count("\n", 0, found.start()) + 1 if found else None
        self.problems.append(Problem(message, file=self.file, line=line, field=key))

    def positive(self, key: str, default: int | None = None) -> int:
        """A whole number above zero, within reason; without a default the key is needed."""
        value = self.data.get(key)
        if value is None:
            if default is None:
                self.complain(key, "this key is needed to cost the model and is missing")
            return default or 1
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            self.complain(key, f"must be a whole number above 0, not {_show(value)}")
            return 1
        if value > LARGEST:
            self.complain(key, f"must be at most {LARGEST}, not {_show(value)}")
            return 1
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        """A true/false key."""
        value = self.data.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.complain(key, f"must be true or false, not {value!r}")
            return default
        return value

    def natural(self, key: str, default: int = 0) -> int:
        """A whole number that may be 0; null counts as left out."""
        if self.data.get(key) is None:
            return default
        return 0 if self.data[key] == 0 else self.positive(key)

    def max_context_tokens(self) -> int:
        """Longest context the positions allow, stretched by RoPE scaling as vLLM does it."""
        positions = self.positive("max_position_embeddings")
        key = "rope_scaling" if self.data.get("rope_scaling") else "rope_parameters"
        scaling = self.data.get(key) or {}
        if not isinstance(scaling, dict):
            self.complain(key, f"must be an object, not {_show(scaling)}")
            return positions
        kind = scaling.get("rope_type", scaling.get("type", "default"))
        if kind in ("default", "llama3", "longrope", "su") or "factor" not in scaling:
            return positions
        if kind == "yarn":
            positions = scaling.get("original_max_position_embeddings", positions)
        factor = scaling["factor"]
        if not isinstance(factor, int | float) or not isinstance(positions, int) or factor <= 0:
            message = f"factor and original length must be numbers, not {_show(scaling)}"
            self.complain(key, message)
            return 1
        if not 1 <= positions <= LARGEST or not 1 <= positions * factor <= LARGEST:
            self.complain(key, f"gives no possible length: {positions} tokens x {factor}")
            return 1
        return int(positions * factor)


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def read_text_file(path: Path) -> str:
    """The text of a file; InputError if it can't be read or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(Problem(f"cannot be read: {error}", file=str(path))) from None


def parse_hf_config(text: str, file: str) -> HfConfig:
    """Parse the JSON; raises InputError with the line of a syntax error."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(Problem(f"not JSON: {error.msg}", file=file, line=error.lineno)) from None
    except (RecursionError, ValueError) as error:  # ValueError: a number of thousands of digits
        deep = isinstance(error, RecursionError)
        message = "nested too deeply" if deep else "holds a number that is too large"
        raise InputError(Problem(f"not usable JSON: {message}", file=file)) from None
    if not isinstance(data, dict):
        raise InputError(Problem("a config.json is one JSON object", file=file))
    return HfConfig(data=data, text=text, file=file)
