"""Each router's rule, on snapshots made by hand."""

import numpy as np
import pytest

from simulator.difficulty import NoisyClassifier
from simulator.errors import InputError
from simulator.routers.difficulty import Difficulty
from simulator.routers.kv_cost import KvCost, softmax_choice
from simulator.routers.least_kv_tokens import LeastKvTokens
from simulator.routers.least_outstanding import LeastOutstanding
from simulator.routers.power_of_two import PowerOfTwo, distinct
from simulator.routers.predicted_remaining import PredictedRemaining
from simulator.routers.prefix_affinity import PrefixAffinity
from simulator.routers.random import Random
from simulator.routers.round_robin import RoundRobin
from simulator.routers.session_affinity import SessionAffinity
from simulator.routers.short_long import ShortLong
from simulator.routers.spillover import Spillover
from simulator.routers.vllm_dp import VllmDp
from simulator.routers.weighted_scorers import WeightedScorers
from tests.routers_support import Guess, a_fleet, a_snapshot, prompts, some_facts, started

FOUR = a_fleet(4)
IDLE = a_snapshot(FOUR)


def every(router, replicas, requests=range(20)):
    return [router.choose(i, replicas) for i in requests]


def test_round_robin_takes_replicas_in_turn_whatever_the_request():
    router = started(RoundRobin())
    assert every(router, IDLE, (17, 4, 4, 9, 3, 0)) == [0, 1, 2, 3, 0, 1]


def test_round_robin_starts_anew_with_each_run():
    router = started(RoundRobin())
    router.choose(0, IDLE)
    assert started(router).choose(0, IDLE) == 0


def test_random_is_even_and_ignores_loads():
    n = 8000
    router = started(Random(), facts=some_facts(n))
    counts = np.bincount(every(router, a_snapshot(FOUR, num_running=[9, 0, 0, 0]), range(n)))
    assert abs(counts - n / 4).max() < 4.0 * np.sqrt(n * 3 / 16)


def test_random_belongs_to_the_request_not_to_the_order_of_decisions():
    one, other = started(Random()), started(Random())
    assert every(one, IDLE) == every(other, IDLE, reversed(range(20)))[::-1]
    assert every(started(Random(), seed=1), IDLE) != every(one, IDLE)


def test_every_request_has_as_much_luck_as_is_asked_for():
    drawn = started(Random(), facts=some_facts(5000)).draws("any", 6)
    assert drawn.shape == (5000, 6)
    np.testing.assert_allclose(np.corrcoef(drawn.T), np.eye(6), atol=0.06)
    np.testing.assert_allclose(drawn.mean(axis=0), 0.5, atol=0.02)


def test_luck_moves_with_the_request():
    order = np.random.default_rng(0).permutation(20)
    moved = started(Random(), facts=some_facts(20, origin=order))
    assert every(moved, IDLE) == [every(started(Random()), IDLE)[k] for k in order]


def test_least_outstanding_counts_waiting_running_and_sent():
    router = started(LeastOutstanding())
    seen = a_snapshot(FOUR, num_waiting=[3, 0, 0, 1], num_running=[0, 3, 1, 1], sent=[0, 0, 2, 0])
    assert router.choose(0, seen) == 3
    assert router.choose(0, IDLE) == 0


def test_least_kv_tokens_weighs_tokens_not_requests():
    router = started(LeastKvTokens())
    seen = a_snapshot(
        FOUR,
        num_running=[1, 9, 1, 1],
        kv_used_tokens=[5000, 900, 500, 500],
        waiting_tokens=[0, 0, 500, 0],
        sent_tokens=[0, 0, 0, 500],
    )
    assert router.choose(0, seen) == 1


def test_power_of_two_takes_the_better_of_two_different_ones():
    n = 20_000
    router = started(PowerOfTwo(), facts=some_facts(n))
    counts = np.bincount(every(router, a_snapshot(FOUR, num_running=[0, 1, 2, 3]), range(n)))
    # Of the 6 pairs, 3 hold the first, 2 of the others the second, 1 the third.
    expected = n * np.array([3, 2, 1]) / 6
    assert len(counts) == 3
    assert (abs(counts - expected) < 4.0 * np.sqrt(n / 4)).all()


def test_power_of_as_many_as_there_are_is_the_least_loaded():
    router = started(PowerOfTwo(choices=7))
    seen = a_snapshot(FOUR, num_running=[3, 1, 2, 1], sent=[0, 1, 0, 0])
    assert set(every(router, seen)) == {3}


