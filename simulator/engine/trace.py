"""A replica that writes down every iteration's decisions, as vLLM's scheduler would log them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from simulator.engine.replica import Replica
from simulator.engine.spans import blocks_taken, boundary_at
from simulator.engine.state import (
    IN_SPAN,
    ROW_EVICTED,
    ROW_FINISHED,
    ROW_RUNNING,
    ROW_TOKENS,
)


@dataclass(frozen=True)
class Step:
    """One iteration from `t_s` on: what was decided for it, and who finished at its end.

    `scheduled` holds (request, tokens) in scheduling order; `free_blocks`, `num_running` and
    `num_waiting` hold right after the decision. Decisions that schedule nothing are no steps.
    """

    t_s: float
    dt_s: float
    scheduled: tuple[tuple[int, int], ...]
    admitted: tuple[int, ...]
    preempted: tuple[int, ...]
    finished: tuple[int, ...]
    free_blocks: int
    num_running: int
    num_waiting: int


class TracedReplica(Replica):
    """A `Replica` with `steps`, every iteration it ran; spans are expanded, so it is slow."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.steps: list[Step] = []
        self._spans_per_call = 1
        self._open: list[Step] | None = None
        self._joined: list[int] = []  # boundaries of the open span at which requests queued up

    def _horizon_s(self) -> float:
        return -math.inf  # one span a call

    def offer(self, i: int) -> str | None:
        """As `Replica.offer`."""
        state = self.arrays.state[0]
        joins = (
            boundary_at(self.arrays.state[0], self.requests["arrival_s"][i])
            if state["phase"] == IN_SPAN
            else 0
        )
        refused = super().offer(i)
        if joins and refused is None:
            self._joined.append(joins)
        return refused

    def _tell(self) -> None:
        k = int(self.arrays.state[0]["k"])
        super()._tell()
        self._close(k)

    def _advance(self) -> float:
        k = int(self.arrays.state[0]["k"])
        wake_s = super()._advance()
        self._close(k)
        if self.arrays.state[0]["phase"] == IN_SPAN:
            self._begin()
        return wake_s

    def _close(self, k: int) -> None:
        """Note the end of the span of k iterations, if one was open."""
        if self._open is not None:
            state = self.arrays.state[0]
            finished = self.arrays.lists[ROW_FINISHED, : state["num_finished"]]
            self._expand(self._open, k, tuple(finished.tolist()))
        self._open = None

    def _begin(self) -> None:
        """Note the span that was just decided, one step per iteration it may have."""
        state = self.arrays.state[0]
        lists = self.arrays.lists
        running = lists[ROW_RUNNING, : state["num_running"]].tolist()
        tokens = lists[ROW_TOKENS, : state["num_running"]].tolist()
        if state["pure"]:
            tokens = [1] * len(running)
        admitted = running[len(running) - int(state["num_admitted"]) :]
        evicted = lists[ROW_EVICTED, : state["num_evicted"]].tolist()
        scheduled = tuple((i, n) for i, n in zip(running, tokens, strict=True) if n > 0)
        self._joined = []
        self._open = []
        t_s = float(state["start_s"])
        for j in range(int(state["k"]) if scheduled else 0):
            dt_s = float(state["a_s"] + state["b_s"] * j)
            taken = int(blocks_taken(self.arrays.state[0], self.arrays.phases, j)) if j else 0
            self._open.append(
                Step(
                    t_s=t_s,
                    dt_s=dt_s,
                    scheduled=scheduled,
                    admitted=tuple(admitted) if j == 0 else (),
                    preempted=tuple(evicted) if j == 0 else (),
                    finished=(),
                    free_blocks=int(state["free_blocks"]) - taken,
                    num_running=len(running),
                    num_waiting=int(state["num_waiting"]),
                )
            )
            t_s += dt_s

    def _expand(self, steps: list[Step], k: int, finished: tuple[int, ...]) -> None:
        """The open span ended after k iterations: keep these, with who queued up meanwhile."""
        for j, step in enumerate(steps[:k]):
            queued = sum(1 for boundary in self._joined if boundary <= j)
            self.steps.append(replace(step, num_waiting=step.num_waiting + queued))
        if finished:
            ended = 2 if self.config.async_scheduling and steps else 1  # the last is in flight
            self.steps[-ended] = replace(self.steps[-ended], finished=finished)
