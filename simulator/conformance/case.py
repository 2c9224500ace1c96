"""A workload and the engine that is to serve it, as every property is checked on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from simulator.cost.cost_table import CostTable
from simulator.engine.config import EngineConfig
from simulator.engine.request import new_requests
from simulator.facts import RequestFacts
from simulator.predictors.base import Reordered

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_OWN_FACTS = ("prompt_tokens", "max_tokens", "class_id", "client_id", "priority", "due_s")

ITERATION_S = 2.0**-3
"""The least that an iteration takes, in seconds."""


@dataclass(frozen=True, eq=False)
class Case:
    """n requests and the engine that is to serve them.

    arrival_s: float64[n], in order. prompt_tokens, thinking_tokens, output_tokens, max_tokens:
    int64[n]. `facts` is what policies see of them: the guesses of its predictor stay as they are
    when lengths change. All times are multiples of 2**-20 s, so that no sum of them is rounded:
    what differs between two runs was decided differently.
    """

    name: str
    config: EngineConfig
    arrival_s: Floats
    prompt_tokens: Ints
    thinking_tokens: Ints
    output_tokens: Ints
    max_tokens: Ints
    facts: RequestFacts

    def __len__(self) -> int:
        return len(self.arrival_s)

    @property
    def cost(self) -> CostTable:
        """1/8 s an iteration, 1 ms a token, 4 us a token of context: all powers of two."""
        seats = self.config.seat_limit + 1
        context_s = 2.0**-18
        tokens = np.arange(self.config.max_num_batched_tokens + 1, dtype=np.float64)
        return CostTable(
            token_s=ITERATION_S + 2.0**-10 * tokens,
            seq_s=np.zeros(seats),
            decode_fixed_s=np.zeros(seats),
            decode_context_s=np.full(seats, context_s),
            prefill_s=np.array([0.0, 0.0, context_s, 0.0]),
        )

    @property
    def limit_s(self) -> float:
        """When any schedule is over that makes progress (seconds).

        Four times what it takes to serve the requests one after another.
        """
        iterations = int((self.output_tokens + self.prompt_tokens // 8 + 2).sum())
        return float(self.arrival_s[-1]) + 4.0 * iterations * ITERATION_S

    def table(self) -> np.ndarray:
        """The requests as an engine takes them, not served yet."""
        return new_requests(
            self.arrival_s,
            self.prompt_tokens,
            self.output_tokens,
            self.thinking_tokens,
            self.max_tokens,
        )

    def later(self, shift_s: float) -> Case:
        """The same, everything `shift_s` seconds later."""
        return replace(self, arrival_s=self.arrival_s + shift_s)

    def with_lengths(self, thinking_tokens: Ints, output_tokens: Ints) -> Case:
        """The same as far as anybody can see at first; it is the future that is different."""
        return replace(self, thinking_tokens=thinking_tokens, output_tokens=output_tokens)

    def with_requests_of(self, rows: Ints) -> Case:
        """The same arrivals, but what comes i-th is what came as `rows[i]` (int64[n]).

        Sessions and queries stay where they are, as they are named by their rows.
        """
        facts = self.facts
        moved = {
            name: getattr(facts, name)[rows]
            for name in (
                "prompt_tokens",
                "max_tokens",
                "class_id",
                "client_id",
                "priority",
                "due_s",
            )
        }
        return replace(
            self,
            prompt_tokens=self.prompt_tokens[rows],
            thinking_tokens=self.thinking_tokens[rows],
            output_tokens=self.output_tokens[rows],
            max_tokens=self.max_tokens[rows],
            facts=replace(facts, **moved, predictor=Reordered(facts.predictor, rows)),
        )

    def stepping(self) -> Case:
        """The same, each iteration by itself."""
        return replace(self, config=replace(self.config, stepping="iteration"))
