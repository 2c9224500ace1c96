"""Cells that hold a number: what is accepted, from CSV and from JSON, and why not."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.batch import MAX_TOKENS
from workloads.traces.parsing.arrow import arrow, numpy_of
from workloads.traces.parsing.columns import MISSING, Column
from workloads.traces.parsing.problems import shown

INT64 = np.iinfo(np.int64)
MAX_SECONDS = 1e15


class Kind(ABC):
    """One kind of cell. Raises ValueError, worded for the user, for what is none.

    `grammar` is a regular expression, in the common part of Python's and RE2's, for a whole CSV
    cell: what `from_arrow` may be given. Whatever it accepts, `from_cell` does too.
    """

    grammar: str

    @abstractmethod
    def from_cell(self, text: str) -> Any:
        """The value of a CSV cell that is not empty."""

    @abstractmethod
    def from_json(self, value: Any) -> Any:
        """The value itself if it is one of this kind; never None."""

    @abstractmethod
    def from_arrow(self, cells: Any) -> Column | None:
        """The column of an Arrow array of texts that follow the grammar; None if one does not."""

    @abstractmethod
    def pack(self, values: Sequence[Any]) -> Column | None:
        """The column of JSON values, None for absent ones; None if a value may be wrong."""


@dataclass(frozen=True)
class Whole(Kind):
    """A whole number from `least` to `most`, an int64 column."""

    least: int = 0
    most: int = MAX_TOKENS
    grammar: str = r"-?[0-9]{1,19}"

    def from_cell(self, text: str) -> int:
        """The number, in decimal digits."""
        if not re.fullmatch(r"-?[0-9]+", text, re.ASCII):
            raise ValueError(f"not a whole number: {shown(text)}")
        if len(text) > 40:  # int() refuses thousands of digits
            raise ValueError(f"must be from {self.least:,} to {self.most:,}: {shown(text)}")
        return self._checked(int(text))

    def from_json(self, value: Any) -> int:
        """The number; 5.0 is one too."""
        if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"not a whole number: {shown(value)}")
        return self._checked(value)

    def _checked(self, number: int) -> int:
        if number < 0 <= self.least:
            raise ValueError(f"must not be negative: {shown(number)}")
        if not self.least <= number <= self.most:
            raise ValueError(f"must be from {self.least:,} to {self.most:,}: {shown(number)}")
        return number

    def holds(self, numbers: NDArray[np.int64], absent: int) -> bool:
        """Whether all numbers but the `absent` ones, which are MISSING, are in the range."""
        good = (numbers >= self.least) & (numbers <= self.most)
        return int(good.sum()) + absent == len(numbers)

    def from_arrow(self, cells: Any) -> Column | None:
        """By Arrow's cast."""
        pa = arrow()
        numbers = numpy_of(cells.cast(pa.int64()).fill_null(MISSING))
        return numbers if self.holds(numbers, cells.null_count) else None

    def pack(self, values: Sequence[Any]) -> Column | None:
        """By NumPy, if all are integers."""
        types = set(map(type, values))
        if types - {int, type(None)}:
            return None
        absent = values.count(None) if type(None) in types else 0
        if absent:
            values = [MISSING if value is None else value for value in values]
        try:
            numbers = np.array(values, dtype=np.int64)
        except OverflowError:
            return None
        return numbers if self.holds(numbers, absent) else None


@dataclass(frozen=True)
class Decimal(Kind):
    """A finite number from `least` to `most`, a float64 column."""

    least: float = -MAX_SECONDS
    most: float = MAX_SECONDS
    grammar: str = r"-?[0-9]{1,20}(?:\.[0-9]{0,30})?(?:[eE][-+]?[0-9]{1,3})?"

    def from_cell(self, text: str) -> float:
        """The number, in decimal digits, perhaps with an exponent."""
        if not re.fullmatch(r"-?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?", text, re.ASCII):
            raise ValueError(f"not a number: {shown(text)}")
        return self.from_json(float(text))

    def from_json(self, value: Any) -> float:
        """The number."""
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise ValueError(f"not a number: {shown(value)}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"not a finite number: {shown(value)}")
        if value < self.least == 0:
            raise ValueError(f"must not be negative: {shown(value)}")
        if not self.least <= value <= self.most:
            raise ValueError(f"must be from {self.least:g} to {self.most:g}: {shown(value)}")
        return float(value)

    def holds(self, numbers: NDArray[np.float64], absent: int) -> bool:
        """Whether all numbers but the `absent` ones, which are NaN, are in the range."""
        # NaN compares false: as many as are absent must be so.
        return int(((numbers >= self.least) & (numbers <= self.most)).sum()) + absent == len(
            numbers
        )

    def from_arrow(self, cells: Any) -> Column | None:
        """By Arrow's cast, which rounds correctly."""
        pa = arrow()
        numbers = numpy_of(cells.cast(pa.float64()).fill_null(math.nan)).astype(np.float64)
        return numbers if self.holds(numbers, cells.null_count) else None

    def pack(self, values: Sequence[Any]) -> Column | None:
        """By NumPy, if all are numbers."""
        types = set(map(type, values))
        if types - {int, float, type(None)}:
            return None
        absent = values.count(None) if type(None) in types else 0
        try:
            numbers = np.array(values, dtype=np.float64)
        except OverflowError:
            return None
        return numbers if self.holds(numbers, absent) else None


@dataclass(frozen=True)
class Field:
    """A column to read: its name in the file, its kind, and whether every row must have it."""

    name: str
    kind: Kind
    required: bool = True
