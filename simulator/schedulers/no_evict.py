"""Nobody is ever preempted: a request waits until the KV for all that it may become is free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from simulator.schedulers.base import SCHEDULERS, Scheduler

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from simulator.engine.config import EngineConfig
    from simulator.engine.views import RequestView
    from simulator.facts import RequestFacts


@SCHEDULERS.register("no_evict")
@dataclass(eq=False)
class NoEvict(Scheduler):
    """First come, first served, with KV reserved for the prompt and the cap on the output.

    The cap is the client's `max_tokens`, or what max_model_len leaves where there is none: without
    caps, few requests run at once.
    """

    source: ClassVar[str] = "TensorRT-LLM, CapacitySchedulerPolicy.GUARANTEED_NO_EVICT"
    foresees: ClassVar[bool] = True
    keeps_arrival_order: ClassVar[bool] = True
    work_conserving: ClassVar[bool] = False

    def start(self, facts: RequestFacts, config: EngineConfig) -> None:
        """How long a request can be at most."""
        self._longest = config.max_model_len

    def reserve_tokens(self, view: RequestView) -> ArrayLike:
        """Prompt and cap, whatever comes."""
        whole = view.prompt_tokens + view.max_tokens
        return np.where(view.max_tokens > 0, np.minimum(whole, self._longest), self._longest)
