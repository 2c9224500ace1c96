"""What a scheduler may answer: anything else is its mistake, and is said to be."""

from __future__ import annotations

import operator
from typing import NoReturn

import numpy as np

from simulator.errors import IntegrityError
from simulator.schedulers.base import Action

_ACTIONS = range(Action.KEEP, Action.OFFLOAD + 1)


def place(answer: object, count: int, method: str) -> int:
    """A place among `count` requests. Raises `IntegrityError` for anything else."""
    try:
        chosen = -1 if isinstance(answer, bool | np.bool_) else operator.index(answer)  # type: ignore[arg-type]
    except TypeError:
        chosen = -1
    if not 0 <= chosen < count:
        raise IntegrityError(f"{method} must return a place from 0 to {count - 1}, not {answer!r}")
    return chosen


def misshapen(answer: np.ndarray, count: int) -> NoReturn:
    """Raises `IntegrityError`: it is neither a column of `count` values nor one for all."""
    raise IntegrityError(
        f"of {count} requests it must return float[{count}] or a single number, not an array of"
        f" shape {answer.shape}"
    )


def actions(answer: object, count: int) -> np.ndarray:
    """`count` Actions as int64[count], given one for each or one for all.

    Raises `IntegrityError` if one is none.
    """
    if isinstance(answer, int) and answer in _ACTIONS:
        return np.full(count, answer)
    given = np.asarray(answer, dtype=np.float64)
    known = (given >= Action.KEEP) & (given <= Action.OFFLOAD) & (given == np.floor(given))
    if not known.all():
        raise IntegrityError(f"on_review must return Actions, not {given[~known][0]!r}")
    whole = given.astype(np.int64)
    if whole.shape == (count,):
        return whole
    if whole.ndim:
        misshapen(whole, count)
    return np.full(count, whole)


def ids(answer: object, known: np.ndarray) -> np.ndarray:
    """Ids out of `known`, int64[k]. Raises `IntegrityError` for ids of nobody, or a mask."""
    chosen = np.asarray(answer)
    if chosen.size and (chosen.dtype.kind not in "iu" or not np.isin(chosen, known).all()):
        raise IntegrityError("select must return ids of the requests that it was shown")
    return chosen.astype(np.int64)


def tokens(answer: np.ndarray, method: str) -> np.ndarray:
    """Numbers of tokens, float64[k], as given. Raises `IntegrityError` for NaN or below 0."""
    if not (answer >= 0).all():
        raise IntegrityError(f"{method} must return 0 or more tokens, not {answer.min()!r}")
    return answer
