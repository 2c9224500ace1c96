"""Queues with textbook answers: M/G/1, M/D/1, M/M/c, Little's law and the utilisation law.

Every iteration takes the same time and KV cache is ample, so a request is served for a fixed
number of iterations: those of its prompt and one for each token after the first. Arrivals are
Poisson. Standard errors come from batch means (`simulator.metrics.intervals`).
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from scipy.special import stdtrit

from simulator.cluster.cluster import Cluster
from simulator.cluster.outcome import Outcome
from simulator.cluster.pool import PoolPlan
from simulator.engine.config import EngineConfig
from simulator.engine.request import COMPLETED, new_requests
from simulator.metrics.intervals import BATCHES, mean_half_width, ratio_half_width
from simulator.routers.round_robin import RoundRobin
from simulator.testing import linear_cost

ITERATION_S = 0.01
BUDGET = 128
SAMPLES = 4000
HALF_WIDTHS = float(stdtrit(BATCHES - 1, 0.975))  # standard errors in a 95 % half-width


@dataclass(frozen=True)
class Law:
    """Requests of a few kinds: (share, prompt tokens, output tokens)."""

    kinds: tuple[tuple[float, int, int], ...]

    @property
    def shares(self) -> np.ndarray:
        return np.array([share for share, _, _ in self.kinds])

    @property
    def service_s(self) -> np.ndarray:
        """Service time of each kind: chunks of its prompt, then its tokens but the first."""
        iterations = [math.ceil(prompt / BUDGET) + output - 1 for _, prompt, output in self.kinds]
        return ITERATION_S * np.array(iterations)

    def moment(self, order: int) -> float:
        return float(self.shares @ self.service_s**order)


MIXTURE = Law(((0.5, 10, 5), (0.3, 300, 40), (0.2, 128, 200)))
CONSTANT = Law(((1.0, 200, 60),))


@dataclass(frozen=True)
class Run:
    outcome: Outcome
    arrival_rps: float
    service_s: np.ndarray

    @property
    def wait_s(self) -> np.ndarray:
        table = self.outcome.requests
        return table["first_scheduled_s"] - table["arrival_s"]


def standard_error(values: np.ndarray) -> float:
    return mean_half_width(values) / HALF_WIDTHS


def serve(arrival_s, prompt_tokens, output_tokens, seats: int) -> Outcome:
    config = EngineConfig(
        num_gpu_blocks=6000,
        max_model_len=10_000,
        max_num_seqs=seats,
        max_num_batched_tokens=BUDGET,
    )
    cost = linear_cost(ITERATION_S, 0.0, 0.0, max_tokens=BUDGET, max_seqs=seats)
    cluster = Cluster(
        new_requests(arrival_s, prompt_tokens, output_tokens),
        RoundRobin(),
        [PoolPlan("main", config, cost)],
        sample_interval_s=arrival_s[-1] / (SAMPLES + 0.5),  # no sample at an arrival
    )
    outcome = cluster.run()
    assert (outcome.requests["status"] == COMPLETED).all()
    assert outcome.states["preemptions"].sum() == 0
    return outcome


@cache
def one_seat(law: Law, load: float, count: int = 100_000) -> Run:
    rng = np.random.default_rng([7, round(100 * load)])
    arrival_rps = load / law.moment(1)
    arrival_s = np.cumsum(rng.exponential(1.0 / arrival_rps, count))
    kind = rng.choice(len(law.kinds), size=count, p=law.shares)
    _, prompt, output = np.array(law.kinds).T.astype(int)
    outcome = serve(arrival_s, prompt[kind], output[kind], seats=1)
    return Run(outcome, arrival_rps, law.service_s[kind])


def pollaczek_khinchine_s(law: Law, load: float) -> float:
    """Mean wait in M/G/1: lambda E[S^2] / (2 (1 - rho))."""
    return load / law.moment(1) * law.moment(2) / (2.0 * (1.0 - load))


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_mean_wait_is_pollaczek_khinchines(load):
    run = one_seat(MIXTURE, load)
    error = standard_error(run.wait_s)
    expected = pollaczek_khinchine_s(MIXTURE, load)
    assert error < 0.05 * expected  # sharp enough to mean something
    assert abs(run.wait_s.mean() - expected) < 3.0 * error


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_equal_requests_wait_half_as_long_as_exponential_ones(load):
    """M/D/1: rho s / (2 (1 - rho))."""
    run = one_seat(CONSTANT, load)
    service_s = CONSTANT.moment(1)
    error = standard_error(run.wait_s)
    expected = load * service_s / (2.0 * (1.0 - load))
    assert error < 0.05 * expected
    assert abs(run.wait_s.mean() - expected) < 3.0 * error


def test_every_wait_follows_from_the_one_before():
    """Lindley's recursion: no wait is off, not only their mean."""
    run = one_seat(MIXTURE, 0.8)
    gaps = np.diff(run.outcome.requests["arrival_s"], prepend=0.0)
    wait_s = np.zeros(len(gaps))
    for i in range(1, len(gaps)):
        wait_s[i] = max(0.0, wait_s[i - 1] + run.service_s[i - 1] - gaps[i])
    np.testing.assert_allclose(run.wait_s, wait_s, rtol=0.0, atol=1e-9 * run.outcome.end_s)
    served_s = run.outcome.requests["finish_s"] - run.outcome.requests["first_scheduled_s"]
    np.testing.assert_allclose(served_s, run.service_s, rtol=0.0, atol=1e-9 * run.outcome.end_s)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_the_seat_is_taken_for_as_long_as_it_serves(load):
    run = one_seat(MIXTURE, load)
    state = run.outcome.states[0]
    assert state["busy_s"] == pytest.approx(run.service_s.sum(), rel=1e-9)
    error = standard_error(run.service_s) * run.arrival_rps
    assert abs(state["busy_s"] / run.outcome.end_s - load) < 3.0 * math.hypot(
        error, load / math.sqrt(len(run.service_s))
    )


