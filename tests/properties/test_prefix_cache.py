"""The run-based prefix cache is, block for block, vLLM's block pool."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ..conformance.caches import RunCache, ask_room, do_register, do_take
from .prefix_scenario import Scenario, tree_of

OPERATIONS = ("admit", "run", "leave", "look", "decode")


@st.composite
def scenarios(draw):
    """Small caches, few segments: prefixes, outputs and whole prompts often coincide."""
    n = draw(st.integers(2, 7))
    segment = st.integers(0, 2)
    prompt = st.lists(st.tuples(segment, st.integers(1, 9)), min_size=1, max_size=3)
    outputs = st.tuples(st.sampled_from([-1, -1, 0, 3]), st.sampled_from([-1, 1, 2, 3]))
    generated = st.tuples(st.integers(0, 5), st.integers(0, 8))
    case = {
        "prompts": draw(st.lists(prompt, min_size=n, max_size=n)),
        "outputs": draw(st.lists(outputs, min_size=n, max_size=n)),
        "generated": draw(st.lists(generated, min_size=n, max_size=n)),
        "block_size": draw(st.integers(1, 3)),
        "usable_blocks": draw(st.integers(4, 40)),
        "lazy": draw(st.booleans()),
        "pool_size": draw(st.sampled_from([2, 64])),
        "crowded": draw(st.booleans()),
    }
    operation = st.tuples(st.sampled_from(OPERATIONS), st.integers(0, n - 1), st.integers(1, 9))
    return case, draw(st.lists(operation, min_size=5, max_size=40))


def do(scenario, name, i, tokens):
    if name == "admit":
        scenario.admit(i, tokens)
    elif name == "run":
        scenario.run(i, tokens)
    elif name == "leave":
        scenario.leave(i)
    elif name == "look":
        scenario.look(i)
    else:
        for _ in range(tokens):
            scenario.run(i, 1)


@settings(max_examples=400, deadline=None)
@given(scenarios())
def test_every_block_is_where_vllm_has_it(case):
    arguments, operations = case
    scenario = Scenario(**arguments)
    for operation in operations:
        do(scenario, *operation)
        scenario.compare()


def random_workload(rng, n):
    """Sessions over a few system prompts, samples of one prompt, and single requests."""
    prompts, outputs, generated = [], [], []
    fresh = 10
    while len(prompts) < n:
        system = (int(rng.integers(3)), int(rng.integers(1, 30)))
        kind = rng.integers(4)
        made = [int(x) for x in rng.integers(0, 20, size=2)]
        if kind == 0:  # several samples of one prompt
            prompt = [system, (fresh, int(rng.integers(1, 40)))]
            count = int(rng.integers(2, 5))
            prompts += [prompt] * count
            outputs += [(-1, -1)] * count
            generated += [tuple(made)] * count
        elif kind == 1:  # a conversation that keeps its answers
            context = int(rng.integers(1, 20))
            for _ in range(int(rng.integers(2, 5))):
                prompts.append([system, (fresh, context)])
                outputs.append((fresh, fresh) if rng.integers(2) else (-1, fresh))
                generated.append(tuple(made))
                context += made[1] + int(rng.integers(0, 12))
        elif kind == 2:
            prompts.append([system, (fresh, int(rng.integers(1, 60)))])
            outputs.append((-1, -1))
            generated.append(tuple(made))
        else:  # twins: the same request, sent twice
            prompts += [[system, (fresh, 24)]] * 2
            outputs += [(fresh + 1, fresh + 1)] * 2
            generated += [tuple(made)] * 2
        fresh += 2
    return prompts[:n], outputs[:n], generated[:n]


@pytest.mark.parametrize("seed", range(6))
def test_thousands_of_steps_under_pressure(seed):
    rng = np.random.default_rng(seed)
    n = 60
    prompts, outputs, generated = random_workload(rng, n)
    scenario = Scenario(
        prompts,
        outputs,
        generated,
        block_size=int(rng.integers(2, 9)),
        usable_blocks=int(rng.integers(20, 90)),
        lazy=bool(seed % 2),
        pool_size=16,
        crowded=seed % 3 == 0,
    )
    for step in range(8000):
        if scenario.running and rng.random() < 0.7:
            i = scenario.running[rng.integers(len(scenario.running))]
            name = OPERATIONS[rng.choice([1, 2, 4], p=[0.55, 0.15, 0.3])]
        else:
            i = int(rng.integers(n))
            name = OPERATIONS[rng.choice([0, 3], p=[0.8, 0.2])]
        do(scenario, name, i, int(rng.integers(1, rng.choice([4, 12, 40]))))
        if step % 5 == 0:
            scenario.compare()
    seen = (scenario.hits, scenario.shared_hits, scenario.evictions, scenario.copies)
    assert min(seen) > 30


def cache_of(prompts, usable_blocks, block_size=16, **options):
    n = len(prompts)
    tree = tree_of(prompts, [(-1, -1)] * n, [(0, 0)] * n, block_size)
    return RunCache(tree, usable_blocks, **options)


def extents_of(cache):
    return len(cache.pool) - int(cache.state[0]["extents_left"])


def holds_of(cache):
    return len(cache.pool) - int(cache.state[0]["holds_left"])


def test_a_chain_is_hit_from_its_head_and_evicted_from_its_tail():
    # Ten blocks; a prompt of six whole blocks, a second one that parts after three.
    cache = cache_of([[(0, 96)], [(0, 48), (1, 48)]], 10)
    assert cache.look_up(0, 5) == (0, 0)
    cache.admit(0, 0, 6, 6)
    assert cache.look_up(1, 5) == (3, 0)  # of a request that runs
    cache.release(0)
    assert cache.look_up(1, 5) == (3, 3)
    assert cache.look_up(0, 5) == (5, 5)  # the last token must be computed
    cache.admit(1, 3, 3, 6)  # 4 blocks were never used, so nothing is evicted
    assert (cache.free_blocks, cache.look_up(0, 5)) == (4, (5, 2))
    cache.add(1, 2, 6)  # one unhashed block is left, and the last of the first prompt goes
    assert (cache.free_blocks, cache.look_up(0, 6)) == (2, (5, 2))
    cache.add(1, 1, 6)
    assert (cache.free_blocks, cache.look_up(0, 6)) == (1, (4, 1))
    cache.release(1)
    assert cache.free_blocks == 10
    assert cache.look_up(1, 6) == (6, 6)
    assert cache.state[0]["evicted_blocks"] == 2


def test_records_follow_runs_not_blocks():
    cache = cache_of([[(0, 1_600_000)]] * 3, 400_000)
    cache.admit(0, 0, 2_000, 2_000)
    for full in range(4_000, 100_001, 2_000):  # in chunks
        cache.add(0, 2_000, full)
    assert (extents_of(cache), holds_of(cache)) == (1, 1)
    assert cache.look_up(1, 99_999) == (99_999, 0)
    cache.admit(1, 99_999, 1, 100_000)
    assert (extents_of(cache), holds_of(cache)) == (3, 2)  # the last block twice
    cache.release(0)
    cache.release(1)
    assert holds_of(cache) == 0
    assert cache.look_up(2, 50_000) == (50_000, 50_000)
    cache.admit(2, 50_000, 0, 50_000)
    assert extents_of(cache) == 4
    cache.release(2)
    assert extents_of(cache) == 3
    assert len(cache.pool) == 64


def test_what_was_split_is_joined_again():
    cache = cache_of([[(0, 1600)]] * 8, 1_000)
    cache.admit(0, 0, 100, 100)
    for i, blocks in enumerate([10, 50, 30, 70, 20, 60, 99], start=1):
        assert cache.look_up(i, blocks) == (blocks, 0)
        cache.admit(i, blocks, 0, blocks)
    assert extents_of(cache) == 8
    for i in (3, 1, 7, 5, 2, 6, 4, 0):
        cache.release(i)
    assert extents_of(cache) == 1
    assert cache.look_up(0, 100) == (100, 100)


def test_a_hit_across_nodes_is_one_hold_even_after_a_join():
    # Three nodes, of which the second was split while in use, and joined at the end.
    prompt = [(0, 160), (1, 160), (2, 160)]
    others = [[(0, 160), (1, 160), (3, 160)], [(0, 160), (4, 160)]]
    cache = cache_of([prompt, prompt, *others], 1_000)
    cache.admit(0, 0, 30, 30)
    assert cache.look_up(2, 14) == (14, 0)
    cache.admit(2, 14, 0, 14)
    assert extents_of(cache) == 4
    cache.release(2)
    cache.release(0)
    assert extents_of(cache) == 3
    assert cache.look_up(1, 29) == (29, 29)
    cache.admit(1, 29, 1, 30)
    assert holds_of(cache) == 1


def test_the_rest_of_an_idle_copy_is_evicted_tail_first():
    # Of two copies the first has blocks 0 to 2 only: a third request takes those, and 3 to 6 of the
    # second copy, of which 7 to 9 and 0 to 2 stay behind.
    prompt = [(0, 40)]
    scenario = Scenario([prompt] * 3, [(-1, -1)] * 3, [(0, 0)] * 3, 4, 20)
    scenario.admit(1, 1)
    scenario.admit(0, 12)
    scenario.run(1, 39)
    scenario.leave(0)
    scenario.leave(1)
    assert scenario.blocks.look_up(2, 10) == (10, 10)
    scenario.known[2] = 29
    assert scenario.look(2) == (7, 7)
    scenario.admit(2, 1)
    scenario.compare()
    _, free = scenario.expanded()
    hashes = scenario.blocks.hashes[0]
    assert free == [(hashes[k], 0) for k in (9, 8, 7)] + [(hashes[k], 1) for k in (2, 1, 0)]


def test_room_is_asked_for_all_that_may_come():
    # One node for each request, and three registrations that may each begin an extent.
    cache = cache_of([[(0, 32)], [(1, 32)]], 100, pool_size=2)
    assert ask_room(cache.state, cache.table, 0, 0) == (True, False)
    cache.admit(0, 0, 2, 0)
    assert len(cache.pool) == 4
    assert ask_room(cache.state, cache.table, 1, 0) == (True, False)
    cache.admit(1, 0, 2, 0)
    assert len(cache.pool) == 8
    assert ask_room(cache.state, cache.table, 1, 0) == (True, False)
    assert ask_room(cache.state, cache.table, 1, 1) == (True, False)
    cache.state[0]["extents_left"] = 7  # two took four each
    assert ask_room(cache.state, cache.table, 0, 0) == (False, False)
    cache.state[0]["extents_left"] = cache.state[0]["holds_left"] = 14
    assert ask_room(cache.state, cache.table, 0, 1)[1]
    assert not ask_room(cache.state, cache.table, 0, 2)[1]  # a run may be cut at both ends


def test_a_grown_pool_has_as_many_buckets_as_records():
    cache = cache_of([[(0, 32)]], 100, pool_size=4)
    cache.grow()
    assert (len(cache.pool), cache.state[0]["bucket_shift"]) == (8, 32 - 3)


def test_a_full_pool_is_no_silent_corruption():
    cache = cache_of([[(i, 32)] for i in range(3)], 100, pool_size=2)
    arrays = (cache.state, cache.pool, cache.paths, cache.table)
    for i in range(2):
        do_take(*arrays, i, 0, 100)
        do_register(*arrays, i, 2)
    do_take(*arrays, 2, 0, 100)
    with pytest.raises(RuntimeError, match="no record left"):
        do_register(*arrays, 2, 2)
