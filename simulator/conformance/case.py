"""What a policy is tried on: requests, whoever serves them, and what became of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from simulator.conformance.workload import Ints, Workload
from simulator.engine.request import COMPLETED
from simulator.errors import IntegrityError

C = TypeVar("C", bound="Case")

_WHEN = ("t_s", "dt_s", "finished")  # what of a decision is not decided


@dataclass(frozen=True, eq=False)
class Case(ABC):
    """Requests and who serves them; a subclass for each family of policies.

    All times in it are multiples of 2**-20 s, so that no sum of them is rounded: what differs
    between two runs was decided differently.
    """

    name: str
    workload: Workload

    @abstractmethod
    def serve(self, policy: Any, until_s: float | None = None) -> Run:
        """Serve the requests under a policy up to a time in seconds (None: `limit_s`)."""

    @abstractmethod
    def stepping(self: C) -> C:
        """The same, each iteration by itself."""

    @property
    @abstractmethod
    def longest_tokens(self) -> int:
        """Most tokens of a request that anybody serves, prompt and output together."""

    @property
    def limit_s(self) -> float:
        """When any schedule is over that makes progress (seconds).

        Four times what it takes to serve the requests one after another.
        """
        work = self.workload
        iterations = int((work.output_tokens + work.prompt_tokens // 8 + 2).sum())
        return float(work.arrival_s[-1]) + 4.0 * iterations * ITERATION_S

    def later(self: C, shift_s: float) -> C:
        """The same, everything `shift_s` seconds later."""
        return replace(self, workload=self.workload.later(shift_s))

    def with_lengths(self: C, thinking_tokens: Ints, output_tokens: Ints) -> C:
        """The same as far as anybody can see at first; it is the future that is different."""
        return replace(self, workload=self.workload.with_lengths(thinking_tokens, output_tokens))

    def with_requests_of(self: C, rows: Ints) -> C:
        """The same arrivals, but what comes i-th is what came as `rows[i]` (int64[n])."""
        return replace(self, workload=self.workload.with_requests_of(rows))


ITERATION_S = 2.0**-3
"""The least that an iteration takes in any case (seconds)."""


@dataclass(frozen=True, eq=False)
class Run:
    """What became of a case under a policy.

    `requests`: the table, REQUEST[n]. `steps`: every decision, in order. `states`: STATE[replicas],
    the counters at the end. `error`: what the policy or the engine raised, None if nothing.
    """

    case: Case
    policy: Any
    requests: np.ndarray
    steps: Sequence[Any]
    states: NDArray[np.void]
    error: Exception | None

    @property
    def served(self) -> bool:
        """Whether every request got to its end."""
        return self.error is None and bool((self.requests["status"] == COMPLETED).all())

    def same_bytes(self, other: Run) -> bool:
        """Whether not one bit of what happened differs."""
        return self.requests.tobytes() == other.requests.tobytes() and self.steps == other.steps


def cause_of(raised: Exception) -> Exception:
    """What a policy itself raised, where the engine says that the policy failed."""
    cause = raised.__cause__
    return cause if isinstance(raised, IntegrityError) and isinstance(cause, Exception) else raised


def first_difference(steps: Sequence[Any], others: Sequence[Any]) -> str:
    """Where two runs first decided something else, "" if nowhere as far as both go.

    A decision is a dataclass with a time `t_s` (seconds).
    """
    for step, other in zip(steps, others, strict=False):
        for field in fields(step):
            one, two = getattr(step, field.name), getattr(other, field.name)
            if one != two and field.name not in _WHEN:
                return f"at {step.t_s:g} s, {field.name} is {one} or {two}"
    return ""
