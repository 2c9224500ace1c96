"""What the cluster shows its router, when, and what becomes of the answer."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from simulator.cluster import snapshots
from simulator.cluster.cluster import Cluster
from simulator.cluster.pool import PoolPlan
from simulator.cluster.source import Source
from simulator.cluster.stepping import RunningAhead
from simulator.engine.clock import Clock
from simulator.engine.config import EngineConfig
from simulator.engine.replica import Replica
from simulator.engine.request import COMPLETED, REJECTED, new_requests
from simulator.errors import IntegrityError
from simulator.facts import RequestFacts
from simulator.prefix import PromptSegments
from simulator.routers.base import Router, Snapshot
from simulator.routers.least_outstanding import LeastOutstanding
from simulator.routers.round_robin import RoundRobin
from simulator.schedulers.priority import Priority
from simulator.testing import linear_cost
from tests.routers_support import Guess

COST = linear_cost(0.01, 1e-5, 1e-6, max_tokens=256, max_seqs=8)


def a_config(**options) -> EngineConfig:
    given = {"num_gpu_blocks": 500, "max_model_len": 2000, "max_num_seqs": 8} | options
    return EngineConfig(max_num_batched_tokens=256, **given)


def a_pool(replicas: int = 3, name: str = "pool", **options) -> PoolPlan:
    return PoolPlan(name, a_config(**options), COST, replicas)


def requests_of(n: int = 120, seed: int = 0, per_s: float = 8.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    arrival_s = np.cumsum(rng.exponential(1.0 / per_s, n))
    return new_requests(arrival_s, rng.integers(1, 400, n), rng.integers(1, 300, n))


def cluster_of(router, *pools, table=None, **options) -> Cluster:
    table = requests_of() if table is None else table
    return Cluster(table, router, pools or [a_pool()], sample_interval_s=1e9, **options)


def same_records(one: np.ndarray, other: np.ndarray) -> None:
    """Bit by bit, but for what lies between the fields, and where in memory arrays are."""
    for name in one.dtype.names:
        if name.endswith("_at"):
            continue
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


@dataclass(eq=False, kw_only=True)
class Watching(Router):
    """The most loaded first, to make a difference; keeps what it was shown."""

    seen: list[tuple[int, Snapshot]] = field(default_factory=list, init=False)

    def choose(self, request: int, replicas: Snapshot) -> int:
        self.seen.append((request, replicas.only(np.arange(len(replicas)))))
        return int((replicas.load % 5).argmax())


@dataclass(eq=False, kw_only=True)
class WatchingLeft(Watching):
    needs_predicted_left = True


@dataclass(eq=False, kw_only=True)
class Listening(LeastOutstanding):
    """As its parent, but told of completions."""

    heard: list[int] = field(default_factory=list, init=False)

    def on_finish(self, ids: list[int]) -> None:
        self.heard += ids


@pytest.mark.parametrize("delay_s", [0.0, 0.5, 1e9])
def test_a_snapshot_is_retaken_at_the_first_decision_so_long_after_the_last(delay_s):
    router = WatchingLeft(snapshot_delay_s=delay_s)
    table = requests_of()
    predicted = np.arange(len(table)) % 7 + 0.5
    facts = RequestFacts.plain(table["prompt_tokens"])
    facts = replace(facts, predictor=Guess(predicted))
    cluster_of(router, table=table, facts=facts).run()
    taken_s = -np.inf
    sent, tokens, outputs = np.zeros(3), np.zeros(3), np.zeros(3)
    for i, seen in router.seen:
        now_s = table["arrival_s"][i]
        if now_s - taken_s >= delay_s:
            taken_s, sent, tokens, outputs = now_s, np.zeros(3), np.zeros(3), np.zeros(3)
        assert seen.taken_s == taken_s
        assert seen.sent.tolist() == sent.tolist()
        assert seen.sent_tokens.tolist() == tokens.tolist()
        assert seen.sent_predicted.tolist() == outputs.tolist()
        sent[table["replica"][i]] += 1
        tokens[table["replica"][i]] += table["prompt_tokens"][i]
        outputs[table["replica"][i]] += predicted[i]
    assert len(router.seen) == len(table)


def test_a_router_that_looks_at_nothing_costs_no_snapshot(monkeypatch):
    def refuse(self, t_s):
        raise AssertionError("a snapshot was taken")

    monkeypatch.setattr(snapshots.Snapshots, "take", refuse)
    cluster = cluster_of(RoundRobin())
    cluster.run()
    assert cluster.requests["replica"].tolist() == [k % 3 for k in range(120)]
    with pytest.raises(AssertionError, match="a snapshot"):
        cluster_of(LeastOutstanding()).run()


def test_one_replica_needs_no_router():
    router = Watching()
    cluster = cluster_of(router, a_pool(1))
    cluster.run()
    assert router.seen == []
    assert (cluster.requests["status"] == COMPLETED).all()


SHORT, LONG = a_pool(2, "short", max_model_len=500), a_pool(1, "long", max_model_len=1500)
LENGTHS = {  # prompt, cap -> where it can go
    (100, 0): [0, 1, 2],
    (499, 0): [0, 1, 2],
    (500, 0): [2],
    (400, 100): [0, 1, 2],
    (400, 101): [2],
    (1499, 0): [2],
    (1500, 0): [0, 1, 2],  # nowhere: who refuses it is all the same
    (100, 1401): [0, 1, 2],
}


def test_a_request_goes_where_it_fits_unless_that_is_nowhere():
    prompt, cap = np.array(list(LENGTHS)).T
    table = new_requests(np.arange(len(prompt)) * 0.1, prompt, 5, max_tokens=cap)
    router = Watching()
    cluster = cluster_of(router, SHORT, LONG, table=table)
    cluster.run()
    assert [seen.index.tolist() for _, seen in router.seen] == list(LENGTHS.values())
    refused = [prompt + max(cap, 1) > 1500 for prompt, cap in LENGTHS]
    assert (table["status"] == REJECTED).tolist() == refused
    for (_, seen), replica in zip(router.seen, table["replica"], strict=True):
        assert seen.pool.tolist() == [[0, 0, 1][k] for k in seen.index]
        assert seen.seats.tolist() == [8] * len(seen)
        assert replica == -1 or replica in seen.index


def test_the_columns_of_the_rest_are_those_of_all():
    prompt = np.where(np.arange(40) % 4 == 3, 600, 90)
    table = new_requests(np.arange(40) * 0.2, prompt, 200)
    one, other = Watching(), Watching()
    cluster_of(one, SHORT, LONG, table=table).run()

    def choose(i: int, replicas: Snapshot) -> int:
        other.seen.append((i, replicas.only(np.arange(3))))
        return int(table["replica"][i])

    other.choose = choose
    cluster = cluster_of(other, SHORT, LONG, table=new_requests(table["arrival_s"], prompt, 200))
    cluster._dispatcher._restricted = None
    cluster.run()
    restricted = 0
    for (_, seen), (_, whole) in zip(one.seen, other.seen, strict=True):
        assert seen.outstanding.tolist() == whole.outstanding[seen.index].tolist()
        assert seen.kv_used_tokens.tolist() == whole.kv_used_tokens[seen.index].tolist()
        restricted += len(seen) < 3
    assert restricted == 10


@pytest.mark.parametrize("chosen", [3, -1])
def test_a_replica_that_is_not_there_is_an_error(chosen):
    router = Watching()
    router.choose = lambda request, replicas: chosen
    with pytest.raises(IntegrityError, match=f"Watching chose replica {chosen} of 3"):
        cluster_of(router).run()


def test_a_router_that_listens_hears_of_every_completion_once():
    router = Listening()
    cluster = cluster_of(router)
    cluster.run()
    assert sorted(router.heard) == list(range(120))
    heard_s = cluster.requests["finish_s"][router.heard]
    assert (np.diff(heard_s) >= 0).all()


@pytest.mark.parametrize("window_end_s", [np.inf, 6.0])
@pytest.mark.parametrize("async_scheduling", [False, True])
def test_running_ahead_together_changes_nothing(window_end_s, async_scheduling):
    """Replicas with events of their own, as they have where somebody listens, do the same."""
    pools = a_pool(2, num_gpu_blocks=130, async_scheduling=async_scheduling), a_pool(1, "other")
    ahead = cluster_of(LeastOutstanding(), *pools, check_integrity=True)
    single = cluster_of(Listening(), *pools, check_integrity=True)
    for cluster in (ahead, single):
        cluster.requests["measured"] = cluster.requests["arrival_s"] < window_end_s
    one, other = ahead.run(window_end_s=window_end_s), single.run(window_end_s=window_end_s)
    assert one.end_s == other.end_s
    same_records(one.requests, other.requests)
    same_records(one.states, other.states)
    assert one.itl.tobytes() == other.itl.tobytes()
    assert one.requests["preemptions"].sum() > 0
    # An event an arrival, before and after the window, or for each span.
    assert next(ahead.clock._eid) < (0.5 if window_end_s == np.inf else 1.0) * next(
        single.clock._eid
    )


def test_prefix_caches_grow_while_running_ahead():
    """An array of the replica is replaced then."""
    lists = [[(k % 7, 40), (100 + k % 60, 60), (1000 + k, 20)] for k in range(240)]
    segments = PromptSegments.from_lists(lists)
    pool = a_pool(2, num_gpu_blocks=900, enable_prefix_caching=True)
    outcomes = []
    for router in (LeastOutstanding(), Listening()):
        table = new_requests(np.arange(240) * 0.05, segments.prompt_tokens(), 50)
        cluster = cluster_of(router, pool, table=table, segments=segments, check_integrity=True)
        sizes = [len(replica.arrays.kv[0]) for replica in cluster.replicas]
        outcomes.append(cluster.run())
        assert all(
            len(replica.arrays.kv[0]) > size
            for replica, size in zip(cluster.replicas, sizes, strict=True)
        )
    one, other = outcomes
    same_records(one.requests, other.requests)
    same_records(one.states, other.states)
    assert one.states["prefix_hit_tokens"].min() > 1000


def test_schedulers_that_are_asked_run_ahead_too():
    table, other = requests_of(per_s=20.0), requests_of(per_s=20.0)
    facts = RequestFacts.plain(table["prompt_tokens"])
    facts = replace(facts, priority=np.arange(len(table)) % 5)
    for clock, requests in ((RunningAhead(), table), (Clock(), other)):
        config = a_config(num_gpu_blocks=80, max_model_len=1200, max_num_seqs=4)
        replica = Replica(clock, config, COST, requests, scheduler=Priority(), facts=facts)
        Source(clock, requests["arrival_s"], replica.offer)
        if isinstance(clock, RunningAhead):
            clock.hold([replica], replica.arrays.state, requests, check_integrity=True)
        clock.run()
    assert (table["status"] == COMPLETED).all()
    assert table["preemptions"].sum() > 0
    same_records(table, other)
    wait_s = table["first_scheduled_s"] - table["arrival_s"]
    assert wait_s[facts.priority == 0].mean() < 0.3 * wait_s[facts.priority == 4].mean()


def test_a_broken_invariant_is_reported_while_running_ahead():
    cluster = cluster_of(RoundRobin(), check_integrity=True)
    cluster.replicas[1].arrays.state["free_blocks"] -= 1
    with pytest.raises(IntegrityError, match="replica 1"):
        cluster.run()


def test_a_long_run_without_arrivals_comes_up_for_air(monkeypatch):
    from simulator.cluster import stepping

    monkeypatch.setattr(stepping, "_SPANS_PER_CALL", 7)
    table, other = requests_of(), requests_of()
    few = cluster_of(RoundRobin(), table=table)
    few.run()
    monkeypatch.undo()
    many = cluster_of(RoundRobin(), table=other)
    many.run()
    same_records(table, other)
    assert next(few.clock._eid) > next(many.clock._eid)
