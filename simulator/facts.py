"""What policies may know of requests when they arrive: never how long they will think."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from simulator.prefix import PromptSegments

Shape = TypeVar("Shape", bound=np.ndarray)


def read_only(column: Shape) -> Shape:
    """The same numbers, which who sees them cannot change."""
    shown = column.view()
    shown.flags.writeable = False
    return shown


def freeze(columns: Any) -> None:
    """Make every array among the fields of a dataclass read-only, for whoever has this object."""
    for field in fields(columns):
        value = getattr(columns, field.name)
        if isinstance(value, np.ndarray):
            object.__setattr__(columns, field.name, read_only(value))


class LengthPredictor(Protocol):
    """Guesses how long requests will be (`simulator.predictors`)."""

    def total_tokens(
        self, rows: NDArray[np.int64], generated: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Output tokens in all that requests `rows` (int64[k]) are expected to have, float64[k].

        `generated` (int64[k]) output tokens of each have been seen so far.
        """


class DifficultyClassifier(Protocol):
    """Tells hard queries from easy ones, not always rightly (`simulator.difficulty`)."""

    def says_hard(
        self, seed: int, *, hard_above: float, easy_called_hard: float, hard_called_easy: float
    ) -> NDArray[np.bool_]:
        """Which of all n requests it calls hard, bool[n].

        Truly hard are those of a difficulty above `hard_above`; the other two are the shares of
        easy and of hard ones that it mistakes.
        """


@dataclass(frozen=True, eq=False)
class RequestFacts:
    """The n requests of a run as their arrival shows them, row by row.

    prompt_tokens, max_tokens: int64[n]; a cap of 0 is none. class_id, client_id: int32[n], indices
    into `class_names` and `client_names`. session_id: int64[n], -1 outside of sessions. query_id:
    int64[n], the row of the first request of the query. priority: int64[n], smaller is more urgent.
    due_s: float64[n], seconds from its arrival within which the last token is due, infinite where
    nobody said. segments: what the prompts are made of, None if they share nothing. classifier:
    None where the workload does not say how difficult queries are. origin: int64[n], the row of
    each request when it was drawn, which luck is addressed by; None: it has not moved.

    No policy can change what is known: the columns are read-only here.
    """

    prompt_tokens: NDArray[np.int64]
    max_tokens: NDArray[np.int64]
    class_id: NDArray[np.int32]
    client_id: NDArray[np.int32]
    session_id: NDArray[np.int64]
    query_id: NDArray[np.int64]
    priority: NDArray[np.int64]
    due_s: NDArray[np.float64]
    predictor: LengthPredictor
    class_names: tuple[str, ...] = ("default",)
    client_names: tuple[str, ...] = ("default",)
    segments: PromptSegments | None = None
    classifier: DifficultyClassifier | None = None
    origin: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        freeze(self)

    def __len__(self) -> int:
        return len(self.prompt_tokens)

    @classmethod
    def plain(
        cls, prompt_tokens: NDArray[np.int64], max_tokens: NDArray[np.int64] | None = None
    ) -> RequestFacts:
        """Facts of requests that nothing more is known of: one class, one client, no sessions."""
        n = len(prompt_tokens)
        zeros = np.zeros(n, dtype=np.int64)
        return cls(
            prompt_tokens=prompt_tokens,
            max_tokens=zeros if max_tokens is None else max_tokens,
            class_id=zeros.astype(np.int32),
            client_id=zeros.astype(np.int32),
            session_id=zeros - 1,
            query_id=np.arange(n, dtype=np.int64),
            priority=zeros,
            due_s=np.full(n, np.inf),
            predictor=_NoPrediction(),
        )


class _NoPrediction:
    """Knows nothing: NaN."""

    def total_tokens(
        self, rows: NDArray[np.int64], generated: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        return np.full(len(rows), np.nan)
