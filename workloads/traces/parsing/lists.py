"""Cells that hold a list: hashes of blocks, or segments of a prompt."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.batch import MAX_TOKENS
from workloads.traces.parsing.arrow import arrow, compute, numpy_of
from workloads.traces.parsing.columns import Column, Lists
from workloads.traces.parsing.kinds import INT64, Kind
from workloads.traces.parsing.problems import shown


@dataclass(frozen=True)
class Ids(Kind):
    """A list of whole numbers that fit 64 bits, a `Lists` column; in CSV with spaces between."""

    grammar: str = r"-?[0-9]{1,19}(?: -?[0-9]{1,19})*"

    def from_cell(self, text: str) -> list[int]:
        """The numbers."""
        if not re.fullmatch(r"-?[0-9]{1,20}( -?[0-9]{1,20})*", text, re.ASCII):
            raise ValueError(f"not whole numbers with a space between: {shown(text)}")
        return self.from_json([int(number) for number in text.split(" ")])

    def from_json(self, value: Any) -> list[int]:
        """The numbers."""
        if not isinstance(value, list):
            raise ValueError(f"not a list of whole numbers: {shown(value)}")
        for number in value:
            if type(number) is not int or not INT64.min <= number <= INT64.max:
                raise ValueError(f"holds what is no 64-bit whole number: {shown(number)}")
        return value

    def from_arrow(self, cells: Any) -> Column | None:
        """By splitting in Arrow."""
        pc = compute()
        lists = pc.split_pattern(cells, " ")
        lengths = numpy_of(pc.list_value_length(lists).fill_null(-1)).astype(np.int64)
        return Lists(lengths, numpy_of(pc.list_flatten(lists).cast(arrow().int64())))

    def pack(self, values: Sequence[Any]) -> Column | None:
        """Flattened, if all are lists of integers."""
        if set(map(type, values)) - {list, type(None)}:
            return None
        flat = list(chain.from_iterable(filter(None, values)))
        if set(map(type, flat)) - {int}:
            return None
        lengths = [-1 if value is None else len(value) for value in values]
        try:
            return Lists(np.array(lengths, dtype=np.int64), np.array(flat, dtype=np.int64))
        except OverflowError:
            return None


@dataclass(frozen=True)
class Pairs(Ids):
    """A list of [id, tokens], a `Lists` column of pairs; in CSV `7:512 9:20`."""

    grammar: str = r"[0-9]{1,19}:[0-9]{1,10}(?: [0-9]{1,19}:[0-9]{1,10})*"

    def holds(self, pairs: NDArray[np.int64]) -> bool:
        """Whether all ids and tokens (int64[m, 2]) are in their ranges."""
        ids, tokens = pairs[:, 0], pairs[:, 1]
        return not len(pairs) or bool(
            ids.min() >= 0 and tokens.min() >= 1 and tokens.max() <= MAX_TOKENS
        )

    def from_cell(self, text: str) -> Any:
        """The pairs."""
        if not re.fullmatch(self.grammar, text, re.ASCII):
            raise ValueError(f"not pairs such as 7:512 9:20: {shown(text)}")
        return self.from_json([[int(n) for n in pair.split(":")] for pair in text.split(" ")])

    def from_json(self, value: Any) -> Any:
        """The pairs."""
        if not isinstance(value, list):
            raise ValueError(f"not a list of [id, tokens]: {shown(value)}")
        for pair in value:
            if not isinstance(pair, list) or len(pair) != 2 or {*map(type, pair)} != {int}:
                raise ValueError(f"holds what is no [id, tokens]: {shown(pair)}")
            if not 0 <= pair[0] <= INT64.max or not 1 <= pair[1] <= MAX_TOKENS:
                raise ValueError(f"an id is at least 0 and tokens at least 1: {shown(pair)}")
        return value

    def from_arrow(self, cells: Any) -> Column | None:
        """By splitting in Arrow."""
        numbers = super().from_arrow(compute().replace_substring(cells, ":", " "))
        assert isinstance(numbers, Lists)
        pairs = numbers.flat.reshape(-1, 2)
        if not self.holds(pairs):
            return None
        lengths = np.where(numbers.lengths > 0, numbers.lengths // 2, numbers.lengths)
        return Lists(lengths, pairs)

    def pack(self, values: Sequence[Any]) -> Column | None:
        """Flattened, if all are lists of pairs."""
        if set(map(type, values)) - {list, type(None)}:
            return None
        pairs = list(chain.from_iterable(filter(None, values)))
        if set(map(type, pairs)) - {list} or set(map(len, pairs)) - {2}:
            return None
        flat = list(chain.from_iterable(pairs))
        if set(map(type, flat)) - {int}:
            return None
        lengths = [-1 if value is None else len(value) for value in values]
        try:
            array = np.array(flat, dtype=np.int64).reshape(-1, 2)
        except OverflowError:
            return None
        if not self.holds(array):
            return None
        return Lists(np.array(lengths, dtype=np.int64), array)
