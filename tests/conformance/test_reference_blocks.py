"""The prefix cache of the reference engine, against hand computation.

Prompts are words of which each letter is a token, in blocks of four tokens.
"""

import pytest

from .reference_blocks import BlockPool
from .reference_engine import EngineConfig, Request, simulate, token_names


def test_blocks_are_the_same_if_all_tokens_so_far_are():
    pool = BlockPool(usable=1, block_size=4)
    abc, same, other = (pool.names_of(word) for word in ("aaaabbbbcccc", "aaaabbbbcc", "xaaabbbb"))
    assert len(set(abc)) == 3
    assert same == abc[:2]
    assert not set(other) & set(abc)
    assert pool.names_of("abc") == []


def test_named_blocks_are_taken_last_and_the_tail_of_a_chain_before_its_head():
    pool = BlockPool(usable=6, block_size=4)
    one, two, three, four, five, six = pool.free
    assert pool.take([], 4) == [one, two, three, four]
    pool.register(one, 10)
    pool.register(two, 11)
    pool.release([one, two, three, four])
    # The last nameless block is the very first to be taken again.
    assert list(pool.free) == [four, three, five, six, two, one]
    assert pool.lookup([10, 11, 12]) == [one, two]
    assert pool.lookup([11]) == [two]
    assert pool.lookup([12, 10]) == []
    assert pool.take([one], 5) == [one, four, three, five, six, two]
    assert pool.lookup([10, 11]) == [one]  # the block of 11 has been taken for other tokens
    assert not pool.free


def test_a_block_is_free_once_nobody_holds_it():
    pool = BlockPool(usable=2, block_size=4)
    one, two = pool.take([], 2)
    pool.register(one, 10)
    assert pool.take([one], 0) == [one]
    pool.release([one, two])
    assert list(pool.free) == [two]
    pool.release([one])
    assert list(pool.free) == [two, one]


def test_of_two_copies_the_first_registered_is_found():
    pool = BlockPool(usable=2, block_size=4)
    one, two = pool.take([], 2)
    pool.register(two, 10)
    pool.register(one, 10)
    assert pool.lookup([10]) == [two]
    pool.release([two])
    pool.take([], 1)
    assert pool.lookup([10]) == [one]


def test_tokens_are_segments_and_offsets():
    names = token_names([("sys", 2), ("u", 1)], [("u", 2), (None, 1), ("u", 1), (None, 1)])
    assert names[:5] == [("sys", 0), ("sys", 1), ("u", 0), ("u", 1), ("u", 2)]
    assert names[6] == ("u", 3)
    assert len(names) == 8
    nobodys = [names[5], names[7], *token_names([], [(None, 1)])]
    assert len(set(nobodys)) == 3


def serve(words, outputs, arrivals=None, **options):
    """Serve words, of which the last `outputs` letters are generated; outcomes and steps."""
    defaults = {
        "max_num_seqs": 8,
        "max_num_batched_tokens": 64,
        "block_size": 4,
        "num_gpu_blocks": 17,
        "max_model_len": 17,
    }
    requests = [
        Request(
            id=str(i),
            arrival_s=arrivals[i] if arrivals else 0.0,
            prompt_tokens=len(word) - outputs[i],
            thinking_tokens=0,
            output_tokens=outputs[i],
            max_tokens=outputs[i],
            tokens=word,
        )
        for i, word in enumerate(words)
    ]
    config = EngineConfig(**{**defaults, **options})
    outcomes, steps = simulate(config, requests, lambda _: 1.0, prefix_caching=True)
    assert steps[-1].free_blocks_end == config.num_gpu_blocks - 1
    return outcomes, steps


def test_the_last_token_of_a_prompt_is_always_computed():
    outcomes, steps = serve(["aaaabbbb.", "aaaabbbb.", "aaaabbbbc."], [1, 1, 1])
    # The second has a block "bbbb" of its own, which nobody finds beside that of the first.
    assert steps[0].admitted == {"0": 0, "1": 4, "2": 8}
    assert steps[0].scheduled == {"0": 8, "1": 4, "2": 1}
    assert steps[0].free_blocks == 16 - 2 - 1 - 1
    assert [outcome.cached_tokens for outcome in outcomes] == [0, 4, 8]


@pytest.mark.parametrize("async_scheduling", [False, True])
def test_what_was_generated_is_found_by_the_next_turn(async_scheduling):
    # Of 4 + 5 tokens the last gets no keys and values. The others fill two blocks.
    _, steps = serve(
        ["aaaabbbbb", "aaaabbbbbccccc"], [5, 5], [0.0, 9.0], async_scheduling=async_scheduling
    )
    assert [step.admitted for step in steps if step.admitted] == [{"0": 0}, {"1": 8}]