def inside(outcome: Outcome, edges_s: np.ndarray) -> np.ndarray:
    """Time average of the number of requests in the system, exactly, between successive edges."""
    table = outcome.requests

    def request_seconds_before(t_s: np.ndarray, since_s: np.ndarray) -> np.ndarray:
        ordered = np.sort(since_s)
        totals = np.concatenate([[0.0], np.cumsum(ordered)])
        count = np.searchsorted(ordered, t_s)
        return count * t_s - totals[count]

    integral = request_seconds_before(edges_s, table["arrival_s"])
    integral -= request_seconds_before(edges_s, table["finish_s"])
    return np.diff(integral) / np.diff(edges_s)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_number_in_system_is_littles(load):
    """L = lambda W, with the W that theory gives."""
    run = one_seat(MIXTURE, load)
    number = inside(run.outcome, np.linspace(0.0, run.outcome.end_s, BATCHES + 1))
    error = ratio_half_width(number, np.ones(BATCHES)) / HALF_WIDTHS
    expected = run.arrival_rps * (pollaczek_khinchine_s(MIXTURE, load) + MIXTURE.moment(1))
    assert error < 0.05 * expected
    assert abs(number.mean() - expected) < 3.0 * error


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_the_timeline_counts_who_is_there(load):
    """Samples of the queue are exact, and their mean is lambda W within their sampling error."""
    run = one_seat(MIXTURE, load)
    samples, table = run.outcome.samples[0], run.outcome.requests
    assert len(samples) > SAMPLES
    t_s = samples["t_s"]
    arrived = np.searchsorted(table["arrival_s"], t_s)
    admitted = np.searchsorted(np.sort(table["first_scheduled_s"]), t_s)
    finished = np.searchsorted(np.sort(table["finish_s"]), t_s)
    np.testing.assert_array_equal(samples["waiting"], arrived - admitted)
    np.testing.assert_array_equal(samples["running"], admitted - finished)

    number = samples["running"] + samples["waiting"]
    per_batch = len(t_s) // BATCHES
    batches = number[: per_batch * BATCHES].reshape(BATCHES, per_batch).mean(axis=1)
    edges_s = np.append(t_s[: per_batch * BATCHES : per_batch], t_s[per_batch * BATCHES - 1])
    off = batches - inside(run.outcome, edges_s)
    error = float(off.std(ddof=1)) / math.sqrt(BATCHES)
    sojourn_s = float((table["finish_s"] - table["arrival_s"]).mean())
    little = len(table) / run.outcome.end_s * sojourn_s
    assert error < 0.05 * little
    assert abs(number.mean() - little) < 3.0 * error


def erlang_c(seats: int, offered: float) -> float:
    """Probability that an arrival must wait in M/M/c, `offered` = lambda E[S] < seats."""
    terms = [offered**k / math.factorial(k) for k in range(seats)]
    all_taken = offered**seats / math.factorial(seats) * seats / (seats - offered)
    return all_taken / (sum(terms) + all_taken)


@pytest.mark.parametrize(("seats", "load"), [(1, 0.6), (2, 0.7), (8, 0.8)])
def test_many_seats_and_geometric_answers_wait_as_erlang_says(seats, load):
    """M/M/c, but for its clock: service is a geometric number of iterations with mean 200.

    A request starts at a boundary, at most one iteration later than in continuous time, and the
    variance of a geometric law is 0.5 % below that of the exponential one, which takes a quarter of
    a per cent off the wait. Together less than one iteration here: that much is allowed on top of
    three standard errors.
    """
    mean_iterations = 200
    count = 100_000
    rng = np.random.default_rng([11, seats])
    arrival_rps = load * seats / (mean_iterations * ITERATION_S)
    arrival_s = np.cumsum(rng.exponential(1.0 / arrival_rps, count))
    output = rng.geometric(1.0 / mean_iterations, count)
    outcome = serve(arrival_s, 16, output, seats)
    wait_s = outcome.requests["first_scheduled_s"] - outcome.requests["arrival_s"]
    offered = load * seats
    expected = erlang_c(seats, offered) * mean_iterations * ITERATION_S / (seats - offered)
    error = standard_error(wait_s)
    assert error + ITERATION_S < 0.1 * expected
    assert abs(wait_s.mean() - expected) < 3.0 * error + ITERATION_S
