"""How often a real vLLM preempted: the table of its pull request 44594 (the watermark).

KV of 299,584 tokens, a closed loop of 128 clients, 450 prompts of U[800, 1200] tokens, outputs of
U[4000, 6000], prefix cache off. Preemptions reported: 1,065 at watermark 0, 400 at 0.02, 187 at
0.05, 168 at 0.10. Counts hang on lengths, not on the speed of an iteration.
"""

import numpy as np
import pytest

from simulator.cluster.cluster import Cluster
from simulator.cluster.pool import PoolPlan
from simulator.engine.config import EngineConfig
from simulator.engine.request import new_requests
from simulator.routers.round_robin import RoundRobin
from simulator.testing import linear_cost
from workloads.batch import ClosedLoop

BLOCKS = 299_584 // 16
REQUESTS, CLIENTS, SEEDS = 450, 128, 5


def preemptions(watermark, seed):
    """Preemptions of one run of the benchmark."""
    random = np.random.default_rng(seed)
    prompts = random.integers(800, 1200, REQUESTS, endpoint=True)
    outputs = random.integers(4000, 6000, REQUESTS, endpoint=True)
    config = EngineConfig(
        num_gpu_blocks=BLOCKS + 1,
        max_model_len=16_384,
        max_num_seqs=256,
        max_num_batched_tokens=8192,
        watermark=watermark,
        async_scheduling=True,
    )
    cost = linear_cost(8e-3, 2e-5, 1e-8, max_tokens=8192, max_seqs=256)
    requests = new_requests(np.zeros(REQUESTS), prompts, outputs, max_tokens=outputs)
    cluster = Cluster(
        requests,
        RoundRobin(),
        [PoolPlan("only", config, cost)],
        sample_interval_s=1e3,
        closed_loop=ClosedLoop(CLIENTS, np.zeros(REQUESTS)),
    )
    cluster.run()
    return int(requests["preemptions"].sum())


@pytest.mark.parametrize(
    ("watermark", "reported", "within"),
    [(0.0, 1065, 0.12), (0.02, 400, 0.12), (0.05, 187, 0.25), (0.10, 168, 0.25)],
)
def test_preemptions_of_a_real_engine(watermark, reported, within):
    mean = np.mean([preemptions(watermark, seed) for seed in range(SEEDS)])
    assert mean == pytest.approx(reported, rel=within)
