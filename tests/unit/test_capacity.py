"""The capacity estimate against the rate at which a replica with everything to do completes."""

from types import SimpleNamespace

import numpy as np
import pytest

from simulator.capacity import found_in_caches
from simulator.engine.config import EngineConfig
from simulator.engine.request import COMPLETED, new_requests
from simulator.metrics.capacity import capacity_rps
from simulator.prefix import PromptSegments
from simulator.testing import linear_cost, serve

COUNT = 4000


def lengths(seed, mu, sigma, low, high):
    rng = np.random.default_rng(seed)
    return np.clip(rng.lognormal(mu, sigma, COUNT), low, high).astype(np.int64)


def engine(**options):
    config = EngineConfig(max_model_len=40_000, **options)
    cost = linear_cost(
        0.01,
        2e-5,
        2e-8,
        max_tokens=config.max_num_batched_tokens,
        max_seqs=config.seat_limit,
    )
    return config, cost


def completion_rate_rps(config, cost, prompts, outputs):
    """Measured with all requests at t = 0; also returns the preemptions and most blocks in use."""
    requests = new_requests(np.zeros(len(prompts)), prompts, outputs)
    replica = serve(config, cost, requests, check_integrity=False)
    assert (requests["status"] == COMPLETED).all()
    rate_rps = len(prompts) / requests["finish_s"].max()
    return rate_rps, requests["preemptions"].sum(), replica.arrays.state[0]["peak_blocks"]


def test_seats_limit():
    config, cost = engine(num_gpu_blocks=20_000, max_num_seqs=64)
    prompts, outputs = lengths(1, 6.0, 0.8, 8, 8000), lengths(2, 6.5, 0.8, 16, 8000)
    measured, _, peak_blocks = completion_rate_rps(config, cost, prompts, outputs)
    assert peak_blocks < config.usable_blocks / 2
    assert capacity_rps(config, cost, prompts, outputs) == pytest.approx(measured, rel=0.15)


def test_the_kv_cache_limits():
    config, cost = engine(num_gpu_blocks=3000, max_num_seqs=256)
    prompts, outputs = lengths(1, 6.0, 0.8, 8, 8000), lengths(2, 6.5, 0.8, 16, 8000)
    measured, preemptions, peak_blocks = completion_rate_rps(config, cost, prompts, outputs)
    assert peak_blocks > 0.99 * config.usable_blocks
    assert preemptions > COUNT
    assert capacity_rps(config, cost, prompts, outputs) == pytest.approx(measured, rel=0.15)


def test_the_kv_cache_limits_less_where_layers_have_a_window():
    windows = {"window_tokens": 512, "kv_groups_full": 1, "kv_groups_window": 3}
    config, cost = engine(num_gpu_blocks=12_000, max_num_seqs=256, **windows)
    prompts, outputs = lengths(1, 6.0, 0.8, 8, 8000), lengths(2, 6.5, 0.8, 16, 8000)
    measured, preemptions, _ = completion_rate_rps(config, cost, prompts, outputs)
    assert preemptions > COUNT / 4
    assert capacity_rps(config, cost, prompts, outputs) == pytest.approx(measured, rel=0.15)
    without, _ = engine(num_gpu_blocks=12_000, max_num_seqs=256, kv_groups_full=4)
    assert capacity_rps(without, cost, prompts, outputs) < 0.8 * measured


def test_long_thinkers():
    config, cost = engine(num_gpu_blocks=27_000, max_num_seqs=128)
    prompts, outputs = lengths(1, 5.0, 0.8, 8, 4000), lengths(2, 8.0, 1.0, 16, 32_000)
    measured, _, _ = completion_rate_rps(config, cost, prompts, outputs)
    assert capacity_rps(config, cost, prompts, outputs) == pytest.approx(measured, rel=0.15)