@pytest.mark.parametrize(("count", "among"), [(1, 5), (2, 5), (3, 3), (6, 4)])
def test_distinct_numbers_are_distinct_and_each_order_is_as_likely(count, among):
    rng = np.random.default_rng(count)
    drawn = [tuple(distinct(rng.random(count).tolist(), among)) for _ in range(6000)]
    assert all(len(set(one)) == min(count, among) for one in drawn)
    seen, counts = np.unique(drawn, axis=0, return_counts=True)
    assert seen.min() == 0
    assert seen.max() == among - 1
    expected = len(drawn) / len(counts)
    assert (abs(counts - expected) < 5.0 * np.sqrt(expected)).all()
    orders = np.prod(np.arange(among, among - min(count, among), -1))
    assert len(counts) == orders


def test_a_session_stays_where_it_is_and_sessions_spread():
    n = 4000
    sessions = np.arange(n) // 4
    router = started(SessionAffinity(), facts=some_facts(n, session_id=sessions))
    chosen = np.array(every(router, IDLE, range(n)))
    assert (chosen == chosen[::4].repeat(4)).all()
    assert np.bincount(chosen, minlength=4).min() > 0.15 * n


def test_only_the_sessions_of_a_replica_that_is_missing_move():
    n = 400
    router = started(SessionAffinity(), facts=some_facts(n, session_id=np.arange(n)))
    before = np.array(every(router, IDLE, range(n)))
    without_two = IDLE.only(np.array([0, 1, 3]))
    after = np.array([without_two.index[router.choose(i, without_two)] for i in range(n)])
    assert (after[before != 2] == before[before != 2]).all()
    assert len(set(after[before == 2])) == 3
    for i in np.flatnonzero(before == 2):
        around = np.roll(router._owner, -router._place[i])
        assert after[i] == around[around != 2][0]


def test_a_session_keeps_its_replica_when_the_fleet_grows_but_for_the_share_of_the_new_one():
    n = 4000
    facts = some_facts(n, session_id=np.arange(n))
    five = a_fleet(5)
    before = np.array(every(started(SessionAffinity(), facts=facts), IDLE, range(n)))
    larger = started(SessionAffinity(), five, facts)
    after = np.array(every(larger, a_snapshot(five), range(n)))
    assert set(after[after != before]) == {4}
    assert 0.1 < (after != before).mean() < 0.3


def test_requests_outside_of_sessions_go_where_least_is_to_do():
    router = started(SessionAffinity(), facts=some_facts(2, session_id=[-1, 5]))
    assert router.choose(0, a_snapshot(FOUR, num_running=[2, 1, 0, 1])) == 2


# ---- prefix_affinity

SYSTEM = (1, 400)


def test_prefix_affinity_goes_where_enough_of_the_prompt_has_been():
    longer = [[(7, 3000)], [(7, 3000), (9, 7000)], [(7, 3000), (9, 6999)]]
    facts = some_facts(5, **prompts([(7, 1000)], [(8, 1000)], *longer))
    router = started(PrefixAffinity(), facts=facts)
    assert router.choose(0, IDLE) == 0  # all trees are empty
    assert router.choose(1, IDLE) == 1  # the smallest tree
    assert router.choose(2, IDLE) == 0  # 1000 of 3000 were there
    assert router.choose(3, IDLE) == 2  # 3000 of 10,000 are no more than 0.3
    assert router.choose(4, IDLE) == 2  # all but its end has just been there


def test_prefix_affinity_balances_when_both_thresholds_are_passed():
    facts = some_facts(6, **prompts(*[[SYSTEM]] * 6))
    router = started(PrefixAffinity(), facts=facts)
    assert router.choose(0, IDLE) == 0
    apart = a_snapshot(FOUR, num_running=[100, 50, 36, 40])
    assert router.choose(1, apart) == 0  # 64 apart is not more than 64
    apart = a_snapshot(FOUR, num_running=[101, 50, 36, 40])
    assert router.choose(2, apart) == 2
    high = a_snapshot(FOUR, num_running=[300, 210, 205, 200])
    assert router.choose(3, high) == 0  # 100 apart, but only 1.5 times
    high = a_snapshot(FOUR, num_running=[301, 210, 205, 200])
    assert router.choose(4, high) == 3


def test_prefix_affinity_remembers_what_it_sent_to_balance():
    facts = some_facts(3, **prompts([(5, 100)], [(5, 100)], [(5, 100)]))
    router = started(PrefixAffinity(), facts=facts)
    assert router.choose(0, a_snapshot(FOUR, num_running=[200, 200, 0, 200])) == 2
    assert router.choose(1, IDLE) == 2


