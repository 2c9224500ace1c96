"""Cells that hold a name: a text, or a whole number that stands for one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from workloads.traces.parsing.arrow import all_match, arrow, numpy_of
from workloads.traces.parsing.columns import MISSING, Column, Names
from workloads.traces.parsing.kinds import INT64, Kind
from workloads.traces.parsing.problems import shown

NUMBER = r"0|-?[1-9][0-9]{0,17}"


@dataclass(frozen=True)
class Name(Kind):
    """A text, or a whole number that stands for one; an int64 column if all are numbers."""

    grammar: str = r"[^\x00]+"

    def from_cell(self, text: str) -> str | int:
        """The text; digits as the number if they are how it is written."""
        if re.fullmatch(NUMBER, text):
            return int(text)
        return self.from_json(text)

    def from_json(self, value: Any) -> str | int:
        """The text or number."""
        if isinstance(value, str):
            if not is_name(value):
                raise ValueError(f"empty, with a NUL, or not in UTF-8: {ascii(value)[:40]}")
            return value
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"not a text or a whole number: {shown(value)}")
        if not INT64.min < value <= INT64.max:
            raise ValueError(f"too large a number: {shown(value)}")
        return value

    def from_arrow(self, cells: Any) -> Column | None:
        """Numbers if every cell is one, else names."""
        if all_match(cells, NUMBER):
            return numpy_of(cells.cast(arrow().int64()).fill_null(MISSING))
        encoded = cells.dictionary_encode()
        codes = numpy_of(encoded.indices.fill_null(-1)).astype(np.int32)
        return Names(codes, encoded.dictionary.to_pylist())

    def pack(self, values: Sequence[Any]) -> Column | None:
        """Numbers if every value is one, else names."""
        types = set(map(type, values))
        if not types - {int, type(None)}:
            try:
                numbers = np.array([MISSING if v is None else v for v in values], dtype=np.int64)
            except OverflowError:
                return None
            # The one number that stands for none can't be an id.
            return numbers if int((numbers == MISSING).sum()) == values.count(None) else None
        if types - {int, str, type(None)}:
            return None
        known: dict[str, int] = {}
        codes = [-1 if v is None else known.setdefault(str(v), len(known)) for v in values]
        if not all(map(is_name, known)):
            return None
        return Names(np.array(codes, dtype=np.int32), list(known))


def is_name(text: str) -> bool:
    """Whether a text may be a name: not empty, without NUL, and possible in UTF-8."""
    try:
        return bool(text) and b"\x00" not in text.encode()
    except UnicodeEncodeError:
        return False
