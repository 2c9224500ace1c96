"""Fair shares: the client that has been served least goes first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from simulator.schedulers.base import SCHEDULERS, Scheduler

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from simulator.engine.config import EngineConfig
    from simulator.engine.views import RequestView
    from simulator.facts import RequestFacts


@SCHEDULERS.register("vtc")
@dataclass(eq=False)
class Vtc(Scheduler):
    """Virtual token counter: next is a request of the client with the fewest weighted tokens.

    A client's counter grows by `prompt_weight` a prompt token when a request gets a seat, and by
    `output_weight` an output token. One that comes back after it had nothing waiting is lifted to
    the least counter of those that kept waiting (if nobody did, to that of the last to get a seat),
    so that it cannot save up. Within a client the first to arrive goes first. When KV runs short,
    the client with the highest counter loses the request that it was given a seat for last.

    Of two clients that never stop waiting, neither gets ahead of the other by more than
    2 max(prompt_weight * longest prompt, output_weight * tokens of a full batch).
    """

    source: ClassVar[str] = (
        "VTC: Sheng et al., Fairness in serving large language models, arXiv:2401.00588"
        " (algorithm 2)"
    )
    rank_changes: ClassVar = "always"

    prompt_weight: Annotated[float, Field(ge=0.0)] = 1.0
    """Cost of a prompt token."""

    output_weight: Annotated[float, Field(ge=0.0)] = 2.0
    """Cost of an output token."""

    def start(self, facts: RequestFacts, config: EngineConfig) -> None:
        """All counters are at zero."""
        self._counter = np.zeros(len(facts.client_names))
        self._charged = np.zeros(len(facts), dtype=bool)  # for its prompt
        self._waited = np.zeros(len(facts), dtype=bool)  # in the queue when it was last looked at
        self._last_seated = 0

    def on_progress(self, view: RequestView, tokens: np.ndarray) -> None:
        """Charge clients for tokens, and for prompts of requests that have got a seat."""
        client, fresh = view.client_id, ~self._charged[view.ids]
        cost = self.output_weight * tokens + self.prompt_weight * np.where(
            fresh, view.prompt_tokens, 0
        )
        self._counter += np.bincount(client, weights=cost, minlength=len(self._counter))
        if fresh.any():
            self._charged[view.ids[fresh]] = True
            self._last_seated = int(client[fresh][-1])

    def rank(self, view: RequestView, now_s: float) -> ArrayLike:
        """The counter as it will stand when the client's earlier waiting requests have seats."""
        client = view.client_id
        self._lift(client, self._waited[view.ids])
        self._waited[view.ids] = True
        order = np.lexsort((view.ids, view.arrival_s, client))
        owed = self.prompt_weight * np.where(self._charged[view.ids], 0, view.prompt_tokens)[order]
        before = np.cumsum(owed) - owed
        sorted_client = client[order]
        opens = np.flatnonzero(np.diff(sorted_client, prepend=-1))
        before -= np.repeat(before[opens], np.diff(opens, append=len(order)))
        ranks = np.empty(len(order))
        ranks[order] = self._counter[sorted_client] + before
        return ranks

    def victim(self, running: RequestView, now_s: float) -> int:
        """The last seated request of the running client with the highest counter."""
        counter = self._counter[running.client_id]
        return int(np.flatnonzero(counter == counter.max())[-1])

    def _lift(self, client: np.ndarray, waited: np.ndarray) -> None:
        if waited.all():
            return
        backlogged = np.unique(client[waited])
        back = np.setdiff1d(client, backlogged)
        least = (
            self._counter[backlogged].min()
            if len(backlogged)
            else (self._counter[self._last_seated])
        )
        self._counter[back] = np.maximum(self._counter[back], least)