# ---- kv_cost


def test_kv_cost_trades_cached_prompt_blocks_for_blocks_in_use():
    facts = some_facts(4, **prompts(*[[(3, 320)]] * 4))
    router = started(KvCost(), facts=facts)
    assert router.choose(0, IDLE) == 0
    assert router.choose(1, a_snapshot(FOUR, kv_used_tokens=[319, 0, 0, 0])) == 0  # 20 cached
    assert router.choose(2, a_snapshot(FOUR, kv_used_tokens=[321, 0, 0, 0])) == 1
    light = started(KvCost(prefill_weight=0.5), facts=facts)
    light.choose(0, IDLE)
    assert light.choose(1, a_snapshot(FOUR, kv_used_tokens=[161, 0, 0, 0])) == 1


def test_kv_cost_counts_whole_blocks_and_prompts_that_wait():
    facts = some_facts(2, **prompts([(3, 31)], [(3, 31)]))
    router = started(KvCost(), facts=facts)
    router.choose(0, IDLE)
    assert router.choose(1, a_snapshot(FOUR, waiting_tokens=[17, 0, 0, 0])) == 1
    router = started(KvCost(), facts=facts)
    router.choose(0, IDLE)
    assert router.choose(1, a_snapshot(FOUR, waiting_tokens=[9, 0, 0, 0], sent_tokens=6)) == 0


def test_kv_cost_forgets_what_the_cache_cannot_hold():
    fleet = a_fleet(2, kv_capacity_tokens=1000)
    facts = some_facts(3, **prompts([(1, 800)], [(2, 800)], [(1, 800)]))
    router = started(KvCost(), fleet, facts)
    busy = a_snapshot(fleet, kv_used_tokens=[0, 5000])
    assert [router.choose(i, busy) for i in (0, 1)] == [0, 0]  # the second pushes the first out
    assert router.choose(2, a_snapshot(fleet, kv_used_tokens=[16, 0])) == 1


def test_softmax_goes_by_the_distance_from_the_best_as_a_share_of_the_range():
    scores = np.array([0.0, -5.0, -10.0])
    u = (np.arange(30_000) + 0.5) / 30_000
    counts = np.bincount([softmax_choice(scores, 0.5, x) for x in u], minlength=3)
    expected = np.exp([0.0, -1.0, -2.0])
    np.testing.assert_allclose(counts / len(u), expected / expected.sum(), atol=1e-4)
    assert [softmax_choice(np.zeros(4), 0.5, x) for x in (0.1, 0.3, 0.6, 0.9)] == [0, 1, 2, 3]


def test_temperature_spreads_what_would_all_go_to_the_first():
    facts = some_facts(400)
    warm = started(KvCost(temperature=0.5), facts=facts)
    counts = np.bincount(every(warm, IDLE, range(400)), minlength=4)
    assert counts.min() > 60


# ---- weighted_scorers


def test_scores_are_weighted_and_scaled_between_the_fewest_and_the_most():
    fleet = a_fleet(3)
    facts = some_facts(1)
    seen = a_snapshot(fleet, num_waiting=[4, 2, 0], kv_used_frac=[0.0, 0.2, 0.95])
    # queue: 0, 1/2, 1; kv: 1, 0.8, 0.05
    assert started(WeightedScorers(), fleet, facts).choose(0, seen) == 1
    assert started(WeightedScorers(kv_weight=0.5), fleet, facts).choose(0, seen) == 2
    assert started(WeightedScorers(queue_weight=0.3), fleet, facts).choose(0, seen) == 0
    running = a_snapshot(fleet, num_running=[0, 2, 9], kv_used_frac=[0.5, 0.5, 0.4])
    assert started(WeightedScorers(), fleet, facts).choose(0, running) == 2
    assert started(WeightedScorers(running_weight=1.0), fleet, facts).choose(0, running) == 0


def test_a_cached_prefix_outweighs_a_queue():
    facts = some_facts(3, **prompts([(3, 160)], [(3, 160)], [(3, 160), (4, 160)]))
    router = started(WeightedScorers(), facts=facts)
    alone = a_snapshot(FOUR, kv_used_frac=[0.5, 0.5, 0.4, 0.5])
    assert router.choose(0, alone) == 2
    queued = a_snapshot(FOUR, num_waiting=[0, 0, 5, 0], kv_used_frac=0.5)
    assert router.choose(1, queued) == 2  # 3 for the prefix, 2 for the queue
    assert router.choose(2, queued) != 2  # half the prefix is 1.5


