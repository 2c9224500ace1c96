"""The columns of a piece of a trace, and how pieces are put together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from simulator.errors import InputError, Problem
from workloads.traces.parsing.problems import BadRows

MISSING = np.iinfo(np.int64).min
"""Stands for an absent whole number; NaN stands for an absent decimal one."""


@dataclass(frozen=True, eq=False)
class Lists:
    """A list of whole numbers in each of `n` rows.

    lengths: int64[n], -1 where a row has no list. flat: int64[m] or, for pairs, int64[m, 2].
    """

    lengths: NDArray[np.int64]
    flat: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Names:
    """A text in each of `n` rows: codes int32[n], indices into `names`; -1 where there is none."""

    codes: NDArray[np.int32]
    names: list[str]


Column = NDArray[Any] | Lists | Names


@dataclass(frozen=True, eq=False)
class Piece:
    """Some rows of a trace, in the file's order: their line numbers, int64[n], and columns.

    A column that none of the rows has may be left out.
    """

    lines: NDArray[np.int64]
    columns: dict[str, Column]

    def __len__(self) -> int:
        return len(self.lines)

    def numbers(self, name: str) -> NDArray[Any]:
        """The column `name` of numbers."""
        return cast(NDArray[Any], self.columns[name])


class Table:
    """All pieces of a trace put together, column by column.

    Raises InputError if rows were malformed, and if there are none.
    """

    def __init__(self, pieces: Iterable[Piece], bad: BadRows) -> None:
        self.rows = 0
        self._parts: list[tuple[int, dict[str, Column]]] = []
        for piece in pieces:
            if bad.count:  # nothing will come of it: go on only to find what else is wrong
                self._parts.clear()
            elif len(piece):
                self.rows += len(piece)
                self._parts.append((len(piece), piece.columns))
        bad.check()
        if not self.rows:
            raise InputError(Problem("holds no requests", file=bad.file))

    def __contains__(self, name: str) -> bool:
        return any(name in columns for _, columns in self._parts)

    def _take(self, name: str) -> list[Column]:
        """The parts of a column, which are let go: a column is asked for once."""
        parts = [(rows, columns.pop(name, None)) for rows, columns in self._parts]
        some = next(part for _, part in parts if part is not None)
        return [_nothing(rows, some) if part is None else part for rows, part in parts]

    def numbers(self, name: str) -> NDArray[Any]:
        """A column of numbers, int64[n] or float64[n]."""
        return np.concatenate(cast(list[NDArray[Any]], self._take(name)))

    def whole(self, name: str, absent: int) -> NDArray[np.int64] | None:
        """A column of whole numbers, `absent` where there is none; None if all rows lack it."""
        if name not in self:
            return None
        numbers = self.numbers(name)
        missing = numbers == MISSING
        if missing.all():
            return None
        numbers[missing] = absent
        return numbers

    def lists(self, name: str) -> Lists | None:
        """A column of lists; None if all rows lack it."""
        if name not in self:
            return None
        parts = cast(list[Lists], self._take(name))
        return Lists(
            np.concatenate([part.lengths for part in parts]),
            np.concatenate([part.flat for part in parts]),
        )

    def names(self, name: str) -> tuple[NDArray[np.int32], tuple[str, ...]]:
        """A column of texts: codes, -1 for none, and the texts in order of appearance."""
        known: dict[str, int] = {}
        codes = [_recoded(_as_names(part), known) for part in self._take(name)]
        return np.concatenate(codes), tuple(known)

    def classes(self, name: str) -> tuple[NDArray[np.int32] | None, tuple[str, ...]]:
        """A column of texts as `names`, "default" where there is none; (None, ()) if all lack it.

        A column that the file does not have is one that all rows lack.
        """
        if name not in self:
            return None, ()
        codes, names = self.names(name)
        if not names:
            return None, ()
        if (codes < 0).any():
            names = names if "default" in names else (*names, "default")
            codes = np.where(codes < 0, np.int32(names.index("default")), codes).astype(np.int32)
        return codes, names

    def identities(self, name: str) -> NDArray[np.int64]:
        """A column of ids, int64[n], -1 for none: as they are if all are whole numbers from 0 on.

        Otherwise they are numbered in order of appearance.
        """
        parts = self._take(name)
        if all(isinstance(part, np.ndarray) for part in parts):
            ids = np.concatenate(cast(list[NDArray[np.int64]], parts))
            missing = ids == MISSING
            if not (ids[~missing] < 0).any():
                return np.where(missing, -1, ids)
        known: dict[str, int] = {}
        codes = np.concatenate([_recoded(_as_names(part), known) for part in parts])
        return codes.astype(np.int64)


def _nothing(rows: int, like: Column) -> Column:
    """A column that no row has, of the kind of `like`."""
    if isinstance(like, Lists):
        return Lists(np.full(rows, -1, dtype=np.int64), like.flat[:0])
    if isinstance(like, Names):
        return Names(np.full(rows, -1, dtype=np.int32), [])
    return np.full(rows, np.nan if like.dtype.kind == "f" else MISSING, dtype=like.dtype)


def _as_names(part: Column) -> Names:
    """Whole numbers as the texts they are written as."""
    if isinstance(part, Names):
        return part
    numbers, codes = np.unique(cast(NDArray[np.int64], part), return_inverse=True)
    # In order of appearance, as texts are.
    first = np.full(len(numbers), len(codes))
    np.minimum.at(first, codes, np.arange(len(codes)))
    order = np.argsort(first, kind="stable")
    order = order[numbers[order] != MISSING]
    place = np.full(len(numbers), -1, dtype=np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    return Names(place[codes], [str(number) for number in numbers[order].tolist()])


def _recoded(part: Names, known: dict[str, int]) -> NDArray[np.int32]:
    """The codes of a part in the common vocabulary, which grows."""
    codes = [known.setdefault(name, len(known)) for name in part.names]
    return np.array([*codes, -1], dtype=np.int32)[part.codes]
