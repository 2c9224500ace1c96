"""Requests as a scheduler may see them: what has been observed, and what a predictor guesses."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from simulator.engine.asking import observe
from simulator.facts import RequestFacts

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class RequestView:
    """Columns of some requests, one entry each, as of the last iteration that has finished.

    ids: rows of the run's requests, int64[k]; all columns follow their order. `generated_tokens`
    counts output tokens; `answer_tokens` those of them that are answer; `kv_tokens` is what a
    request holds of the KV cache. Times are in seconds, NaN where it has not come to that.
    There is no column of true lengths, and asking for one raises AttributeError.
    """

    def __init__(
        self, ids: Ints, facts: RequestFacts, table: np.ndarray, state: np.ndarray
    ) -> None:
        self.ids = ids
        self._facts = facts
        self._table = table
        self._ints: Any = np.empty((3, len(ids)), dtype=np.int64)
        self._floats: Any = np.empty((4, len(ids)), dtype=np.float64)
        observe(table, state, ids, self._ints, self._floats)

    def __len__(self) -> int:
        return len(self.ids)

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(
            f"a scheduler cannot know {name!r}: a view has what was observed and predicted so far"
        )

    def take(self, places: Any) -> RequestView:
        """The requests at `places` (a mask or indices) of this view."""
        part = object.__new__(RequestView)
        part.ids = self.ids[places]
        part._facts, part._table = self._facts, self._table
        part._ints, part._floats = self._ints[:, places], self._floats[:, places]
        return part

    @property
    def generated_tokens(self) -> Ints:
        """Output tokens so far, int64[k]."""
        column: Ints = self._ints[0]
        return column

    @property
    def answer_tokens(self) -> Ints:
        """Answer tokens so far, int64[k]."""
        column: Ints = self._ints[1]
        return column

    @property
    def thinking(self) -> NDArray[np.bool_]:
        """Whether no answer token has come yet, bool[k]."""
        return np.asarray(self._ints[1] == 0)

    @property
    def kv_tokens(self) -> Ints:
        """Tokens of the request in the replica's KV cache, int64[k]."""
        column: Ints = self._ints[2]
        return column

    @property
    def arrival_s(self) -> Floats:
        """When it arrived, float64[k]."""
        column: Floats = self._floats[0]
        return column

    @property
    def queued_since_s(self) -> Floats:
        """When it last joined the waiting queue, float64[k]."""
        column: Floats = self._floats[1]
        return column

    @property
    def first_token_s(self) -> Floats:
        """When it gave its first token, float64[k]."""
        column: Floats = self._floats[2]
        return column

    @property
    def first_answer_s(self) -> Floats:
        """When it gave its first answer token, float64[k]."""
        column: Floats = self._floats[3]
        return column

    @property
    def prompt_tokens(self) -> Ints:
        """Length of the prompt, int64[k]."""
        return self._facts.prompt_tokens[self.ids]

    @property
    def max_tokens(self) -> Ints:
        """The client's cap on output tokens, int64[k]; 0 for none."""
        return self._facts.max_tokens[self.ids]

    @property
    def class_id(self) -> NDArray[np.int32]:
        """Its class, int32[k], an index into the class names."""
        return self._facts.class_id[self.ids]

    @property
    def client_id(self) -> NDArray[np.int32]:
        """Who sent it, int32[k], an index into the client names."""
        return self._facts.client_id[self.ids]

    @property
    def session_id(self) -> Ints:
        """Its session, int64[k]; -1 for none."""
        return self._facts.session_id[self.ids]

    @property
    def query_id(self) -> Ints:
        """The first request of its query, int64[k]."""
        return self._facts.query_id[self.ids]

    @property
    def priority(self) -> Ints:
        """The number that an operator gave its class, int64[k]; smaller is more urgent."""
        return self._facts.priority[self.ids]

    @property
    def deadline_s(self) -> Floats:
        """When its last token is due, float64[k]; infinite where nobody said."""
        return self.arrival_s + self._facts.due_s[self.ids]

    @property
    def preemptions(self) -> Ints:
        """How often it has been preempted, int64[k]."""
        return np.asarray(self._table["preemptions"][self.ids])

    @cached_property
    def predicted_tokens(self) -> Floats:
        """Output tokens in all that the predictor expects, float64[k]."""
        return self._facts.predictor.total_tokens(self.ids, self.generated_tokens)

    @property
    def predicted_remaining_tokens(self) -> Floats:
        """Output tokens that the predictor expects from now on, float64[k]; never negative."""
        return np.maximum(self.predicted_tokens - self.generated_tokens, 0.0)
