"""What every admission control can do, what it sees, and where it is filed."""

from __future__ import annotations

from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from simulator.facts import RequestFacts
from simulator.policy import Policy
from simulator.registry import Registry


class Replicas(Protocol):
    """What is seen of the replicas, one entry each; maybe a little stale."""

    @property
    def num_waiting(self) -> NDArray[np.int64]:
        """Requests in each replica's queue, int64[replicas]."""

    @property
    def num_running(self) -> NDArray[np.int64]:
        """Requests in each replica's batch, int64[replicas]."""


class Admission(Policy):
    """Asked about each request at its arrival, before the router is. Blind to its true length.

    A request that is turned away ends as rejected, with the reason given: it counts as sent, and
    against goodput. Its client goes on as after any refusal.

    `needs_snapshot`: it looks at the replicas. `needs_prediction`: it asks the predictor.
    """

    needs_snapshot: ClassVar[bool] = False
    needs_prediction: ClassVar[bool] = False

    @property
    def watches_answers(self) -> bool:
        """Whether `answered` has to be called: it costs an event for each request."""
        return False

    def start(self, facts: RequestFacts) -> None:
        """A run of these requests begins, with nothing remembered of another one."""

    def refusal(self, row: int, now_s: float, replicas: Replicas | None) -> str | None:
        """Why request `row`, which arrives now (seconds), is rejected, in a few words; or None.

        `replicas` is None unless `needs_snapshot`.
        """
        raise NotImplementedError

    def admitted(self, row: int, now_s: float) -> None:
        """Request `row` was let in, and a replica has it in its queue."""

    def answered(
        self,
        rows: NDArray[np.int64],
        output_tokens: NDArray[np.int64],
        first_token_s: NDArray[np.float64],
        finish_s: NDArray[np.float64],
    ) -> None:
        """Requests `rows` (int64[k]) were answered, in so many tokens and at these times.

        `finish_s` may lie in the near future: of an iteration whose end is certain by now.
        """


ADMISSIONS: Registry[type[Admission]] = Registry("admission control")
