"""Gaps between tokens fall into the slices of time they start in, however long a span is."""

import numpy as np
import pytest

from simulator import testing
from simulator.cluster.cluster import Cluster
from simulator.cluster.pool import PoolPlan
from simulator.engine.config import EngineConfig
from simulator.engine.request import new_requests
from simulator.routers.round_robin import RoundRobin

COST = testing.linear_cost(0.0113, 1.7e-5, 3.1e-8, max_tokens=256, max_seqs=8)


def _histogram(stepping: str, asynchronous: bool, window_s: tuple[float, float]) -> np.ndarray:
    rng = np.random.default_rng(4)
    requests = new_requests(
        np.sort(rng.uniform(0, 20, 12)), rng.integers(20, 300, 12), rng.integers(50, 2000, 12)
    )
    config = EngineConfig(
        num_gpu_blocks=2000,
        max_model_len=4096,
        max_num_seqs=8,
        max_num_batched_tokens=256,
        async_scheduling=asynchronous,
        stepping=stepping,
    )
    return _run(requests, config, COST, window_s)


def _run(requests, config, cost, window_s):
    cluster = Cluster(
        requests,
        RoundRobin(),
        [PoolPlan("main", config, cost)],
        sample_interval_s=1.0,
        itl_span_s=window_s,
    )
    return cluster.run(window_end_s=1e9, until_s=1e9).itl


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("window_s", [(0.0, 30.0), (7.3, 19.9), (5.0, 5.0), (500.0, 600.0)])
def test_slices_are_the_same_in_spans_and_in_iterations(asynchronous, window_s):
    spans = _histogram("span", asynchronous, window_s)
    steps = _histogram("iteration", asynchronous, window_s)
    np.testing.assert_array_equal(spans.sum(axis=1), steps.sum(axis=1))
    # a gap on the edge of a bin may fall to either side
    for one, other in zip(spans, steps, strict=True):
        bins = [np.repeat(np.arange(len(row)), row) for row in (one, other)]
        assert np.abs(bins[0] - bins[1]).max(initial=0) <= 1


def test_a_long_span_reaches_every_slice_it_lasts_through():
    requests = new_requests([0.0], [16], [2000])
    config = EngineConfig(num_gpu_blocks=200, max_model_len=3000, max_num_batched_tokens=256)
    cost = testing.linear_cost(0.01, 0.0, 0.0, max_tokens=256, max_seqs=256)
    inside = _run(requests, config, cost, (0.0, 20.0)).sum(axis=1)[:-1]
    assert inside.sum() == 1999
    assert np.abs(inside - 2000 / len(inside)).max() <= 2
