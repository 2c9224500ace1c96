"""Orders of service with textbook answers: priorities, SJF, SRPT and processor sharing in M/G/1.

As in `test_queueing`: every iteration takes the same time and KV is ample, so that with one seat a
request is served for as many iterations as it has output tokens, its prompt included. KV that was
lost is computed in the iteration that gives the next token, so preemption is free, as theory has
it. A request starts, and preempts, at the end of the iteration under way: later than in continuous
time by less than one. That one is allowed on top of three standard errors, of batch means.
"""

import dataclasses
import math

import numpy as np
import pytest

from simulator.engine.config import EngineConfig
from simulator.engine.request import COMPLETED, new_requests
from simulator.facts import RequestFacts
from simulator.predictors.base import Truth
from simulator.predictors.oracle import Oracle
from simulator.schedulers.fcfs import Fcfs
from simulator.schedulers.priority import Priority
from simulator.schedulers.round_robin_chunked import RoundRobinChunked
from simulator.schedulers.sjf import Sjf
from simulator.schedulers.srpt import Srpt
from simulator.testing import linear_cost, serve
from tests.theory.test_queueing import erlang_c, standard_error

ITERATION_S = 0.01
SIZES = np.array([4, 10, 25, 60, 150])
SHARES = np.array([0.3, 0.3, 0.2, 0.15, 0.05])
SERVICE_S = ITERATION_S * SIZES
MEAN_S = float(SHARES @ SERVICE_S)


def run(scheduler, output_tokens, arrival_s, *, seats=1, priority=None):
    """Serve requests of which only the lengths, known to the scheduler, and priorities matter."""
    prompt_tokens, count = 8, len(arrival_s)
    table = new_requests(arrival_s, prompt_tokens, output_tokens, output_tokens)
    truth = Truth(
        table["prompt_tokens"],
        table["output_tokens"],
        *np.zeros((2, count), dtype=np.int64),
        np.zeros(count, dtype=np.int32),
    )
    oracle = Oracle()
    oracle.start(truth, seed=0)
    facts = dataclasses.replace(RequestFacts.plain(table["prompt_tokens"]), predictor=oracle)
    if priority is not None:
        facts = dataclasses.replace(facts, priority=priority)
    budget = int(output_tokens.max()) + prompt_tokens
    config = EngineConfig(
        num_gpu_blocks=50_000,
        max_model_len=2 * budget,
        max_num_seqs=seats,
        max_num_batched_tokens=2 * budget,  # all that is lost is computed in one iteration
    )
    cost = linear_cost(ITERATION_S, 0.0, 0.0, max_tokens=2 * budget, max_seqs=seats)
    serve(config, cost, table, scheduler=scheduler, facts=facts, check_integrity=False)
    assert (table["status"] == COMPLETED).all()
    return table


def one_seat(scheduler, load, count, *, priority_of_kind=None):
    """Poisson arrivals of requests of all SIZES; returns the kind of each, and the table."""
    rng = np.random.default_rng([5, round(100 * load)])
    arrival_s = np.cumsum(rng.exponential(MEAN_S / load, count))
    kind = rng.choice(len(SIZES), size=count, p=SHARES)
    priority = None if priority_of_kind is None else priority_of_kind[kind]
    return kind, run(scheduler, SIZES[kind], arrival_s, priority=priority)


def check(times_s, expected_s, sharpness=0.1):
    """Within three standard errors of theory, and an iteration; sharp enough to mean something."""
    error_s = standard_error(times_s)
    assert error_s < sharpness * expected_s
    assert abs(times_s.mean() - expected_s) < 3.0 * error_s + ITERATION_S


def cobham_s(load, level):
    """Mean wait in M/G/1 of each kind, those of the lowest `level` (int[k]) being served first.

    W_k = W_0 / ((1 - sigma_<k) (1 - sigma_<=k)), W_0 = lambda E[S^2] / 2 (Cobham 1954); with sizes
    as levels, it is the shortest job first (Phipps 1956).
    """
    rate_rps = load / MEAN_S
    work = rate_rps * SHARES * SERVICE_S
    residual_s = rate_rps * float(SHARES @ SERVICE_S**2) / 2.0
    before = np.array([work[level < each].sum() for each in level])
    up_to = np.array([work[level <= each].sum() for each in level])
    return residual_s / ((1.0 - before) * (1.0 - up_to))


