"""The steady part of a run, and what its counters say happened in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.cluster.outcome import Outcome
from simulator.engine.request import COMPLETED


@dataclass(frozen=True)
class Stretch:
    """What all replicas did between two times; `running` is the time-average of requests."""

    start_s: float
    end_s: float
    running: float
    output_tokens: float

    @property
    def seconds(self) -> float:
        """Length of the stretch."""
        return self.end_s - self.start_s


def steady_times_s(outcome: Outcome, seats: int) -> tuple[float, float] | None:
    """The part of a run that ml.energy's benchmark averages over; None if there is none.

    From the first token of the `seats`-th request to get one, to when `seats` + 1 of all are left
    (RequestTracker in github.com/ml-energy/benchmark @ c1d6557, mlenergy/llm/benchmark.py).
    """
    done = outcome.requests[outcome.requests["status"] == COMPLETED]
    finished = len(done) - seats - 1
    if finished < 1:
        return None
    start_s = float(np.partition(done["first_token_s"], seats - 1)[seats - 1])
    end_s = float(np.partition(done["finish_s"], finished - 1)[finished - 1])
    return (start_s, end_s) if end_s > start_s else None


def stretch(outcome: Outcome, start_s: float, end_s: float) -> Stretch:
    """Read the counters between two times off the timeline.

    The timeline has two to four thousand samples a run; counts between two of them are
    interpolated.
    """
    running = sum(_average(samples, start_s, end_s) for samples in outcome.samples)
    return Stretch(start_s, end_s, running, _between(outcome, "output_tokens", start_s, end_s))


def _between(outcome: Outcome, name: str, start_s: float, end_s: float) -> float:
    """Growth of a cumulative counter of all replicas."""
    total = 0.0
    for samples, state in zip(outcome.samples, outcome.states, strict=True):
        times_s = np.append(samples["t_s"], outcome.end_s)
        last = state[name]
        counts = np.append(samples[name].astype(np.float64), float(last))
        low, high = np.interp([start_s, end_s], times_s, counts)
        total += float(high - low)
    return total


def _average(samples: np.ndarray, start_s: float, end_s: float) -> float:
    """Time-average of running requests, each sample standing for the time up to the next."""
    times_s = np.append(samples["t_s"], np.inf)
    weights = np.clip(times_s[1:], start_s, end_s) - np.clip(times_s[:-1], start_s, end_s)
    return float(weights @ samples["running"]) / (end_s - start_s)
