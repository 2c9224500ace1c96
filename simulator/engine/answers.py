"""What a scheduler may answer: anything else is its mistake, and is said to be."""

from __future__ import annotations

import operator

import numpy as np

from simulator.errors import IntegrityError
from simulator.schedulers.base import Action

_ACTIONS = np.array([int(action) for action in Action])


def place(answer: object, count: int, method: str) -> int:
    """A place among `count` requests. Raises `IntegrityError` for anything else."""
    try:
        chosen = -1 if isinstance(answer, bool | np.bool_) else operator.index(answer)  # type: ignore[arg-type]
    except TypeError:
        chosen = -1
    if not 0 <= chosen < count:
        raise IntegrityError(f"{method} must return a place from 0 to {count - 1}, not {answer!r}")
    return chosen


def actions(answer: np.ndarray) -> np.ndarray:
    """Actions as int64[k], from float64[k]. Raises `IntegrityError` if one is none."""
    if not np.isin(answer, _ACTIONS).all():
        wrong = answer[~np.isin(answer, _ACTIONS)][0]
        raise IntegrityError(f"on_review must return Actions, not {wrong!r}")
    return answer.astype(np.int64)


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