def schrage_miller_s(load):
    """Mean response in M/G/1 under SRPT of each size (Schrage and Miller 1966), with atoms.

    Who is as short and came first goes first. Wait: lambda (E[S^2; S <= x] + x^2 P(S > x)) /
    (2 (1 - rho(<= x)) (1 - rho(< x))); then an interval dt of service, when t is left, takes
    dt / (1 - rho(< t)).
    """
    rate_rps = load / MEAN_S
    up_to = np.cumsum(rate_rps * SHARES * SERVICE_S)
    before = np.concatenate([[0.0], up_to[:-1]])
    longer = 1.0 - np.cumsum(SHARES)
    squares = np.cumsum(SHARES * SERVICE_S**2) + SERVICE_S**2 * longer
    wait_s = rate_rps * squares / (2.0 * (1.0 - up_to) * (1.0 - before))
    pieces_s = np.diff(SERVICE_S, prepend=0.0) / (1.0 - before)
    return wait_s + np.cumsum(pieces_s)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_priorities_wait_as_cobham_says(load):
    level = np.array([1, 0, 2, 0, 1])
    kind, table = one_seat(Priority(), load, 100_000, priority_of_kind=level)
    wait_s = table["first_scheduled_s"] - table["arrival_s"]
    for each in range(3):
        expected = cobham_s(load, level)[np.flatnonzero(level == each)[0]]
        check(wait_s[level[kind] == each], expected)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_the_shortest_first_wait_as_phipps_says(load):
    kind, table = one_seat(Sjf(starvation_s=1e8), load, 100_000)
    wait_s = table["first_scheduled_s"] - table["arrival_s"]
    for each, expected in enumerate(cobham_s(load, SIZES)):
        check(wait_s[kind == each], expected)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_the_shortest_remaining_first_respond_as_schrage_and_miller_say(load):
    kind, table = one_seat(Srpt(preemptible_frac=1.0), load, 30_000)
    response_s = table["finish_s"] - table["arrival_s"]
    expected_s = schrage_miller_s(load)
    for each, expected in enumerate(expected_s):
        check(response_s[kind == each], expected)
    check(response_s, float(SHARES @ expected_s), sharpness=0.05)
    # Nobody does better, and SJF and fcfs do much worse.
    sjf_s = float(SHARES @ (cobham_s(load, SIZES) + SERVICE_S))
    fcfs_s = float(SHARES @ (cobham_s(load, 0 * SIZES) + SERVICE_S))
    assert response_s.mean() < sjf_s < fcfs_s


@pytest.mark.parametrize("load", [0.5, 0.7])
def test_turns_of_a_token_share_the_processor(load):
    """M/G/1 processor sharing: T(x) = x / (1 - rho), whatever the law of sizes but for its mean."""
    kind, table = one_seat(RoundRobinChunked(quantum_tokens=1), load, 8_000)
    response_s = table["finish_s"] - table["arrival_s"]
    for each, service_s in enumerate(SERVICE_S):
        check(response_s[kind == each], service_s / (1.0 - load), sharpness=0.15)
    check(response_s, MEAN_S / (1.0 - load))


@pytest.mark.parametrize(("seats", "load"), [(2, 0.7), (8, 0.8)])
def test_who_waits_for_a_seat_waits_as_long_as_in_mmc(seats, load):
    """M/M/c: an arrival waits with Erlang's probability C, then for an exponential time."""
    mean_iterations, count = 100, 150_000
    rng = np.random.default_rng([13, seats])
    arrival_s = np.cumsum(rng.exponential(mean_iterations * ITERATION_S / (load * seats), count))
    table = run(Fcfs(), rng.geometric(1.0 / mean_iterations, count), arrival_s, seats=seats)
    wait_s = table["first_scheduled_s"] - table["arrival_s"]
    waits = erlang_c(seats, load * seats)
    rate_rps = (1.0 - load) * seats / (mean_iterations * ITERATION_S)
    for beyond_s in (0.25 / rate_rps, 1.5 / rate_rps):
        later = (wait_s > beyond_s).astype(np.float64)
        # A seat that falls free is taken at the next boundary: an iteration later at most.
        low, high = (
            waits * math.exp(-rate_rps * time_s) for time_s in (beyond_s, beyond_s - ITERATION_S)
        )
        error = standard_error(later)
        assert error < 0.1 * low
        assert low - 3.0 * error < later.mean() < high + 3.0 * error
