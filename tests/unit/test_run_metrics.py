"""Metrics of real runs: what must hold between them, whatever happened."""

import numpy as np
import pytest

from simulator.cluster.cluster import Cluster
from simulator.cluster.pool import PoolPlan
from simulator.cost.iteration_time import Work
from simulator.cost.terms import TermsBuilder
from simulator.engine.config import EngineConfig
from simulator.engine.request import new_requests
from simulator.labels import Labels, PoolLabel
from simulator.metrics.activity import pool_activity
from simulator.metrics.latency import query_table
from simulator.metrics.pool_costs import PoolCosts
from simulator.metrics.power import GpuPower
from simulator.metrics.recorder import record_run
from simulator.metrics.slowdown import slowdowns
from simulator.metrics.summary import summarise
from simulator.metrics.window import by_seconds
from simulator.routers.round_robin import RoundRobin
from simulator.testing import linear_cost

ROWS = 300
FAST = EngineConfig(num_gpu_blocks=900, max_model_len=1500, max_num_seqs=8)
TIGHT = EngineConfig(
    num_gpu_blocks=81, max_model_len=1200, max_num_seqs=4, max_num_batched_tokens=128
)


def pool_costs(config: EngineConfig, slower: float, energy_j: float | None) -> PoolCosts:
    budget, seats = config.max_num_batched_tokens, config.max_num_seqs
    cost = linear_cost(
        0.01 * slower, 1e-5 * slower, 1e-7 * slower, max_tokens=budget, max_seqs=seats
    )
    terms = TermsBuilder(budget, seats)
    tokens = np.arange(1.0, budget + 1.0)
    # 1 MB and 1 Mflop a token, at 10 GB/s and 100 Mflop/s
    work = Work(terms(token=1e6 * tokens), terms(token=1e6 * tokens), terms(token=0.01 * tokens))
    return PoolCosts(cost, work, budget, 2, 1e10, GpuPower(100.0, 1e9, energy_j, energy_j))


COSTS = (pool_costs(FAST, 1.0, 1e-6), pool_costs(TIGHT, 2.5, 1e-6))
PLANS = [PoolPlan("fast", FAST, COSTS[0].cost, 2), PoolPlan("tight", TIGHT, COSTS[1].cost, 1)]
ARRIVALS = np.cumsum(np.random.default_rng(4).exponential(0.12, ROWS))
WINDOW = by_seconds(ARRIVALS, 5.0, 20.0)


@pytest.fixture(scope="module")
def outcome():
    """Two pools, one of two fast replicas, one of a slow one that preempts."""
    rng = np.random.default_rng(5)
    requests = new_requests(
        ARRIVALS,
        rng.integers(1, 700, ROWS),
        rng.integers(1, 400, ROWS),
        thinking_tokens=5,
        measured=WINDOW.measured,
    )
    router = RoundRobin()
    cluster = Cluster(requests, router, PLANS, sample_interval_s=0.1, marks_s=WINDOW.marks_s)
    return cluster.run(window_end_s=WINDOW.end_s)


@pytest.fixture(scope="module", params=[1e-6, None])
def served(outcome, request):
    """The run's record and summary, two clients; what a FLOP takes may be unknown of one pool."""
    record = record_run(
        outcome,
        WINDOW,
        Labels(
            ("all",),
            client_names=("loud", "quiet", "silent"),
            client_id=(np.arange(ROWS) % 4 == 0).astype(np.int32),
        ),
        pools=[PoolLabel(plan.name, "model", "gpu", 2 * plan.num_replicas, 2.0) for plan in PLANS],
        capacity_rps=None,
        notes=[],
        seed=0,
        name="two pools",
        slo={},
        costs=(COSTS[0], pool_costs(TIGHT, 2.5, request.param)),
    )
    return record, summarise(record, query_table(record.requests))


def test_nobody_is_faster_than_alone(served):
    record, _ = served
    slow = slowdowns(record.requests)
    completed = (record.requests["status"] == "completed").to_numpy()
    assert not np.isnan(slow[completed]).any()
    assert record.requests["alone_s"].isna().to_numpy().tolist() == (~completed).tolist()
    assert 0 < completed.sum() < len(completed)
    assert (slow[completed] >= 1 - 1e-9).all()
    tight = completed & (record.requests["pool"] == "tight").to_numpy()
    assert slow[tight].mean() > 2 * slow[completed & ~tight].mean()


def test_alone_is_that_of_the_pool_that_served(served):
    """With linear costs: fixed a iteration, per token, per token of context."""
    record, _ = served
    row = record.requests[record.requests["pool"] == "tight"].iloc[0]
    prompt, output = int(row["prompt_tokens"]), int(row["generated_tokens"])
    chunks = [*range(128, prompt, 128), prompt]
    contexts = [*chunks, *range(prompt + 1, prompt + output)]
    fixed_s = 0.01 * (len(chunks) + output - 1)
    expected = 2.5 * (fixed_s + 1e-5 * (prompt + output - 1) + 1e-7 * sum(contexts))
    assert row["alone_s"] == pytest.approx(expected)


