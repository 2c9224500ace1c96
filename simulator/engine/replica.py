"""One engine instance on the SimPy clock: a single pending Timeout, and the kernels behind it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import simpy

from simulator.cost.iteration_time import CostTable
from simulator.engine import kernel
from simulator.engine.config import EngineConfig
from simulator.engine.integrity import explain
from simulator.engine.request import RUNNING, WAITING
from simulator.engine.sampling import finish_sampling, set_next_sample
from simulator.engine.state import BOUNDARY, IN_SPAN, ROW_FINISHED, STUCK, allocate
from simulator.errors import IntegrityError

REFUSALS = {
    kernel.TOO_LONG_PROMPT: "prompt leaves no room for a token below max_model_len",
    kernel.TOO_LONG_TOTAL: "prompt + max_tokens exceeds max_model_len",
    kernel.TOO_LARGE_FOR_KV: "prompt + max_tokens exceeds the KV cache",
}

_SPANS_PER_CALL = 20_000  # so that a long lonely run still reports progress


class Replica:
    """Serves the requests of `requests` (a `REQUEST` array) that are offered to it.

    `on_finish(ids)`, if set, is called with the requests that completed at an iteration boundary,
    in vLLM's order, before the next iteration is decided: what it offers is seen by that decision.
    Without it nobody can react to a completion, and the replica runs ahead of the clock up to the
    next event anywhere.
    `check_integrity` tests the engine's invariants at every boundary and raises `IntegrityError`.
    `marks_s` are times at which the counters are noted exactly.
    """

    def __init__(
        self,
        env: simpy.Environment,
        config: EngineConfig,
        cost: CostTable,
        requests: np.ndarray,
        *,
        index: int = 0,
        sample_interval_s: float = math.inf,
        marks_s: tuple[float, ...] = (),
        check_integrity: bool = False,
        on_finish: Callable[[list[int]], None] | None = None,
    ) -> None:
        self.env = env
        self.config = config
        self.requests = requests
        self.index = index
        self.on_finish = on_finish
        self.check_integrity = check_integrity
        self.arrays = allocate(config, cost, sample_interval_s, marks_s)
        self._args = self.arrays.arguments()
        self._state = self.arrays.state
        set_next_sample(self._state[0], self.arrays.marks)
        self._pending: simpy.Event | None = None
        self._spans_per_call = _SPANS_PER_CALL

    def offer(self, i: int) -> str | None:
        """Request i arrives now. Returns None, or why it is refused (it can never be served)."""
        code = kernel.offer(self.requests, *self._args, i, self.env.now)
        if code > 0:
            return REFUSALS[code]
        self.requests["replica"][i] = self.index
        if code < 0:
            self._resume()
        return None

    def cancel(self, i: int) -> bool:
        """Cancel request i, with effect at the next iteration boundary; False if it has ended."""
        if self.requests["status"][i] not in (WAITING, RUNNING):
            return False
        if kernel.withdraw(self.requests, *self._args, i, self.env.now) < 0:
            self._resume()
        return True

    def finish(self, end_s: float) -> None:
        """The run is over: take the samples that are left."""
        arrays = self.arrays
        finish_sampling(self._state, arrays.phases, arrays.samples, arrays.marks, end_s)

    def _resume(self) -> None:
        """Go on at the replica's wake time: at once if nothing else happens before, or later."""
        wake_s = kernel.wake_s(self._state)
        if wake_s < self._horizon_s():
            self._advance()
        else:
            self._sleep(wake_s)

    def _horizon_s(self) -> float:
        """Time before which nothing outside can happen that the replica would have to know."""
        return self.env.peek() if self.on_finish is None else -math.inf

    def _sleep(self, wake_s: float) -> None:
        pending = self.env.timeout(max(wake_s - self.env.now, 0.0))
        pending.callbacks.append(self._wake)
        self._pending = pending

    def _wake(self, event: simpy.Event) -> None:
        if event is self._pending:
            self._advance()

    def _advance(self) -> None:
        """Let the kernel run up to the next event anywhere, then sleep until the replica's next."""
        self._pending = None
        stop = self.on_finish is not None
        while True:
            code = kernel.advance(
                self.requests,
                *self._args,
                self._horizon_s(),
                stop,
                self._spans_per_call,
                self.check_integrity,
            )
            if code:
                raise IntegrityError(f"replica {self.index}: {explain(code - kernel.BROKEN)}")
            state = self._state[0]
            phase = state["phase"]
            if phase == BOUNDARY and self.on_finish is not None and state["num_finished"]:
                ids = self.arrays.lists[ROW_FINISHED, : state["num_finished"]].tolist()
                state["num_finished"] = 0
                self.on_finish(ids)
                continue
            break
        if phase == STUCK:
            raise IntegrityError(f"replica {self.index}: requests wait but none can be scheduled")
        if phase in (BOUNDARY, IN_SPAN):
            self._sleep(kernel.wake_s(self._state))
