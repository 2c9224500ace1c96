"""Several pools in one cluster: what their replicas are told, and what is counted of each."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from fake_record import fake_record

from simulator.capacity import closed_loop_rps, cluster_capacity_rps
from simulator.cluster.cluster import Cluster
from simulator.cluster.outcome import Outcome
from simulator.cluster.pool import PoolPlan
from simulator.engine.config import EngineConfig
from simulator.engine.request import REJECTED, new_requests
from simulator.expected_error import ExpectedError
from simulator.labels import Labels, PoolLabel
from simulator.metrics.capacity import capacity_rps
from simulator.metrics.latency import query_table
from simulator.metrics.load import pool_timeline
from simulator.metrics.record import RunRecord
from simulator.metrics.recorder import record_run, request_frame, timeline_frame
from simulator.metrics.saturation import saturation
from simulator.metrics.summary import summarise
from simulator.metrics.window import by_seconds
from simulator.routers.round_robin import RoundRobin
from simulator.testing import linear_cost
from workloads.batch import ClosedLoop, RequestBatch

SMALL = EngineConfig(num_gpu_blocks=101, max_model_len=900, max_num_seqs=4, async_scheduling=True)
LARGE = EngineConfig(num_gpu_blocks=2001, max_model_len=3000, max_num_seqs=32, block_size=32)
SLOW = linear_cost(0.02, 2e-5, 1e-7, max_tokens=8192, max_seqs=4)
FAST = linear_cost(0.005, 1e-5, 2e-8, max_tokens=8192, max_seqs=32)
SMALL_POOL, LARGE_POOL = PoolPlan("small", SMALL, SLOW, 1), PoolPlan("large", LARGE, FAST, 2)
LABELS = (
    PoolLabel("small", "llama-3.1-8b", "a100-sxm-80gb", 1, 1.5),
    PoolLabel("large", "r1-distill-llama-70b", "h100-sxm", 8, 3.0),
)
COUNT = 90
TIMES = ["first_scheduled_s", "first_token_s", "first_answer_s", "finish_s"]


def requests(rows: slice = slice(None)) -> np.ndarray:
    rng = np.random.default_rng(4)
    arrival_s = np.cumsum(rng.exponential(0.3, COUNT))
    prompt, output = rng.integers(10, 700, COUNT), rng.integers(1, 150, COUNT)
    columns = (arrival_s, prompt, output, output // 2)
    arrival_s, prompt, output, thinking = (column[rows] for column in columns)
    return new_requests(arrival_s, prompt, output, thinking_tokens=thinking, measured=True)


def run(*pools: PoolPlan, table: np.ndarray | None = None) -> Outcome:
    cluster = Cluster(
        requests() if table is None else table,
        RoundRobin(),
        pools,
        sample_interval_s=0.5,
        marks_s=(3.0, 20.0),
        check_integrity=True,
    )
    return cluster.run()


def recorded(outcome: Outcome) -> RunRecord:
    return record_run(
        outcome,
        by_seconds(outcome.requests["arrival_s"], 3.0, 17.0),
        Labels(("all",)),
        pools=LABELS,
        capacity_rps=None,
        notes=[],
        seed=0,
        name="two",
        slo={},
        expected_error=ExpectedError({"small": 0.02, "large": 0.05}),
    )


def summary_of(record: RunRecord) -> dict:
    return summarise(record, query_table(record.requests))


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    return run(SMALL_POOL, LARGE_POOL)


@pytest.fixture(scope="module")
def record(outcome: Outcome) -> RunRecord:
    return recorded(outcome)


def test_replicas_are_those_of_all_pools_pool_after_pool(outcome: Outcome) -> None:
    assert outcome.pool_names == ("small", "large")
    assert outcome.configs == (SMALL, LARGE)
    assert outcome.pool_id.tolist() == [0, 1, 1]
    assert outcome.states["usable_blocks"].tolist() == [100, 2000, 2000]
    assert outcome.states["seat_limit"].tolist() == [4, 32, 32]


@pytest.mark.parametrize("replica", [0, 1, 2])
def test_each_replica_serves_its_requests_as_if_it_were_alone(
    outcome: Outcome, replica: int
) -> None:
    plan = replace((SMALL_POOL, LARGE_POOL, LARGE_POOL)[replica], num_replicas=1)
    alone = run(plan, table=requests(slice(replica, None, 3))).requests
    together = outcome.requests[outcome.requests["replica"] == replica]
    assert len(together) == COUNT // 3
    for name in TIMES:
        np.testing.assert_allclose(together[name], alone[name], rtol=1e-9, err_msg=name)


def test_equal_pools_are_one_pool_but_for_their_names() -> None:
    one = run(PoolPlan("one", LARGE, FAST, 3))
    several = run(PoolPlan("a", LARGE, FAST, 1), PoolPlan("b", LARGE, FAST, 2))
    for name in one.requests.dtype.names or ():
        np.testing.assert_array_equal(several.requests[name], one.requests[name], err_msg=name)
    for name in one.states.dtype.names or ():
        if name.endswith("_at"):  # where in memory the arrays of a replica are
            continue
        np.testing.assert_array_equal(several.states[name], one.states[name], err_msg=name)
    np.testing.assert_array_equal(several.itl, one.itl)


def test_requests_and_samples_name_their_pool(outcome: Outcome) -> None:
    frame = request_frame(outcome, Labels(("all",)))
    assert frame["pool"].tolist() == ["small", "large", "large"] * (COUNT // 3)
    timeline = timeline_frame(outcome)
    by_replica = timeline.groupby("replica")["pool"].unique()
    assert [names.tolist() for names in by_replica] == [["small"], ["large"], ["large"]]


def test_kv_use_is_of_each_replicas_own_blocks(outcome: Outcome) -> None:
    timeline = timeline_frame(outcome)
    blocks = np.where(timeline["pool"] == "small", 100, 2000)
    np.testing.assert_array_equal(timeline["kv_used_frac"], timeline["kv_used_blocks"] / blocks)
    assert timeline.loc[timeline["pool"] == "small", "kv_used_frac"].max() > 0.5


def test_a_pool_records_what_its_replicas_did(outcome: Outcome, record: RunRecord) -> None:
    small, large = record.pools
    assert (small.replicas, large.replicas, record.replicas) == (1, 2, 3)
    assert (small.num_gpus, large.num_gpus, record.num_gpus) == (1, 8, 9)
    assert (small.kv_blocks, small.block_size) == (100, 16)
    assert (large.kv_blocks, large.block_size) == (2000, 32)
    peaks = outcome.states["peak_blocks"].tolist()
    assert [small.peak_kv_blocks, large.peak_kv_blocks] == [peaks[0], max(peaks[1:])]
    tokens = outcome.marks["output_tokens"]
    grown = (tokens[:, 1] - tokens[:, 0]).tolist()
    assert small.window_output_tokens == grown[0] > 0
    assert large.window_output_tokens == grown[1] + grown[2]
    assert record.window_output_tokens == sum(grown)


def test_the_summary_has_the_sum_and_each_pool(outcome: Outcome, record: RunRecord) -> None:
    summary = summary_of(record)
    small, large = summary["pools"]["small"], summary["pools"]["large"]
    hours = outcome.end_s / 3600
    assert (small["gpu_hours"], large["gpu_hours"]) == pytest.approx((hours, 8 * hours))
    assert (small["cost_usd"], large["cost_usd"]) == pytest.approx((1.5 * hours, 24 * hours))
    assert summary["gpu_hours"] == pytest.approx(9 * hours)
    assert summary["cost_usd"] == pytest.approx(25.5 * hours)
    assert summary["window_cost_usd"] == pytest.approx(25.5 * 17 / 3600)
    for key in ("completed", "output_throughput", "num_preemptions"):
        assert summary[key] == pytest.approx(small[key] + large[key])
        assert small[key] != large[key] or key == "num_preemptions"
    assert (small["model"], large["gpu"]) == ("llama-3.1-8b", "h100-sxm")
    assert (small["replicas"], large["replicas"], summary["replicas"]) == (1, 2, 3)


def test_kv_peaks_are_fractions_of_the_pools_own_cache(record: RunRecord) -> None:
    summary = summary_of(record)
    small, large = summary["pools"]["small"], summary["pools"]["large"]
    assert small["kv_usage_peak"] == record.pools[0].peak_kv_blocks / 100
    assert large["kv_usage_peak"] == record.pools[1].peak_kv_blocks / 2000
    assert summary["kv_usage_peak"] == small["kv_usage_peak"] > 3 * large["kv_usage_peak"]
    mean = (small["kv_usage_mean"] + 2 * large["kv_usage_mean"]) / 3  # one replica, one weight
    assert summary["kv_usage_mean"] == pytest.approx(mean)
    assert small["kv_usage_mean"] > 3 * large["kv_usage_mean"] > 0


def test_sizes_that_pools_do_not_share_are_not_one_number(record: RunRecord) -> None:
    summary = summary_of(record)
    assert summary["kv_blocks_per_replica"] is summary["kv_block_size"] is None
    assert summary["pools"]["large"]["kv_blocks_per_replica"] == 2000
    alike = recorded(run(PoolPlan("small", LARGE, FAST, 1), LARGE_POOL))
    assert summary_of(alike)["kv_blocks_per_replica"] == 2000
    assert summary_of(alike)["kv_block_size"] == 32


def test_the_worst_pool_stands_for_the_error_of_all(record: RunRecord) -> None:
    summary = summary_of(record)
    assert summary["expected_error"]["iteration_time_relative_sd"] == 0.05
    assert summary["pools"]["small"]["iteration_time_relative_sd"] == 0.02
    assert summary["pools"]["large"]["iteration_time_relative_sd"] == 0.05
    idle = ExpectedError({"small": 0.02, "large": None}).summary()
    assert idle["iteration_time_relative_sd"] == 0.02
    assert ExpectedError({"small": None}).summary()["iteration_time_relative_sd"] is None


def test_a_timeline_can_be_summed_whatever_its_pools(record: RunRecord) -> None:
    total = pool_timeline(record.timeline)
    assert "pool" not in total.columns
    one = record.timeline[record.timeline["t_s"] == total["t_s"][9]]
    assert total["running"][9] == one["running"].sum()
    assert total["kv_used_frac"][9] == pytest.approx(one["kv_used_frac"].mean())


def test_requests_that_no_pool_could_serve_are_refused_as_such() -> None:
    table = new_requests(np.arange(6) * 0.1, [900, 10, 2999, 3000, 10, 899], 5)
    outcome = run(SMALL_POOL, LARGE_POOL, table=table)
    assert outcome.refused == {
        3: "prompt leaves no room for a token below max_model_len of every pool",
    }
    frame = request_frame(outcome, Labels(("all",)))
    assert frame["pool"].isna().tolist() == [False, False, False, True, False, False]
    assert frame["pool"][[0, 2]].tolist() == ["large", "large"]


def test_a_cap_that_no_pool_allows_is_refused_as_such() -> None:
    table = new_requests([0.0, 0.1], [100, 100], 5, max_tokens=[2901, 2900])
    outcome = run(LARGE_POOL, SMALL_POOL, table=table)
    assert outcome.refused == {0: "prompt + max_tokens exceeds max_model_len of every pool"}


def test_one_pool_refuses_in_the_words_it_always_had() -> None:
    table = new_requests([0.0, 0.1], [3000, 10], 5)
    outcome = run(LARGE_POOL, table=table)
    assert outcome.refused == {0: "prompt leaves no room for a token below max_model_len"}


def test_what_a_plan_fits_is_what_its_replica_accepts() -> None:
    rng = np.random.default_rng(2)
    prompt, cap = rng.integers(1, 1800, 400), rng.integers(0, 2, 400) * rng.integers(1, 900, 400)
    prompt[:4], cap[:4] = (899, 900, 899, 1), (0, 0, 1, 899)
    table = new_requests(np.arange(400.0), prompt, 1, max_tokens=cap)
    served = run(SMALL_POOL, table=table).requests["status"] != REJECTED
    np.testing.assert_array_equal(SMALL_POOL.fits(prompt, cap), served)
    assert 50 < served.sum() < 350


def batch(prompt: list[int], clients: int = 0, pause_s: float = 0.0) -> RequestBatch:
    n = len(prompt)
    loop = ClosedLoop(clients, np.full(n, pause_s)) if clients else None
    return RequestBatch(
        arrival_s=np.zeros(n) if clients else np.arange(n, dtype=float),
        prompt_tokens=np.array(prompt),
        thinking_tokens=np.full(n, 60),
        answer_tokens=np.full(n, 40),
        max_tokens=np.zeros(n, dtype=np.int64),
        class_id=np.zeros(n, dtype=np.int32),
        closed_loop=loop,
    )


def test_the_capacity_is_the_sum_of_what_each_pool_could_do_of_what_it_takes() -> None:
    prompts = [100, 300, 1200]  # the last is too long for the small pool
    small = capacity_rps(SMALL, SLOW, np.array(prompts[:2]), np.full(2, 100))
    large = capacity_rps(LARGE, FAST, np.array(prompts), np.full(3, 100))
    both = cluster_capacity_rps([SMALL_POOL, LARGE_POOL], batch(prompts))
    assert both == pytest.approx(small + 2 * large)
    assert cluster_capacity_rps([LARGE_POOL], batch(prompts)) == pytest.approx(2 * large)
    only_large = cluster_capacity_rps([SMALL_POOL, LARGE_POOL], batch([1200, 2000]))
    assert only_large == pytest.approx(
        cluster_capacity_rps([LARGE_POOL], batch([1200, 2000])), rel=1e-12
    )
    assert cluster_capacity_rps([SMALL_POOL, LARGE_POOL], batch([5000])) is None


def test_clients_get_no_more_answers_than_pools_give_to_all_of_them() -> None:
    sample = batch([100, 300], clients=6)
    each = [closed_loop_rps([pool], sample) for pool in (SMALL_POOL, LARGE_POOL)]
    assert closed_loop_rps([SMALL_POOL, LARGE_POOL], sample) == pytest.approx(sum(each))
    # Six clients on two replicas are three seats each, whatever the engine would allow.
    three = replace(LARGE, max_num_active_seqs=3)
    assert each[1] == pytest.approx(
        2 * capacity_rps(three, FAST, sample.prompt_tokens, np.full(2, 100))
    )
    slow = batch([100, 300], clients=6, pause_s=100.0)
    assert closed_loop_rps([SMALL_POOL, LARGE_POOL], slow) == pytest.approx(0.06)


def split(record: RunRecord, last_replicas: int) -> RunRecord:
    """The record as if its last replicas were a pool of their own, "b"."""
    first = record.pools[0].replicas - last_replicas

    def named(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(pool=np.where(frame["replica"] < first, "a", "b"))

    pools = tuple(
        replace(record.pools[0], name=name, replicas=count)
        for name, count in (("a", first), ("b", last_replicas))
    )
    requests, timeline = named(record.requests), named(record.timeline)
    return replace(record, pools=pools, requests=requests, timeline=timeline)


def drowned(record: RunRecord, pool: str, requests: float) -> RunRecord:
    """The record with a queue at `pool` that grows by so many requests in all."""
    timeline = record.timeline.copy()
    chosen = (timeline["pool"] == pool).to_numpy() & (timeline["replica"] == record.replicas - 1)
    share = timeline.loc[chosen, "t_s"] / record.end_s
    timeline.loc[chosen, "waiting"] += (requests * share).round().astype(np.int64)
    return replace(record, timeline=timeline)


def test_a_pool_that_drowns_is_named_though_the_others_have_room() -> None:
    calm = split(fake_record(2_000, load=0.5, replicas=20), 1)
    assert saturation(calm).verdict == "OK"
    wet = drowned(calm, "b", 30)  # 1.5 % of all requests, 30 % of those it got
    judged = saturation(wet)
    assert judged.verdict == "OVERLOADED"
    assert judged.reason.startswith(
        "the queue of pool b grew by 28 requests through the window, 28"
    )
    one = replace(wet, pools=(replace(wet.pools[0], replicas=20),))
    assert saturation(one).verdict == "OK", "as one pool it would not show"


def test_a_pool_with_few_requests_is_not_judged_by_itself() -> None:
    calm = split(fake_record(800, load=0.5, replicas=20), 1)
    assert (calm.requests["pool"] == "b").sum() == 40
    assert saturation(drowned(calm, "b", 15)).verdict == "OK"


def test_the_pool_whose_queue_grew_most_is_named() -> None:
    calm = split(fake_record(2_000, load=0.5, replicas=4), 2)
    timeline = calm.timeline.copy()
    share = timeline["t_s"] / calm.end_s
    grown = np.where(timeline["pool"] == "a", 100, 60)
    timeline["waiting"] += (share * grown / 2).round().astype(np.int64)
    assert "pool a grew by" in saturation(replace(calm, timeline=timeline)).reason


@pytest.mark.parametrize("seed", [14, 50])
def test_looking_at_many_pools_finds_no_more_by_chance(seed: int) -> None:
    """In these runs one of twelve queues grew as only one in a hundred does by chance."""
    record = fake_record(2_400, load=0.97, replicas=12, seats=60, seed=seed)
    names = np.array([f"p{replica}" for replica in range(12)])
    requests, timeline = (
        frame.assign(pool=names[frame["replica"]]) for frame in (record.requests, record.timeline)
    )
    pools = tuple(replace(record.pools[0], name=name, replicas=1) for name in names)
    every = replace(record, pools=pools, requests=requests, timeline=timeline)
    assert saturation(every).reason == saturation(record).reason


def test_several_pools_are_a_cluster_in_words() -> None:
    calm = fake_record(1_000, load=0.5, closed_loop=True)
    assert saturation(calm).reason.endswith("cannot overload the pool.")
    assert saturation(split(calm, 1)).reason.endswith("cannot overload the cluster.")
