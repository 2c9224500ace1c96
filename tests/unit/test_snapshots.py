"""What routers are shown of replicas, against other ways to find it out."""

from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import ClassVar

import numpy as np
import pytest

from simulator.cluster import snapshots
from simulator.cluster.cluster import Cluster
from simulator.cluster.pool import PoolPlan
from simulator.engine.config import EngineConfig
from simulator.engine.request import COMPLETED, ON_GPU, WAITING, new_requests
from simulator.errors import IntegrityError
from simulator.facts import RequestFacts
from simulator.routers.base import Router, Snapshot
from simulator.schedulers.base import Action, Scheduler
from simulator.schedulers.fcfs import Fcfs
from simulator.testing import linear_cost
from tests.routers_support import Guess

REPLICAS = 3


@dataclass(eq=False, kw_only=True)
class Watching(Router):
    """Takes replicas in turn and keeps what it was shown."""

    seen: list[Snapshot] = field(default_factory=list, init=False)
    chosen: list[int] = field(default_factory=list, init=False)

    def choose(self, request: int, replicas: Snapshot) -> int:
        self.seen.append(replicas.only(np.arange(len(replicas))))
        self.chosen.append((request * request + request // 3) % len(replicas))
        return self.chosen[-1]


@dataclass(eq=False, kw_only=True)
class WatchingLeft(Watching):
    needs_predicted_left = True


def requests_of(seed: int, n: int = 150) -> np.ndarray:
    rng = np.random.default_rng(seed)
    arrival_s = np.cumsum(rng.exponential(0.15, n))
    arrival_s[::10] = arrival_s[1::10]  # some come together
    outputs = rng.integers(2, 200, n)
    return new_requests(np.sort(arrival_s), rng.integers(1, 300, n), outputs)


def facts_of(requests: np.ndarray, predicted: np.ndarray) -> RequestFacts:
    plain = RequestFacts.plain(requests["prompt_tokens"], requests["max_tokens"])
    return replace(plain, predictor=Guess(predicted))


COST = linear_cost(0.01, 1e-5, 1e-6, max_tokens=128, max_seqs=6)


def watch(seed=0, router=None, requests=None, tight=False, scheduler=Fcfs, cost=COST, **options):
    """A cluster that has run, with few blocks if `tight`, and the router that watched it."""
    requests = requests_of(seed) if requests is None else requests
    options = {"num_gpu_blocks": 66 if tight else 400, "block_size": 8} | options
    config = EngineConfig(
        max_model_len=510 if tight else 600, max_num_seqs=6, max_num_batched_tokens=128, **options
    )
    router = Watching() if router is None else router
    facts = facts_of(requests, requests["output_tokens"])
    cluster = Cluster(
        requests,
        router,
        [PoolPlan("pool", config, cost, REPLICAS, scheduler)],
        sample_interval_s=1e9,
        facts=facts,
        check_integrity=True,
    )
    cluster.run()
    return cluster, router


COLUMNS = [each.name for each in fields(Snapshot)]


def test_requests_are_where_their_times_say():
    table = requests_of(0)
    table["arrival_s"] *= 0.3
    _, router = watch(requests=table)
    assert (table["status"] == COMPLETED).all()
    assert table["preemptions"].sum() == 0
    for i, seen in enumerate(router.seen):
        assert seen.taken_s == table["arrival_s"][i]
        before = table[:i]
        for replica in range(REPLICAS):
            there = before[before["replica"] == replica]
            there = there[there["finish_s"] > seen.taken_s]
            started = there["first_scheduled_s"] < seen.taken_s  # what comes together, waits
            assert seen.outstanding[replica] == len(there)
            assert seen.num_running[replica] == started.sum()
            assert seen.num_waiting[replica] == (~started).sum()
            assert seen.waiting_tokens[replica] == there["prompt_tokens"][~started].sum()
    assert max(seen.num_waiting.max() for seen in router.seen) > 3


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("async_scheduling", [False, True])
@pytest.mark.parametrize("tight", [False, True])
def test_spans_and_single_iterations_look_the_same(seed, async_scheduling, tight):
    """Every column at every decision, though one engine runs many iterations at once."""
    options = {"async_scheduling": async_scheduling, "tight": tight}
    spans, one = watch(seed, WatchingLeft(), **options)
    _, other = watch(seed, WatchingLeft(), stepping="iteration", **options)
    for seen, expected in zip(one.seen, other.seen, strict=True):
        for name in COLUMNS:
            np.testing.assert_allclose(
                getattr(seen, name), getattr(expected, name), rtol=1e-9, err_msg=name
            )
    assert (spans.requests["preemptions"].sum() > 0) == tight


@pytest.mark.parametrize("async_scheduling", [False, True])
def test_arrivals_at_the_very_end_of_an_iteration_see_the_same_too(async_scheduling):
    """All iterations last 1/8 s and all arrivals are multiples of it."""
    seen = []
    for stepping in ("span", "iteration"):
        table = requests_of(8)
        table["arrival_s"] = np.floor(table["arrival_s"] * 8.0) / 2.0
        options = {"stepping": stepping, "async_scheduling": async_scheduling}
        cost = linear_cost(0.125, 0.0, 0.0, max_tokens=128, max_seqs=6)
        _, router = watch(0, WatchingLeft(), table, cost=cost, **options)
        seen.append(router.seen)
    for one, other in zip(*seen, strict=True):
        for name in COLUMNS:
            assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert max(one.num_running.max() for one in seen[0]) > 3


@pytest.mark.parametrize("delay_s", [0.0, 0.3])
@pytest.mark.parametrize("async_scheduling", [False, True])
def test_looking_where_something_changed_is_looking_everywhere(
    monkeypatch, delay_s, async_scheduling
):
    checked = 0
    take = snapshots.Snapshots.take

    def take_and_check(self, t_s):
        nonlocal checked
        take(self, t_s)
        counts, levels = np.full_like(self._counts, -1), np.full_like(self._levels, -np.inf)
        unseen = np.zeros_like(self._seen)
        unseen["now_s"] = -np.inf
        snapshots.look(self._states, self._phases, unseen, counts, levels, t_s)
        assert counts.tolist() == self._counts.tolist()
        used = snapshots.KV_USED_FRAC
        assert levels[used].tolist() == self._levels[used].tolist()
        checked += 1

    monkeypatch.setattr(snapshots.Snapshots, "take", take_and_check)
    watch(5, Watching(snapshot_delay_s=delay_s), async_scheduling=async_scheduling)
    assert checked > 40


@pytest.mark.parametrize("tight", [False, True])
def test_with_a_perfect_prediction_what_is_left_is_what_was_not_generated(monkeypatch, tight):
    """In iterations one by one, where the engine's count of tokens is up to date."""
    requests = requests_of(3)
    left, expected = [], []
    take = snapshots.Snapshots.take

    def take_and_count(self, t_s):
        take(self, t_s)
        left.append(self.view.predicted_left.copy())
        sent = np.bincount(
            requests["replica"][requests["replica"] >= 0],
            weights=requests["output_tokens"][requests["replica"] >= 0],
            minlength=REPLICAS,
        )
        expected.append(sent - self._states["output_tokens"])

    monkeypatch.setattr(snapshots.Snapshots, "take", take_and_count)
    watch(0, WatchingLeft(), requests, tight, stepping="iteration")
    np.testing.assert_array_equal(left, expected)
    assert np.max(left) > 500


def test_a_request_that_outlives_its_prediction_counts_one_token():
    requests = new_requests([0.0, 1.05, 2.05], 10, [1000, 10, 10])
    router = WatchingLeft()
    config = EngineConfig(num_gpu_blocks=200, max_model_len=1100, max_num_seqs=4)
    router.choose = lambda request, replicas: Watching.choose(router, 0, replicas)
    Cluster(
        requests,
        router,
        [PoolPlan("pool", config, linear_cost(0.1, 0.0, 0.0, max_tokens=8192, max_seqs=4), 2)],
        sample_interval_s=1e9,
        facts=facts_of(requests, np.array([30.0, 5.0, 10.0])),
    ).run()
    # One token every 0.1 s: 10 by 1.05 s; 20 of the first and 9 of the second by 2.05 s.
    assert [seen.predicted_left[0] for seen in router.seen] == [0.0, 20.0, 11.0]


@dataclass(eq=False)
class InTurns(Scheduler):
    """Whoever has 15 tokens more goes back to the queue, with its KV cache or without."""

    rank_changes: ClassVar[str] = "running"
    park: bool = True

    def rank(self, view, now_s):
        return view.generated_tokens

    def review_tokens(self, view, now_s):
        return 15

    def on_review(self, view, now_s):
        return Action.PARK if self.park else Action.RECOMPUTE


@pytest.mark.parametrize("async_scheduling", [False, True])
@pytest.mark.parametrize("scheduler", [Fcfs, InTurns, partial(InTurns, park=False)])
def test_waiting_tokens_are_those_of_the_queue_that_hold_no_block(
    monkeypatch, scheduler, async_scheduling
):
    table = requests_of(6)
    table["arrival_s"] *= 0.4
    parked = 0
    take = snapshots.Snapshots.take

    def take_and_count(self, t_s):
        nonlocal parked
        take(self, t_s)
        for replica in range(REPLICAS):
            there = table[(table["replica"] == replica) & (table["status"] == WAITING)]
            keeps = there["keeps"] == ON_GPU
            known = there["prompt_tokens"] + there["generated_tokens"]
            held = np.where(keeps, there["computed_tokens"], 0)
            assert self.view.waiting_tokens[replica] == (known - held).sum()
            assert self.view.num_waiting[replica] == len(there)
            parked += int(keeps.sum())

    monkeypatch.setattr(snapshots.Snapshots, "take", take_and_count)
    watch(0, None, table, tight=True, scheduler=scheduler, async_scheduling=async_scheduling)
    assert (table["status"] == COMPLETED).all()
    assert table["preemptions"].sum() > 5
    assert (parked > 5) == (scheduler is InTurns)


def test_without_predictions_nothing_is_known_to_be_left():
    _, router = watch()
    assert np.isnan(router.seen[-1].predicted_left).all()


def test_groups_of_layers_share_the_tokens_of_the_cache():
    groups = {"kv_groups_full": 2, "kv_groups_window": 2, "window_tokens": 64}
    _, router = watch(num_gpu_blocks=900, **groups)
    assert router.fleet.kv_capacity_tokens.tolist() == [899 // 4 * 8] * REPLICAS
    used = np.array([seen.kv_used_tokens for seen in router.seen])
    share = np.array([seen.kv_used_frac for seen in router.seen])
    np.testing.assert_array_equal(used, np.round(share * 899).astype(int) * 8 // 4)
    assert share.max() > 0.2


@pytest.mark.parametrize("name", ["index", "pool", "num_waiting", "kv_used_frac", "sent"])
def test_a_snapshot_cannot_be_written_to(name):
    writing = Watching()
    writing.choose = lambda request, replicas: getattr(replicas, name).__setitem__(0, 1)
    with pytest.raises(IntegrityError, match=r"router .* failed: ValueError.*read-only"):
        watch(router=writing)