@pytest.mark.parametrize(
    ("async_scheduling", "arrival_s", "start_s", "found"),
    [(False, 2.5, 3, 4), (False, 3.5, 4, 8), (True, 2.5, 4, 4), (True, 3.5, 5, 8)],
)
def test_a_block_that_decoding_fills_is_known_once_its_tokens_are(
    async_scheduling, arrival_s, start_s, found
):
    # The fourth "b" comes at t = 4. With async scheduling, the iteration that computes it has been
    # decided by then, on a placeholder; the block is registered with the iteration decided next.
    words, arrivals = ["aaaabbbbbbb", "aaaabbbbc."], [0.0, arrival_s]
    _, steps = serve(words, [7, 1], arrivals, async_scheduling=async_scheduling)
    [step] = [step for step in steps if "1" in step.admitted]
    assert (step.t_s, step.admitted["1"]) == (start_s, found)


@pytest.mark.parametrize(("arrival_s", "start_s", "found"), [(3.5, 5, 4), (4.5, 5, 8)])
def test_a_block_that_the_last_iteration_fills_is_known_at_its_end(arrival_s, start_s, found):
    # Nothing is scheduled for "0" at t = 4, as its last token is in flight then, until t = 5.
    words, arrivals = ["aaaabbbbb", "aaaabbbbc."], [0.0, arrival_s]
    _, steps = serve(words, [5, 1], arrivals, async_scheduling=True)
    [step] = [step for step in steps if "1" in step.admitted]
    assert (step.t_s, step.admitted["1"]) == (start_s, found)


def test_a_resumed_request_finds_its_own_blocks():
    # As in the reference engine's tests without a cache, the second is evicted at t = 2 with 8
    # tokens in 2 full blocks, of which the first request takes the second one.
    # The others find what it had, and what it recomputed.
    outcomes, steps = serve(
        ["aaaaaaabbbbb", "cccccccdddd", "cccccccdd."],
        [5, 4, 1],
        [0.0, 0.0, 9.0],
        num_gpu_blocks=5,
    )
    assert [step.preempted for step in steps] == [[], [], ["1"], *[[]] * 5]
    admitted = [step.admitted for step in steps if step.admitted]
    assert admitted == [{"0": 0, "1": 0}, {"1": 4}, {"2": 8}]
    assert [step.scheduled.get("1", 0) for step in steps] == [7, 1, 0, 0, 0, 5, 1, 0]
    second = outcomes[1]
    assert (second.cached_tokens, second.recomputed_tokens) == (0, 8 - 4)


def test_what_others_computed_is_no_recomputation_spared():
    # "1" shares the first of 3 blocks, is evicted at t = 2 with 6 tokens, and later finds 8.
    outcomes, steps = serve(
        ["aaaabbbbcccc.", "aaaabbbbcccc."],
        [1, 1],
        num_gpu_blocks=4,
        max_model_len=13,
        max_num_batched_tokens=5,
        long_prefill_token_threshold=4,
    )
    chunks = [step.scheduled for step in steps]
    assert chunks == [*[{"0": 4, "1": 1}] * 2, {"0": 4}, {"1": 4}]
    assert [step.admitted for step in steps if step.admitted] == [{"0": 0, "1": 4}, {"1": 8}]
    assert (outcomes[1].cached_tokens, outcomes[1].recomputed_tokens) == (4, 0)


def test_found_blocks_that_are_free_count_as_taken():
    # The first leaves 2 cached blocks and 2 others. The third holds 2 of these when the second
    # comes, whose 9 tokens need a block besides the 2 that it finds.
    for num_gpu_blocks, start_s in ((5, 3), (6, 2)):
        _, steps = serve(
            ["aaaabbbb.", "aaaabbbbc.", "zzzzzz.."],
            [1, 1, 2],
            [0.0, 1.5, 1.0],
            num_gpu_blocks=num_gpu_blocks,
        )
        [step] = [step for step in steps if "1" in step.admitted]
        assert (step.t_s, step.admitted["1"]) == (start_s, 8)


def test_the_prefill_cadence_lets_a_prompt_pass_that_lacks_one_token():
    # The prefill in iteration 0 holds prompts back in iterations 1 and 2.
    outcomes, _ = serve(
        ["aaaabbbbbbbbb", "aaaac.", "zzzzc."],
        [9, 1, 1],
        [0.0, 0.5, 0.5],
        prefill_schedule_interval=3,
    )
    assert [outcome.first_scheduled_s for outcome in outcomes] == [0, 1, 3]


def test_without_names_nothing_is_found():
    config = EngineConfig(8, 64, 17, 33, block_size=4)
    requests = [Request(str(i), float(i), 9, 0, 1, 1) for i in range(2)]
    outcomes, _ = simulate(config, requests, lambda _: 0.5, prefix_caching=True)
    assert [outcome.cached_tokens for outcome in outcomes] == [0, 0]


def test_a_prefix_cache_of_several_groups_of_layers_is_refused():
    config = EngineConfig(8, 64, 17, 33, window_tokens=8, kv_groups_window=1)
    with pytest.raises(ValueError, match="one group"):
        simulate(config, [], lambda _: 1.0, prefix_caching=True)
