"""The supermarket model: how long queues are when each request joins the shorter of two.

With many replicas that serve one request at a time, exponential service and Poisson arrivals at
load rho, the share of replicas with at least i requests is rho^(2^i - 1), of d choices
rho^((d^i - 1) / (d - 1)), where random choice gives rho^i (N. Vvedenskaya, R. Dobrushin, F.
Karpelevich 1996; M. Mitzenmacher 2001). Service here is a geometric number of iterations, 100 in
the mean; arrivals see the time average (PASTA).
"""

from dataclasses import dataclass

import numpy as np
import pytest

from simulator.cluster.cluster import Cluster
from simulator.cluster.pool import PoolPlan
from simulator.engine.config import EngineConfig
from simulator.engine.request import COMPLETED, new_requests
from simulator.facts import RequestFacts
from simulator.metrics.intervals import BATCHES
from simulator.routers.base import Fleet, Snapshot
from simulator.routers.power_of_two import PowerOfTwo
from simulator.testing import linear_cost

REPLICAS = 400
LOAD = 0.8
MEAN_ITERATIONS = 100
ITERATION_S = 0.01
REQUESTS = 110_000
WARM_UP = 10_000  # requests, 31 mean service times
LONGEST = 5


@dataclass(eq=False, kw_only=True)
class Counting(PowerOfTwo):
    """Power of two choices that notes how long all queues are at every arrival."""

    def start(self, fleet: Fleet, facts: RequestFacts, seed: int) -> None:
        super().start(fleet, facts, seed)
        self.longer = np.zeros((len(facts), LONGEST))

    def choose(self, request: int, replicas: Snapshot) -> int:
        counts = np.bincount(replicas.outstanding, minlength=LONGEST + 1)
        self.longer[request] = np.cumsum(counts[::-1])[::-1][1 : LONGEST + 1] / REPLICAS
        return super().choose(request, replicas)


def tails(choices: int) -> tuple[np.ndarray, np.ndarray]:
    """Shares of replicas with at least 1, 2 ... requests, and their standard errors."""
    rng = np.random.default_rng(11)
    service_s = MEAN_ITERATIONS * ITERATION_S
    arrival_s = np.cumsum(rng.exponential(service_s / (LOAD * REPLICAS), REQUESTS))
    iterations = rng.geometric(1.0 / MEAN_ITERATIONS, REQUESTS)
    requests = new_requests(arrival_s, 1, iterations)  # the prompt's iteration gives the first
    config = EngineConfig(
        num_gpu_blocks=400, max_model_len=6000, max_num_seqs=1, max_num_batched_tokens=16
    )
    cost = linear_cost(ITERATION_S, 0.0, 0.0, max_tokens=16, max_seqs=1)
    router = Counting(choices=choices)
    pools = [PoolPlan("pool", config, cost, REPLICAS)]
    Cluster(requests, router, pools, sample_interval_s=1e9).run()
    assert (requests["status"] == COMPLETED).all()
    batches = router.longer[WARM_UP:].reshape(BATCHES, -1, LONGEST).mean(axis=1)
    return batches.mean(axis=0), batches.std(axis=0, ddof=1) / np.sqrt(BATCHES)


@pytest.mark.parametrize("choices", [2, 3])
def test_queues_are_as_long_as_the_mean_field_says(choices):
    share, error = tails(choices)
    i = np.arange(1, LONGEST + 1)
    expected = LOAD ** ((float(choices) ** i - 1.0) / (choices - 1.0))
    sharp = expected > 0.01
    assert sharp.sum() >= 3
    assert (error[sharp] < 0.12 * expected[sharp]).all()
    assert (abs(share - expected)[sharp] < 3.0 * error[sharp]).all()
