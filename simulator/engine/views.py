"""Requests as a scheduler may see them: what has been observed, and what a predictor guesses."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from simulator.engine.asking import observe
from simulator.engine.request import RUNNING
from simulator.facts import RequestFacts

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class RequestView:
    """Columns of some requests, one entry each, as of the last iteration that has finished.

    ids: rows of the run's requests, int64[k]; all columns follow their order. `generated_tokens`
    counts output tokens; `answer_tokens` those of them that are answer; `kv_tokens` is what a
    request holds of the KV cache. Times are in seconds, NaN where it has not come to that.
    There is no column of true lengths, and asking for one raises AttributeError. What a policy
    writes into a column changes nothing, or fails. A view is good until the method that it was
    handed to returns.
    """

    __slots__ = ("_facts", "_ids", "_predicted", "_seen", "_state", "_table", "ids")

    def __init__(
        self, ids: Ints, facts: RequestFacts, table: np.ndarray, state: np.ndarray
    ) -> None:
        self._ids = ids
        self.ids = ids.view()
        self.ids.setflags(write=False)
        self._facts, self._table, self._state = facts, table, state
        self._seen: tuple[Ints, Floats] | None = None  # looked up when first asked for
        self._predicted: Floats | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(
            f"a scheduler cannot know {name!r}: a view has what was observed and predicted so far"
        )

    def take(self, places: Any) -> RequestView:
        """The requests at `places` (a mask or indices) of this view."""
        part = RequestView(self._ids[places], self._facts, self._table, self._state)
        if self._seen is not None:
            part._seen = self._seen[0][:, places], self._seen[1][:, places]
        if self._predicted is not None:
            part._predicted = self._predicted[places]
        return part

    def _observed(self) -> tuple[Any, Any]:
        if self._seen is None:
            count = len(self.ids)
            ints = np.empty((3, count), dtype=np.int64)
            floats = np.empty((2, count), dtype=np.float64)
            observe(self._table, self._state, self._ids, ints, floats)
            ints.setflags(write=False)
            floats.setflags(write=False)
            self._seen = ints, floats
        return self._seen

    @property
    def generated_tokens(self) -> Ints:
        """Output tokens so far, int64[k]."""
        column: Ints = self._observed()[0][0]
        return column

    @property
    def answer_tokens(self) -> Ints:
        """Answer tokens so far, int64[k]."""
        column: Ints = self._observed()[0][1]
        return column

    @property
    def thinking(self) -> NDArray[np.bool_]:
        """Whether no answer token has come yet, bool[k]."""
        return np.asarray(self.answer_tokens == 0)

    @property
    def kv_tokens(self) -> Ints:
        """Tokens of the request in the replica's KV cache, int64[k]."""
        column: Ints = self._observed()[0][2]
        return column

    @property
    def first_token_s(self) -> Floats:
        """When it gave its first token, float64[k]."""
        column: Floats = self._observed()[1][0]
        return column

    @property
    def first_answer_s(self) -> Floats:
        """When it gave its first answer token, float64[k]."""
        column: Floats = self._observed()[1][1]
        return column

    @property
    def running(self) -> NDArray[np.bool_]:
        """Whether it has a seat, bool[k]."""
        return np.asarray(self._table["status"][self.ids] == RUNNING)

    @property
    def arrival_s(self) -> Floats:
        """When it arrived, float64[k]."""
        return np.asarray(self._table["arrival_s"][self.ids])

    @property
    def queued_since_s(self) -> Floats:
        """When it last joined the waiting queue, float64[k]."""
        return np.asarray(self._table["queued_since_s"][self.ids])

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

    @property
    def predicted_tokens(self) -> Floats:
        """Output tokens in all that the predictor expects, float64[k]."""
        if self._predicted is None:
            self._predicted = self._facts.predictor.total_tokens(self.ids, self.generated_tokens)
        return self._predicted

    @property
    def predicted_remaining_tokens(self) -> Floats:
        """Output tokens that the predictor expects from now on, float64[k]; never negative."""
        return np.maximum(self.predicted_tokens - self.generated_tokens, 0.0)
