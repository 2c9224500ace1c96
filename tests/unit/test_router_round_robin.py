"""Each replica in turn."""

import numpy as np
import pytest

from simulator.cluster.cluster import Cluster
from simulator.cluster.pool import PoolPlan
from simulator.engine.config import EngineConfig
from simulator.engine.request import REJECTED, new_requests
from simulator.routers import ROUTERS
from simulator.routers.round_robin import RoundRobin
from simulator.testing import linear_cost


def test_it_is_found_by_its_kind():
    assert ROUTERS["round_robin"] is RoundRobin


@pytest.mark.parametrize("replicas", [1, 2, 5])
def test_replicas_take_turns(replicas):
    router = RoundRobin(replicas)
    assert [router.choose(i) for i in range(12)] == [i % replicas for i in range(12)]


def test_it_counts_arrivals_not_request_numbers():
    router = RoundRobin(3)
    assert [router.choose(i) for i in (17, 4, 4, 99)] == [0, 1, 2, 0]


def test_two_routers_do_not_share_a_turn():
    one, other = RoundRobin(2), RoundRobin(2)
    assert one.choose(0) == other.choose(0) == 0


def test_in_a_cluster_every_arrival_takes_a_turn_even_if_it_is_refused():
    config = EngineConfig(num_gpu_blocks=101, max_model_len=400, max_num_seqs=4)
    prompts = np.full(9, 50)
    prompts[1] = 400
    requests = new_requests(np.arange(9) * 0.1, prompts, 10)
    cluster = Cluster(
        requests,
        RoundRobin(2),
        [PoolPlan("main", config, linear_cost(0.01, 0.0, 0.0, max_tokens=8192, max_seqs=4), 2)],
        sample_interval_s=1.0,
    )
    cluster.run()
    assert requests["status"][1] == REJECTED
    assert requests["replica"].tolist() == [0, -1, 0, 1, 0, 1, 0, 1, 0]