def test_the_tight_pool_preempts_and_that_is_waste(served):
    _, summary = served
    assert summary["num_preemptions"] > 0
    assert summary["recomputed_tokens"] > 0
    assert 0 < summary["wasted_tokens"] < summary["computed_tokens"]
    assert summary["wasted_tokens"] >= summary["recomputed_tokens"]
    assert summary["pools"]["fast"]["num_preemptions"] == 0


def test_first_come_first_served_overtakes_nobody(served):
    _, summary = served
    assert summary["overtaken_requests"] == 0
    assert summary["longest_overtaken_wait_s"] is None


def test_clients_without_requests_are_not_counted(served):
    _, summary = served
    assert summary["num_clients"] == 2
    # the loud one sends three in four
    assert 0.5 < summary["jain_service"] < 0.9
    assert summary["jain_mean_tta"] > 0.9


def test_pools_add_up(served):
    _, summary = served
    fast, tight = (summary["pools"][name] for name in ("fast", "tight"))
    assert summary["mbu"] == pytest.approx((4 * fast["mbu"] + 2 * tight["mbu"]) / 6)
    assert summary["mfu"] == pytest.approx((4 * fast["mfu"] + 2 * tight["mfu"]) / 6)
    assert summary["running_mean"] == pytest.approx(
        (2 * fast["running_mean"] + tight["running_mean"]) / 3
    )
    assert summary["running_peak"] == max(fast["running_peak"], tight["running_peak"])
    assert tight["running_peak"] <= 4
    assert tight["running_imbalance"] is None
    if tight["energy_kwh"] is None:
        assert summary["energy_kwh"] is None
        assert fast["energy_kwh"] > 0
    else:
        assert summary["energy_kwh"] == pytest.approx(fast["energy_kwh"] + tight["energy_kwh"])


def test_what_a_prefilled_token_stands_for_is_that_of_own_prompts(outcome, served):
    record, _ = served
    table = record.requests
    for index, pool in enumerate(record.pools):
        own = table[(table["pool"] == pool.name) & table["first_token_s"].between(5.0, 25.0)]
        activity = pool_activity(outcome, index, (5.0, 25.0), window_tokens=0, chunk_tokens=128)
        assert activity.prompts == pytest.approx(1 / own["prompt_tokens"].mean())
        assert activity.iterations.shape == (pool.replicas, 200)


def test_bytes_are_those_of_the_tokens_of_the_window(served):
    """1 MB a token on each GPU, decoded or prefilled; the rest of a pool's time it idles."""
    record, _ = served
    for index, (pool, gpus) in enumerate(zip(record.pools, (2, 2), strict=True)):
        assert pool.use.gpu_s == pytest.approx(20.0 * gpus * pool.replicas)
        assert pool.use.flops == pytest.approx(pool.use.bytes_moved)
        assert pool.use.compute_s == pytest.approx(pool.use.flops / 1e8)
        tokens = pool.use.bytes_moved / 1e6 / gpus
        own = record.requests[record.requests["pool"] == pool.name]
        inside = own["first_token_s"].between(5.0, 25.0)
        again = own["recomputed_tokens"].sum() if index else 0
        expected = own.loc[inside, "prompt_tokens"].sum() + pool.window_output_tokens
        assert 0.95 * expected < tokens < 1.05 * expected + again
        if pool.use.energy_j is not None:
            idle_j = 100.0 * pool.use.gpu_s
            assert pool.use.energy_j == pytest.approx(idle_j + 2e-6 * pool.use.bytes_moved)


def test_without_costs_what_follows_from_them_is_unknown():
    requests = new_requests(np.arange(20) * 0.5, [50] * 20, [40] * 20)
    cost = linear_cost(0.01, 1e-5, 1e-7, max_tokens=8192, max_seqs=8)
    window = by_seconds(requests["arrival_s"], 0.0, None)
    cluster = Cluster(
        requests,
        RoundRobin(),
        [PoolPlan("main", FAST, cost)],
        sample_interval_s=0.1,
        marks_s=window.marks_s,
    )
    record = record_run(
        cluster.run(),
        window,
        Labels(("all",)),
        pools=[PoolLabel("main", "model", "gpu", 1, 2.0)],
        capacity_rps=None,
        notes=[],
        seed=0,
        name="bare",
        slo={},
    )
    summary = summarise(record, query_table(record.requests))
    assert summary["mean_slowdown"] is None
    assert summary["mbu"] is None
    assert summary["pools"]["main"]["mfu"] is None
    assert summary["running_mean"] > 0
    assert summary["prefix_hit_ratio"] is None