def test_equal_scores_are_drawn_from():
    router = started(WeightedScorers(), facts=some_facts(400))
    counts = np.bincount(every(router, IDLE, range(400)), minlength=4)
    assert counts.min() > 60


# ---- vllm_dp


def test_vllm_dp_penalises_queues_where_the_cache_is_more_than_half_full():
    router = started(VllmDp())
    seen = a_snapshot(FOUR, num_waiting=[4, 4, 0, 0], num_running=[0, 0, 15, 17])
    assert router.choose(0, seen) == 0
    full = a_snapshot(
        FOUR, num_waiting=[4, 4, 0, 0], num_running=[0, 0, 15, 17], kv_used_frac=[1.0, 0.9, 1, 1]
    )
    assert router.choose(1, full) == 1  # 4 + 24 * 0.4 < 15
    half = a_snapshot(FOUR, num_waiting=4, num_running=[1, 1, 1, 0], kv_used_frac=[0, 0, 0.4, 0.55])
    assert router.choose(2, half) == 2  # 5, 5, 5 and 5.2, the search beginning at the third


def test_vllm_dp_counts_what_it_sent_as_waiting_and_rotates_among_equals():
    router = started(VllmDp())
    assert every(router, IDLE, range(5)) == [0, 1, 2, 3, 0]
    assert router.choose(0, a_snapshot(FOUR, sent=[1, 0, 1, 1])) == 1
    sent = a_snapshot(FOUR, sent=[2, 0, 0, 0], num_running=[0, 4, 9, 9], kv_used_frac=1.0)
    assert router.choose(0, sent) == 1  # 2 + 6 * 2 * 0.5 = 8 > 4
    assert VllmDp().snapshot_delay_s == 0.1


# ---- by prediction, difficulty and pool


def test_predicted_remaining_adds_what_was_sent():
    router = started(PredictedRemaining())
    seen = a_snapshot(FOUR, predicted_left=[500, 90, 100, 800], sent_predicted=[0, 50, 0, 0])
    assert router.choose(0, seen) == 2


TWO_POOLS = a_fleet({"standard": 3, "reasoning": 2})


def test_short_and_long_requests_get_parts_of_their_own():
    facts = some_facts(3, predictor=Guess([100.0, 4095.0, 4096.0]))
    router = started(ShortLong(), facts=facts)
    seen = a_snapshot(FOUR, num_running=[1, 0, 1, 0])
    assert every(router, seen, range(3)) == [1, 1, 3]
    router = started(ShortLong(long_share=0.7), facts=facts)
    assert every(router, a_snapshot(FOUR, num_running=[5, 0, 0, 0]), range(3)) == [0, 0, 1]
    router = started(ShortLong(long_share=0.99), facts=facts)
    assert every(router, a_snapshot(FOUR, num_running=[5, 0, 0, 0]), (0, 2)) == [0, 1]


def test_short_and_long_pools_are_found_by_name():
    facts = some_facts(2, predictor=Guess([9.0, 9000.0]))
    router = ShortLong(short_pool="reasoning", long_pool="standard")
    assert every(started(router, TWO_POOLS, facts), a_snapshot(TWO_POOLS), range(2)) == [3, 0]


def test_one_replica_serves_short_and_long():
    one = a_fleet(1)
    router = started(ShortLong(), one, some_facts(2, predictor=Guess([9.0, 9000.0])))
    assert every(router, a_snapshot(one), range(2)) == [0, 0]


def labels(n, hard, **errors):
    given = {"hard_above": 0.5, "easy_called_hard": 0.0, "hard_called_easy": 0.0} | errors
    return NoisyClassifier(np.where(hard, 0.9, 0.1)).says_hard(3, **given)


def test_the_classifier_errs_as_often_as_is_said_and_on_the_same_requests():
    n = 20_000
    hard = np.arange(n) % 2 == 1
    assert (labels(n, hard) == hard).all()
    noisy = labels(n, hard, easy_called_hard=0.1, hard_called_easy=0.3)
    assert noisy[~hard].mean() == pytest.approx(0.1, abs=0.01)
    assert noisy[hard].mean() == pytest.approx(0.7, abs=0.015)
    better = labels(n, hard, easy_called_hard=0.05, hard_called_easy=0.2)
    assert not ((better != hard) & (noisy == hard)).any()


