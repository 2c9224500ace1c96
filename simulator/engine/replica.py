"""One engine instance on the clock: a single pending Timeout, and the kernels behind it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import simpy

from simulator.cost.iteration_time import CostTable
from simulator.engine import kernel, refusal
from simulator.engine.cache_pool import grown
from simulator.engine.clock import Clock
from simulator.engine.config import EngineConfig
from simulator.engine.content import ContentPaths, content_paths
from simulator.engine.governor import Governor
from simulator.engine.integrity import explain
from simulator.engine.request import RUNNING, WAITING
from simulator.engine.sampling import set_next_sample
from simulator.engine.spans import ABSOLUTE_TOLERANCE_S, RELATIVE_TOLERANCE
from simulator.engine.state import ASK_EVENTS, ASK_ROOM, IN_SPAN, KV_POOL, ROW_FINISHED, allocate
from simulator.errors import IntegrityError
from simulator.facts import RequestFacts
from simulator.prefix import PromptSegments
from simulator.schedulers.base import Scheduler

REFUSALS = {
    kernel.TOO_LONG_PROMPT: refusal.LONG_PROMPT,
    kernel.TOO_LONG_TOTAL: refusal.LONG_TOTAL,
}

_SPANS_PER_CALL = 20_000  # so that a long lonely run comes up for air


class Replica:
    """Serves the requests of `requests` (a `REQUEST` array) that are offered to it.

    `on_finish(ids)`, if set, is called with the requests that completed at an iteration boundary,
    in vLLM's order, before the next iteration is decided: what it offers is seen by that decision.
    Without it nobody can react to a completion, and the replica runs ahead of the clock up to the
    next event anywhere; so of the replicas that share requests, either all have it or none.
    `check_integrity` tests the engine's invariants at every boundary and raises `IntegrityError`.
    `marks_s` are times at which the counters are noted exactly; `itl_span_s` is the time that the
    rows of the histogram of inter-token gaps divide up, `itl` another replica's histogram to share.
    `segments` is what the prompts of `requests` are made of, None if none shares anything.
    `scheduler` orders the requests by what it sees of them, by way of `facts`; None is fcfs.
    `state` and `phases`: STATE[1] and int64[block_size], zeros, to keep these in. `paths`:
    `content_paths_of` these requests, if it is at hand.
    """

    def __init__(
        self,
        clock: Clock,
        config: EngineConfig,
        cost: CostTable,
        requests: np.ndarray,
        *,
        index: int = 0,
        sample_interval_s: float = math.inf,
        marks_s: tuple[float, ...] = (),
        itl_span_s: tuple[float, float] = (0.0, 0.0),
        itl: np.ndarray | None = None,
        segments: PromptSegments | None = None,
        scheduler: Scheduler | None = None,
        facts: RequestFacts | None = None,
        state: np.ndarray | None = None,
        phases: np.ndarray | None = None,
        paths: ContentPaths | None = None,
        check_integrity: bool = False,
        on_finish: Callable[[list[int]], None] | None = None,
    ) -> None:
        self.clock = clock
        self.config = config
        self.requests = requests
        self.index = index
        self.segments = segments
        self.on_finish = on_finish
        self.check_integrity = check_integrity
        if config.enable_prefix_caching and paths is None:
            paths = content_paths_of(requests, segments, config.block_size)
        self.arrays = allocate(
            config, cost, sample_interval_s, marks_s, itl_span_s, itl, state, phases, paths
        )
        self._governor: Governor | None = None
        if scheduler is not None:
            assert facts is not None, "a scheduler sees requests as facts"
            governor = Governor(scheduler, facts, config, requests, self.arrays)
            self._governor = governor if governor.has_a_say else None
        set_next_sample(self.arrays.state[0], self.arrays.marks)
        self._wake_s = math.inf  # when the kernel must next be called
        self._pending: simpy.Event | None = None
        self.wakes: np.ndarray | None = None  # float64[replicas], where somebody else runs it
        self._due = False
        self._settling = False
        self._spans_per_call = _SPANS_PER_CALL

    def offer(self, i: int) -> str | None:
        """Request i, whose `arrival_s` is now, arrives.

        Returns None, or why it is refused: it could never be served.
        """
        if self._governor is not None:
            self._governor.arrive(i)
        answer = kernel.offer(self.requests, self.arrays.state, i)
        if answer < 0.0:
            return REFUSALS[int(answer)]
        self.requests["replica"][i] = self.index
        if answer > 0.0:
            self._unsettle(answer)
        return None

    def cancel(self, i: int) -> bool:
        """Cancel request i, with effect at the next iteration boundary; False if it has ended."""
        if self.requests["status"][i] not in (WAITING, RUNNING):
            return False
        answer = kernel.withdraw(self.requests, self.arrays.state, i, self.clock.now)
        if answer > 0.0:
            self._unsettle(answer)
        return True

    def finish(self, end_s: float) -> None:
        """The run is over: take the samples that are left, and write back what is under way."""
        kernel.finish_run(self.requests, self.arrays.state, end_s)

    def settle(self) -> None:
        """Run ahead as far as nothing outside can interfere, then sleep until the wake time."""
        self._settling = False
        if self._due or self._wake_s < self._horizon_s():
            self._due = False
            self._wake_s = self._advance()
        if self._wake_s < math.inf:
            self._sleep(_told_s(self._wake_s) if self._has_to_tell() else self._wake_s)

    def go_on(self, wake_s: float) -> None:
        """Run by itself from now on; the kernel must next be called at `wake_s` (seconds)."""
        self.wakes = None
        self._wake_s = wake_s
        self.settle()

    def answer(self, question: int) -> None:
        """See to what `advance` stopped for.

        Raises `IntegrityError` if it stopped because an invariant broke.
        """
        if question == ASK_ROOM:
            self._grow_cache()
            return
        if question < ASK_EVENTS:
            raise IntegrityError(f"replica {self.index}: {explain(question)}")
        assert self._governor is not None
        self._governor.answer(question)

    def _unsettle(self, wake_s: float) -> None:
        if self.wakes is not None:
            self.wakes[self.index] = wake_s
            return
        self._wake_s = wake_s
        self._pending = None
        if not self._settling:
            self._settling = True
            self.clock.unsettled.append(self)

    def _sleep(self, until_s: float) -> None:
        pending = self.clock.timeout(max(until_s - self.clock.now, 0.0))
        pending.callbacks.append(self._wake)
        self._pending = pending

    def _wake(self, event: simpy.Event) -> None:
        if event is not self._pending:
            return
        if self._has_to_tell():  # all who finish at this instant, anywhere, before anybody decides
            self._pending = None
            self._tell()
            self._sleep(self._wake_s)
            return
        self._due = True
        self._unsettle(self._wake_s)

    def _has_to_tell(self) -> bool:
        """Whether a span is under way whose end others want to hear of."""
        return self.on_finish is not None and bool(self.arrays.state["phase"][0] == IN_SPAN)

    def _tell(self) -> None:
        """Close the span, whose last boundary has come, and say who finished in it."""
        while True:
            answer = kernel.advance(
                self.requests,
                self.arrays.state,
                -math.inf,
                kernel.CLOSED,
                self._spans_per_call,
                self.check_integrity,
            )
            if answer >= 0.0:
                break
            self.answer(int(-answer))
        finished = int(self.arrays.state["num_finished"][0])
        if finished and self.on_finish is not None:
            self.on_finish(self.arrays.lists[ROW_FINISHED, :finished].tolist())

    def _horizon_s(self) -> float:
        """Time before which nothing outside can happen that the replica would have to know."""
        return self.clock.peek() if self.on_finish is None else -math.inf

    def _grow_cache(self) -> None:
        """The prefix cache has more runs of blocks than it has records for."""
        pool = grown(self.arrays.state[0], self.arrays.kv[KV_POOL])
        self.arrays = self.arrays.with_pool(pool)

    def _advance(self) -> float:
        """Call the kernel up to the horizon; returns the next wake time, infinite if idle."""
        while True:
            answer = kernel.advance(
                self.requests,
                self.arrays.state,
                self._horizon_s(),
                kernel.GO_ON,
                self._spans_per_call,
                self.check_integrity,
            )
            if answer > 0.0:
                return float(answer)
            self.answer(int(-answer))


def _told_s(wake_s: float) -> float:
    """When to tell who finished at a boundary, of which `wake_s` is the end of its tolerance.

    In the middle of it: later than the boundary, and than that of any replica which comes to its
    own at the same instant to within rounding; and earlier than anybody decides what follows.
    """
    return wake_s - 0.5 * (RELATIVE_TOLERANCE * wake_s + ABSOLUTE_TOLERANCE_S)


def content_paths_of(
    requests: np.ndarray, segments: PromptSegments | None, block_size: int
) -> ContentPaths:
    """What the requests of a `REQUEST` array share, in blocks of `block_size` tokens."""
    prompt = requests["prompt_tokens"].copy()
    thinking = requests["thinking_tokens"].copy()
    return content_paths(
        segments, prompt, thinking, requests["output_tokens"] - thinking, block_size
    )
