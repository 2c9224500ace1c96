"""Markov-modulated Poisson arrivals: a rate that changes state at random."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from simulator.errors import InputError, Problem
from simulator.rng import exponential, uniforms
from workloads.batch import MAX_REQUESTS
from workloads.processes import arrival_process
from workloads.processes.arrival_process import (
    MOST_RPS,
    ArrivalProcess,
    checked_factor,
    running_sums,
)
from workloads.processes.rate_profile import times_of
from workloads.schema import Section


class ModulatedState(Section):
    """A state of the traffic: its rate, and how long it lasts on average (exponentially)."""

    rate_rps: float = Field(ge=0, le=MOST_RPS, description="Requests per second in this state.")
    mean_sojourn_s: float = Field(
        gt=0, le=1e9, description="Mean time until the next state, seconds."
    )


class ModulatedPoissonArrivals(ArrivalProcess):
    """Poisson arrivals whose rate is that of the state of a Markov chain.

    Each state lasts an exponentially distributed time; then comes the next one of the list
    (`cyclic`) or any of the others (`random`). The run begins at an arbitrary moment: in each state
    with the share of time it has in the long run. With two states, the MMPP(2) of Heffes and
    Lucantoni, IEEE JSAC 4(6), 1986.
    """

    kind: Literal["mmpp"] = "mmpp"
    rate_field: ClassVar[str] = "states"
    states: tuple[ModulatedState, ...] = Field(strict=False, min_length=1)
    next_state: Literal["cyclic", "random"] = Field(
        "cyclic", description="Which state follows: the next of the list, or any other."
    )

    @model_validator(mode="after")
    def _some_traffic(self) -> ModulatedPoissonArrivals:
        if self.mean_rate_rps() < 1e-9:
            raise ValueError("the rates of the states must not all be 0")
        return self

    def mean_rate_rps(self) -> float:
        """Requests per second in the long run: every state is visited equally often."""
        total_s = sum(state.mean_sojourn_s for state in self.states)
        return sum(state.rate_rps * state.mean_sojourn_s for state in self.states) / total_s

    def scaled(self, factor: float) -> Self:
        """The same states at `factor` times their rates. Raises ValueError for a useless factor."""
        checked_factor(factor)
        states = [
            state.model_dump() | {"rate_rps": factor * state.rate_rps} for state in self.states
        ]
        return self._replaced(states=states)

    def _pieces(self, seed: int, entity: str, expected: float) -> Iterator[NDArray[np.float64]]:
        a_visit_s = sum(state.mean_sojourn_s for state in self.states) / len(self.states)
        visits_each = 1.0 / self.mean_rate_rps() / a_visit_s
        visits = max(expected, 1.0) * visits_each
        if visits > MAX_REQUESTS:
            message = f"the state would change {visits:.3g} times; {MAX_REQUESTS:,} is the most"
            raise InputError(Problem(message, field="workload.arrivals.states"))

        def draw(start: int, count: int) -> NDArray[np.float64]:
            return exponential(uniforms(seed, "arrivals", entity, count, start)[:, 0])

        path = _Path(self, seed, entity)
        for reached in running_sums(draw, expected, visits_each):
            path.extend(float(reached[-1]))
            yield times_of(path.edges_s, path.rates_rps, path.integral, reached)
            path.forget(float(reached[-1]))

    def describe(self) -> str:
        """The process in a few words, for the provenance of a result."""
        rates = ", ".join(f"{state.rate_rps:g}" for state in self.states[:4])
        more = ", ..." if len(self.states) > 4 else ""
        return f"mmpp, {self.mean_rate_rps():g} requests/s (states of {rates}{more})"


class _Path:
    """The states one after another, as steps of a rate, drawn as far as they are needed."""

    def __init__(self, process: ModulatedPoissonArrivals, seed: int, entity: str) -> None:
        self.seed, self.entity = seed, entity
        self.rate_of_state = np.array([state.rate_rps for state in process.states])
        self.sojourn_of_state = np.array([state.mean_sojourn_s for state in process.states])
        self.random = process.next_state == "random"
        self.drawn = self.state = 0
        self.edges_s, self.integral, self.rates_rps = np.zeros(1), np.zeros(1), np.empty(0)

    def extend(self, reached: float) -> None:
        """Draws on until the integral of the rate is above `reached`."""
        edges_s, integral, rates_rps = [self.edges_s], [self.integral], [self.rates_rps]
        count = 256
        while integral[-1][-1] <= reached:
            count = min(2 * count, arrival_process.CHUNK_ROWS)
            drawn = uniforms(self.seed, "arrival_states", self.entity, count, self.drawn)
            state = self._states(drawn[:, 1])
            lasts_s = self.sojourn_of_state[state] * exponential(drawn[:, 0])
            rates_rps.append(self.rate_of_state[state])
            arrivals = lasts_s * rates_rps[-1]
            # Summed on in order, so that the sums are the same however they are cut.
            lasts_s[0] += edges_s[-1][-1]
            arrivals[0] += integral[-1][-1]
            edges_s.append(np.cumsum(lasts_s))
            integral.append(np.cumsum(arrivals))
            self.drawn, self.state = self.drawn + count, int(state[-1])
        self.edges_s, self.integral = np.concatenate(edges_s), np.concatenate(integral)
        self.rates_rps = np.concatenate(rates_rps)

    def _states(self, uniform: NDArray[np.float64]) -> NDArray[np.int64]:
        """The states of the next visits. The first is met with its share of the time."""
        n = len(self.rate_of_state)
        onwards = np.ones(len(uniform), dtype=np.int64)
        if self.random and n > 1:
            onwards += (uniform * (n - 1)).astype(np.int64)
        if self.drawn == 0:
            share = np.cumsum(self.sojourn_of_state)
            onwards[0] = np.searchsorted(share, uniform[0] * share[-1], side="right")
        return (self.state + np.cumsum(onwards)) % n

    def forget(self, reached: float) -> None:
        """Drops the states that ended before `reached`."""
        done = int(np.searchsorted(self.integral, reached, side="right")) - 1
        self.edges_s, self.integral = self.edges_s[done:], self.integral[done:]
        self.rates_rps = self.rates_rps[done:]
