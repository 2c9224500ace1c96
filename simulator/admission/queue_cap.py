"""Bounded queues: who would have to wait behind too many is rejected."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, ClassVar

from pydantic import Field

from simulator.admission.base import ADMISSIONS, Admission, Replicas
from simulator.admission.bookkeeping import LetIn
from simulator.errors import Problem
from simulator.facts import RequestFacts

Cap = Annotated[int, Field(ge=0)] | None


@ADMISSIONS.register("queue_cap")
@dataclass(eq=False)
class QueueCap(Admission):
    """Rejects while any of the limits that are set is reached.

    The first two are vLLM's, which its API server checks for all data-parallel ranks behind it: the
    request at hand is not counted, and a limit of 0 rejects everybody. vLLM counts the prompts of
    requests without a first token; here only requests that wait are seen, so a prompt that is being
    computed is left out.
    """

    source: ClassVar[str] = (
        "vLLM, max_num_queued_reqs and max_num_queued_tokens"
        " (https://github.com/vllm-project/vllm/pull/49445)"
    )
    needs_snapshot: ClassVar[bool] = True

    max_num_queued_reqs: Cap = None
    """Requests in flight in the whole cluster, waiting or running."""

    max_num_queued_tokens: Cap = None
    """Prompt tokens of the requests that wait in the whole cluster."""

    max_waiting_per_replica: Cap = None
    """Requests that wait on a replica: nobody is let in while no replica has fewer."""

    def problems(self) -> list[Problem]:
        """That no limit is set, so that nobody would ever be rejected."""
        limits = {parameter.name: getattr(self, parameter.name) for parameter in fields(self)}
        if any(limit is not None for limit in limits.values()):
            return []
        return [Problem(f"queue_cap has no limit: give {' or '.join(limits)}")]

    def start(self, facts: RequestFacts) -> None:
        """Nobody is waiting."""
        self._prompt_tokens = facts.prompt_tokens
        self._let_in = LetIn()

    def refusal(self, row: int, now_s: float, replicas: Replicas | None) -> str | None:
        """Which limit is reached."""
        assert replicas is not None
        waiting = replicas.num_waiting
        if self.max_num_queued_reqs is not None:
            in_flight = int(waiting.sum() + replicas.num_running.sum())
            if in_flight >= self.max_num_queued_reqs:
                return "too many requests in flight"
        if self.max_num_queued_tokens is not None:
            queued_tokens = self._let_in.last(int(waiting.sum()))
            if queued_tokens >= self.max_num_queued_tokens:
                return "too many prompt tokens queued"
        cap = self.max_waiting_per_replica
        return None if cap is None or int(waiting.min()) < cap else "every queue is full"

    def admitted(self, row: int, now_s: float) -> None:
        """It waits, until shorter queues are seen."""
        self._let_in.add(float(self._prompt_tokens[row]), now_s)