def test_the_classifier_takes_what_it_does_not_know_for_easy():
    unknown = NoisyClassifier(np.array([np.nan, 0.5, 0.51]))
    told = unknown.says_hard(0, hard_above=0.5, easy_called_hard=0.0, hard_called_easy=0.0)
    assert told.tolist() == [False, False, True]


def test_labels_move_with_the_request():
    order = np.random.default_rng(0).permutation(50)
    errors = {"hard_above": 0.5, "easy_called_hard": 0.5, "hard_called_easy": 0.5}
    there = NoisyClassifier(np.zeros(50)).says_hard(1, **errors)
    moved = NoisyClassifier(np.zeros(50), order).says_hard(1, **errors)
    assert (moved == there[order]).all()


def test_hard_queries_get_the_pool_for_them():
    facts = some_facts(3, classifier=NoisyClassifier(np.array([0.2, 0.8, 0.6])))
    sure = {"easy_called_hard": 0.0, "hard_called_easy": 0.0}
    seen = a_snapshot(TWO_POOLS, num_running=[1, 1, 0, 1, 0])
    assert every(started(Difficulty(**sure), TWO_POOLS, facts), seen, range(3)) == [2, 4, 4]
    router = Difficulty(hard_above=0.7, easy_pool="reasoning", hard_pool="standard", **sure)
    assert every(started(router, TWO_POOLS, facts), seen, range(3)) == [4, 2, 4]
    misled = Difficulty(easy_called_hard=0.0, hard_called_easy=1.0)
    assert every(started(misled, TWO_POOLS, facts), seen, range(3)) == [2, 2, 2]


def test_a_pool_that_cannot_take_a_request_leaves_it_to_the_others():
    facts = some_facts(1, classifier=NoisyClassifier(np.array([0.9])))
    router = started(Difficulty(hard_called_easy=0.0), TWO_POOLS, facts)
    short = a_snapshot(TWO_POOLS, num_running=[1, 0, 1, 0, 0]).only(np.array([0, 1, 2]))
    assert router.choose(0, short) == 1


def test_spillover_fills_one_pool_after_the_other():
    router = started(Spillover(threshold=0.5), TWO_POOLS)
    assert router.choose(0, a_snapshot(TWO_POOLS, num_running=[4, 4, 3, 0, 0])) == 2
    assert router.choose(0, a_snapshot(TWO_POOLS, num_running=[4, 4, 4, 1, 0])) == 4
    assert router.choose(0, a_snapshot(TWO_POOLS, num_running=[4, 5, 4, 4, 5])) == 0  # less there
    turned = started(Spillover(order=("reasoning", "standard"), threshold=0.5), TWO_POOLS)
    assert turned.choose(0, a_snapshot(TWO_POOLS, num_running=[0, 0, 0, 4, 3])) == 4
    assert turned.choose(0, a_snapshot(TWO_POOLS, num_running=[1, 0, 0, 4, 4])) == 1


def test_spillover_by_kv_cache_and_to_named_pools_only():
    by_kv = started(Spillover(threshold=0.9, measure="kv"), TWO_POOLS)
    seen = a_snapshot(TWO_POOLS, kv_used_tokens=[14_500, 14_500, 14_500, 0, 0], num_running=1)
    assert by_kv.choose(0, seen) == 3
    assert by_kv.choose(0, a_snapshot(TWO_POOLS, kv_used_tokens=14_000, num_running=1)) == 0
    only = started(Spillover(order=("reasoning",)), TWO_POOLS)
    assert only.choose(0, a_snapshot(TWO_POOLS, num_running=[0, 0, 0, 8, 8])) == 3


def test_unknown_pools_are_told_all_at_once():
    with pytest.raises(InputError) as caught:
        started(Difficulty(easy_pool="a", hard_pool="b"), TWO_POOLS)
    assert [problem.field for problem in caught.value.problems] == [
        "router.easy_pool",
        "router.hard_pool",
    ]
    assert "standard, reasoning" in caught.value.problems[0].message


@pytest.mark.parametrize(
    ("router", "message"),
    [
        (Difficulty(), "how difficult"),
        (ShortLong(), "predicted lengths"),
        (ShortLong(short_pool="pool"), "required beside"),
        (Spillover(order=("pool", "elsewhere")), "no pool 'elsewhere'"),
    ],
)
def test_what_a_router_needs_and_does_not_get_is_said(router, message):
    with pytest.raises(InputError, match=message):
        started(router)
