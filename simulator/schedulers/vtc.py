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
    foresees: ClassVar[bool] = True
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
        clients = len(self._counter)
        client = view.client_id.astype(np.intp)
        cost = tokens.astype(np.float64)
        cost *= self.output_weight
        fresh = ~self._charged[view.ids]
        if np.count_nonzero(fresh):
            cost[fresh] += self.prompt_weight * view.prompt_tokens[fresh]
            self._charged[view.ids[fresh]] = True
            self._last_seated = int(client[fresh][-1])
        self._counter += np.bincount(client, cost, clients)

    def rank(self, view: RequestView, now_s: float) -> ArrayLike:
        """The counter as it will stand when the client's earlier waiting requests have seats."""
        client = view.client_id.astype(np.intp)
        self._lift(client, self._waited[view.ids])
        self._waited[view.ids] = True
        owed = view.prompt_tokens.astype(np.float64)
        owed *= self.prompt_weight
        owed[self._charged[view.ids]] = 0.0
        order = np.lexsort((view.arrival_s, client))
        client, owed = client[order], owed[order]
        before = owed.cumsum()
        before -= owed
        before -= before[client.searchsorted(client)]
        before += self._counter[client]
        ranks = np.empty(len(order))
        ranks[order] = before
        return ranks

    def victim(self, running: RequestView, now_s: float) -> int:
        """The last seated request of the running client with the highest counter."""
        counter = self._counter[running.client_id]
        return len(counter) - 1 - int(counter[::-1].argmax())

    def _lift(self, client: np.ndarray, waited: np.ndarray) -> None:
        """Clients of whom nobody has waited since the last look have come back."""
        if np.count_nonzero(waited) == len(waited):
            return
        backlogged = np.zeros(len(self._counter), dtype=bool)
        backlogged[client[waited]] = True
        back = client[~backlogged[client]]
        if len(back):
            kept = self._counter[backlogged]
            least = kept.min() if len(kept) else self._counter[self._last_seated]
            self._counter[back] = np.maximum(self._counter[back], least)