@pytest.mark.parametrize("budget", [512, 2048])
def test_the_token_budget_limits(budget):
    """Long prompts and short answers: iterations are as many as prompts take, not as decodes do."""
    config, cost = engine(num_gpu_blocks=60_000, max_num_seqs=64, max_num_batched_tokens=budget)
    prompts, outputs = lengths(1, 7.5, 0.5, 8, 20_000), lengths(2, 2.0, 0.5, 1, 200)
    measured, _, _ = completion_rate_rps(config, cost, prompts, outputs)
    assert prompts.mean() / budget > outputs.mean() / config.seat_limit
    assert capacity_rps(config, cost, prompts, outputs) == pytest.approx(measured, rel=0.15)


def test_equal_requests_one_at_a_time():
    """Nothing is estimated: P tokens in one iteration, then O - 1 more iterations."""
    config = EngineConfig(num_gpu_blocks=1000, max_model_len=1000, max_num_seqs=1)
    cost = linear_cost(0.01, 0.0, 0.0, max_tokens=8192, max_seqs=1)
    prompts, outputs = np.full(50, 100), np.full(50, 20)
    measured, _, _ = completion_rate_rps(config, cost, prompts, outputs)
    assert measured == pytest.approx(1.0 / (20 * 0.01))
    assert capacity_rps(config, cost, prompts, outputs) == pytest.approx(measured)


def test_prompt_tokens_in_the_prefix_cache_are_not_computed():
    """Prompts of 4,000 tokens, 3,200 of them the same; the cache finds all of these but once."""
    count, shared = 600, 3200
    config = EngineConfig(
        num_gpu_blocks=60_000, max_model_len=8000, max_num_seqs=64, enable_prefix_caching=True
    )
    cost = linear_cost(0.005, 5e-5, 2e-9, max_tokens=8192, max_seqs=64)
    cost.prefill_s[3] = 4e-9  # so that attention between prompt tokens is half of a prompt
    prompts, outputs = np.full(count, 4000), np.full(count, 60)
    lists = [[(0, shared), (1 + i, 4000 - shared)] for i in range(count)]
    requests = new_requests(np.zeros(count), prompts, outputs)
    segments = PromptSegments.from_lists(lists, np.full((count, 2), -1))
    serve(config, cost, requests, segments=segments, check_integrity=False)
    assert requests["cached_tokens"].mean() > 0.98 * shared
    measured = count / requests["finish_s"].max()
    estimate = capacity_rps(config, cost, prompts, outputs, shared / 4000)
    assert estimate == pytest.approx(measured, rel=0.1)
    assert capacity_rps(config, cost, prompts, outputs) < 0.5 * measured


def test_more_of_anything_is_never_less():
    prompts, outputs = lengths(1, 6.0, 0.8, 8, 8000), lengths(2, 7.0, 0.8, 16, 8000)

    def rate_rps(**options):
        defaults = {"num_gpu_blocks": 4000, "max_num_seqs": 32}
        return capacity_rps(*engine(**(defaults | options)), prompts, outputs)

    by_seats = [rate_rps(max_num_seqs=seats) for seats in (1, 8, 32, 64, 512)]
    assert by_seats == sorted(by_seats)
    assert by_seats[0] < by_seats[1] < by_seats[2]
    assert by_seats[-1] == rate_rps(max_num_seqs=2048), "the KV cache holds no more"
    by_blocks = [rate_rps(num_gpu_blocks=blocks) for blocks in (2501, 4000, 30_000)]
    assert by_blocks == sorted(by_blocks)


def test_what_each_pools_caches_had():
    """Replicas 0 and 1 are one pool, 2 another; what nobody scheduled counts for neither."""
    requests = new_requests(np.zeros(5), 100, 1)
    requests["replica"] = [0, 2, -1, 1, 2]
    requests["cached_tokens"] = [50, 20, 99, 99, 40]
    requests["first_scheduled_s"] = [1.0, 1.0, np.nan, np.nan, 2.0]
    outcome = SimpleNamespace(
        requests=requests, pool_id=np.array([0, 0, 1, 2]), configs=(None, None, None)
    )
    assert found_in_caches(outcome) == [0.5, 0.3, 0.0]
