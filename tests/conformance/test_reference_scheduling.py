"""Orders, reservations and batchings of the reference engine, against hand computation.

Every iteration takes one second, so that times count iterations; blocks hold one token.
"""

import pytest

from .reference_engine import EngineConfig, Request, Scheduling, simulate


def serve(requests, scheduling=Scheduling(), **options):  # noqa: B008 - frozen
    """Serve on a small engine; outcomes by id, and the steps."""
    defaults = {
        "max_num_seqs": 8,
        "max_num_batched_tokens": 64,
        "block_size": 1,
        "num_gpu_blocks": 65,
        "max_model_len": 33,
    }
    config = EngineConfig(**{**defaults, **options})
    outcomes, steps = simulate(config, requests, lambda _: 1.0, scheduling)
    assert steps[-1].free_blocks_end == config.num_gpu_blocks - 1
    return {outcome.id: outcome for outcome in outcomes}, steps


def request(name, arrival_s, prompt_tokens, output_tokens, priority=0):
    return Request(
        name, arrival_s, prompt_tokens, 0, output_tokens, output_tokens, priority=priority
    )


def by_priority(state):
    return state.request.priority


PRIORITY = Scheduling("priority")
RANKED = Scheduling("ranked", rank=by_priority)


def scheduled(steps):
    return [step.scheduled for step in steps]


@pytest.mark.parametrize(
    ("scheduling", "order"),
    [(Scheduling(), "dcbae"), (PRIORITY, "ecabd"), (RANKED, "ecbad")],
)
def test_who_is_served_next(scheduling, order):
    """Of equal rank and arrival, "b" is before "a" by position, behind it by id."""
    requests = [
        request("d", 0.0, 1, 1, priority=2),
        request("c", 0.0, 1, 1, priority=0),
        request("b", 0.1, 1, 1, priority=1),
        request("a", 0.1, 1, 1, priority=1),
        request("e", 0.2, 1, 1, priority=-1),
    ]
    requests = [request("first", 0.0, 1, 1, priority=-9), *requests]
    outcomes, _ = serve(requests, scheduling, max_num_seqs=1)
    served = sorted(outcomes.values(), key=lambda outcome: outcome.first_scheduled_s)
    assert "".join(outcome.id for outcome in served) == "first" + order


def test_a_victim_of_fcfs_goes_to_the_head_of_the_queue():
    # 9 blocks: "b" is evicted at t = 2 and needs 5; "c" would fit, but waits behind it.
    _, steps = serve(
        [request("a", 0.0, 4, 4), request("b", 0.5, 4, 2), request("c", 1.5, 1, 1)],
        num_gpu_blocks=10,
        max_model_len=9,
    )
    assert [step.preempted for step in steps if step.preempted] == [["b"]]
    assert scheduled(steps)[2:] == [{"a": 1}, {"a": 1}, {"b": 5, "c": 1}]


def test_an_urgent_request_waits_for_a_seat():
    outcomes, steps = serve(
        [request("low", 0.0, 1, 4, priority=1), request("high", 0.5, 1, 1)], RANKED, max_num_seqs=1
    )
    assert outcomes["high"].first_scheduled_s == 4
    assert not any(step.preempted for step in steps)


@pytest.mark.parametrize("scheduling", [PRIORITY, RANKED])
def test_who_evicts_itself_leaves_its_blocks_to_those_behind(scheduling):
    # 9 blocks: at t = 2, "low" has 5 tokens and "high" 4. "low" needs one more, is itself the
    # victim, and "high" goes on in the same iteration. "low" waits for its 6 blocks until t = 4.
    requests = [request("low", 0.0, 4, 4, priority=1), request("high", 0.5, 4, 3)]
    outcomes, steps = serve(requests, scheduling, num_gpu_blocks=10)
    assert scheduled(steps) == [
        {"low": 4},
        {"low": 1, "high": 4},
        *[{"high": 1}] * 2,
        {"low": 6},
        {"low": 1},
    ]
    assert [step.preempted for step in steps] == [[], [], ["low"], [], [], []]
    assert outcomes["low"].recomputed_tokens == 5

    # The last admitted is the victim of fcfs.
    _, steps = serve(requests, num_gpu_blocks=10)
    assert steps[2].preempted == ["high"]
    assert steps[2].scheduled == {"low": 1}


@pytest.mark.parametrize("scheduling", [PRIORITY, RANKED])
def test_a_victim_gives_its_tokens_of_this_iteration_back(scheduling):
    # Of 3 tokens an iteration, "mid" gets what the decodes leave: 1. At t = 3 "low" takes the last
    # of 7 blocks, is evicted for "high", and "mid" gets 2.
    _, steps = serve(
        [
            request("low", 0.0, 1, 7, priority=2),
            request("high", 0.5, 1, 3),
            request("mid", 1.5, 6, 2, priority=1),
        ],
        scheduling,
        num_gpu_blocks=8,
        max_num_batched_tokens=3,
        max_model_len=8,
        scheduler_reserve_full_isl=False,
    )
    assert scheduled(steps)[:4] == [
        {"low": 1},
        {"low": 1, "high": 1},
        {"low": 1, "high": 1, "mid": 1},
        {"high": 1, "mid": 2},
    ]
    assert steps[3].preempted == ["low"]


@pytest.mark.parametrize("scheduling", [Scheduling(), PRIORITY, RANKED])
def test_the_victim_among_equal_ranks(scheduling):
    # 9 blocks: the one that came last or, if both came at once, the one admitted first.
    _, steps = serve(
        [request("a", 0.0, 4, 4), request("b", 0.1, 4, 4)], scheduling, num_gpu_blocks=10
    )
    assert [step.preempted for step in steps if step.preempted] == [["b"]]
    _, steps = serve(
        [request("a", 0.0, 4, 4), request("b", 0.0, 4, 4)], scheduling, num_gpu_blocks=10
    )
    victim = "b" if scheduling.order == "fcfs" else "a"
    assert [step.preempted for step in steps if step.preempted] == [[victim]]


@pytest.mark.parametrize("priorities", [(2, 0, 1), (0, 2, 1), (0, 1, 2)])
@pytest.mark.parametrize("scheduling", [PRIORITY, RANKED])
def test_the_victim_is_the_worst_wherever_it_stands(scheduling, priorities):
    # At t = 3 they have 3, 2 and 1 of 8 blocks, and each needs one more.
    requests = [
        request("x", 0.0, 1, 4, priorities[0]),
        request("y", 0.5, 1, 4, priorities[1]),
        request("z", 1.5, 1, 4, priorities[2]),
    ]
    _, steps = serve(requests, scheduling, num_gpu_blocks=9, max_model_len=9)
    victim = "xyz"[priorities.index(2)]
    assert [step.preempted for step in steps[:4]] == [[], [], [], [victim]]
    assert steps[3].scheduled == {name: 1 for name in "xyz" if name != victim}


def test_rank_and_reservation_are_asked_on_joining_the_queue():
    asked = []

    def asks(name):
        def answer(state):
            asked.append((name, state.request.id, len(state.evictions), len(state.tokens_s)))
            assert state.computed == 0
            return 0 if name == "reserve" or state.evictions else state.request.priority

        return answer

    # As above, "low" is evicted at t = 2. Its rank is then that of "high", and it comes before
    # "next", which would fit at t = 3.
    outcomes, steps = serve(
        [
            request("low", 0.0, 4, 4, priority=2),
            request("high", 0.5, 4, 3),
            request("next", 1.5, 3, 1, priority=1),
        ],
        Scheduling("ranked", asks("rank"), asks("reserve")),
        num_gpu_blocks=10,
    )
    assert [step.preempted for step in steps if step.preempted] == [["low"]]
    assert [outcomes[name].finish_s for name in ("high", "low", "next")] == [4, 6, 5]
    joined = [("low", 0, 0), ("high", 0, 0), ("next", 0, 0), ("low", 1, 2)]
    assert asked == [(name, *who) for who in joined for name in ("rank", "reserve")]


@pytest.mark.parametrize(
    ("reserve_tokens", "starts_s"),
    [
        ([0] * 5, [0, 0, 0, 0, 2]),  # one block each, and there are 4
        ([4] * 5, [0, 0, 0, 0, 2]),
        ([5] * 5, [0, 0, 2, 2, 4]),
        ([8] * 5, [0, 0, 2, 2, 4]),
        ([9] * 5, [0, 2, 4, 6, 8]),
        ([9, 9, 1, 1, 1], [0, 2, 2, 4, 4]),  # the head blocks those behind it
    ],
)
@pytest.mark.parametrize("order", ["fcfs", "priority", "ranked"])
def test_reservations(order, reserve_tokens, starts_s):
    scheduling = Scheduling(
        order,
        by_priority if order == "ranked" else None,
        lambda state: reserve_tokens[state.position],
    )
    outcomes, _ = serve(
        [request(str(i), 0.0, 1, 2) for i in range(5)],
        scheduling,
        block_size=4,
        num_gpu_blocks=5,
        max_model_len=16,
    )
    assert [outcome.first_scheduled_s for outcome in outcomes.values()] == starts_s


def test_who_is_alone_or_reserves_nothing_needs_no_reservation():
    reserve_tokens = {"a": 65, "b": 0, "c": 1}
    outcomes, _ = serve(
        [request(name, 0.0, 1, 2) for name in "abc"],
        Scheduling(reserve_tokens=lambda state: reserve_tokens[state.request.id]),
    )
    assert [outcomes[name].first_scheduled_s for name in "abc"] == [0, 0, 2]


PREFILL_FIRST = Scheduling(batching="prefill_first")
STATIC = Scheduling(batching="static")


@pytest.mark.parametrize("threshold", [0, 2])
@pytest.mark.parametrize("async_scheduling", [False, True])
def test_prefill_first(async_scheduling, threshold):
    """Whole prompts, as many as the budget of 33 takes; decodes only where there is none."""
    requests = [
        request("a", 0.0, 20, 3),
        request("b", 0.0, 13, 2),
        request("c", 0.0, 1, 2),
        request("d", 2.5, 7, 2),
    ]
    _, steps = serve(
        requests,
        PREFILL_FIRST,
        max_num_batched_tokens=33,
        long_prefill_token_threshold=threshold,
        async_scheduling=async_scheduling,
    )
    decodes = {"a": 1, "b": 1, "c": 1}
    assert scheduled(steps) == [
        {"a": 20, "b": 13},
        {"c": 1},
        decodes,
        # "d" comes while the iteration at t = 2 runs. If async, that at t = 3 is decided by then.
        *([{"a": 1}, {"d": 7}, {"d": 1}] if async_scheduling else [{"d": 7}, {"a": 1, "d": 1}]),
    ]


def test_prefill_first_and_a_prompt_that_does_not_fit_the_rest_of_the_budget():
    requests = [request("a", 0.0, 20, 1), request("b", 0.0, 14, 1), request("c", 0.0, 1, 1)]
    _, steps = serve(requests, PREFILL_FIRST, max_num_batched_tokens=33)
    assert scheduled(steps) == [{"a": 20}, {"b": 14, "c": 1}]


@pytest.mark.parametrize("limit", [{"num_gpu_blocks": 32}, {"max_num_seqs": 1}])
def test_prefill_first_decodes_while_there_is_no_room(limit):
    # Of 31 blocks, "a" leaves 11.
    requests = [request("a", 0.0, 20, 3), request("b", 0.0, 12, 1)]
    _, steps = serve(requests, PREFILL_FIRST, max_model_len=31, **limit)
    assert scheduled(steps) == [{"a": 20}, {"a": 1}, {"a": 1}, {"b": 12}]


def test_prefill_first_recomputes_a_victim_whole():
    # 9 blocks: at t = 1, "b" finds none for its second token. At t = 4 its 5 tokens fit.
    requests = [request("a", 0.0, 4, 4), request("b", 0.0, 4, 2)]
    _, steps = serve(requests, PREFILL_FIRST, num_gpu_blocks=10, max_model_len=9)
    assert [step.preempted for step in steps if step.preempted] == [["b"]]
    assert scheduled(steps) == [{"a": 4, "b": 4}, *[{"a": 1}] * 3, {"b": 5}]


def test_prefill_first_needs_a_budget_for_the_longest_request():
    requests = [request("a", 0.0, 1, 1)]
    with pytest.raises(ValueError, match="max_num_batched_tokens is below max_model_len"):
        serve(requests, PREFILL_FIRST, max_num_batched_tokens=32)


def test_static_admits_nobody_until_all_have_finished():
    requests = [
        request("a", 0.0, 2, 2),
        request("b", 0.0, 2, 4),
        request("c", 0.0, 2, 1),
        request("d", 0.5, 2, 1),
        request("e", 4.5, 2, 1),
    ]
    _, steps = serve(requests, STATIC, max_num_seqs=2)
    assert scheduled(steps) == [
        {"a": 2, "b": 2},
        {"a": 1, "b": 1},
        *[{"b": 1}] * 2,
        {"c": 2, "d": 2},
        {"e": 2},
    ]


@pytest.mark.parametrize("async_scheduling", [False, True])
def test_static_with_seats_to_spare(async_scheduling):
    requests = [request("a", 0.0, 2, 2), request("b", 0.5, 2, 1)]
    outcomes, _ = serve(requests, STATIC, async_scheduling=async_scheduling)
    assert outcomes["b"].first_scheduled_s == 2


@pytest.mark.parametrize("enable_chunked_prefill", [True, False])
def test_a_static_batch_is_computed_in_chunks(enable_chunked_prefill):
    # "c" has a seat from t = 0, and its first token computed at t = 1.
    outcomes, steps = serve(
        [request(name, 0.0, 4, 2) for name in "abc"],
        STATIC,
        max_num_batched_tokens=6,
        max_num_seqs=4,
        enable_chunked_prefill=enable_chunked_prefill,
    )
    assert scheduled(steps) == [
        {"a": 4, "b": 2},
        {"a": 1, "b": 2, "c": 3},
        {"b": 1, "c": 1},
        {"c": 1},
    ]
    assert list(steps[0].admitted) == ["a", "b", "c"]
    assert [step.num_running for step in steps] == [3, 3, 2, 1]
    assert [outcome.first_scheduled_s for outcome in outcomes.values()] == [0, 0, 0]


def test_the_prefill_cadence_holds_prompts_of_a_static_batch():
    # "b" gets nothing at first. Prefill at t = 0 and 3 holds it back for two iterations each.
    _, steps = serve(
        [request("a", 0.0, 4, 6), request("b", 0.0, 4, 1)],
        STATIC,
        max_num_batched_tokens=4,
        prefill_schedule_interval=3,
    )
    decode = {"a": 1}
    assert scheduled(steps) == [
        {"a": 4},
        decode,
        decode,
        {"a": 1, "b": 3},
        decode,
        decode,
        {"b": 1},
    ]


def test_the_long_prefill_threshold_holds_in_a_static_batch():
    _, steps = serve(
        [request("a", 0.0, 5, 1), request("b", 0.0, 5, 1)], STATIC, long_prefill_token_threshold=3
    )
    assert scheduled(steps) == [{"a": 3, "b": 3}, {"a": 2, "b": 2}]


@pytest.mark.parametrize("options", [{}, {"watermark": 0.9}, {"scheduler_reserve_full_isl": False}])
@pytest.mark.parametrize("budget", [3, 33])
def test_all_prompts_of_a_static_batch_fit(budget, options):
    # Three times 4 tokens do not fit 11 blocks, however many of them are computed at first.
    _, steps = serve(
        [request(name, 0.0, 4, 1) for name in "abc"],
        STATIC,
        num_gpu_blocks=12,
        max_model_len=9,
        max_num_batched_tokens=budget,
        **options,
    )
    assert [list(step.admitted) for step in steps if step.admitted] == [["a", "b"], ["c"]]
    assert not any(step.preempted for step in steps)


def test_reservations_bound_a_static_batch():
    scheduling = Scheduling(batching="static", reserve_tokens=lambda state: 30)
    _, steps = serve([request(name, 0.0, 4, 1) for name in "abc"], scheduling)
    assert scheduled(steps) == [{"a": 4, "b": 4}, {"c": 4}]


def test_prompts_of_a_static_batch_share_what_they_have_in_common():
    # Of 9 blocks "a" takes 5. "b" finds 4 of them and takes 3.
    words = {"a": "sssst.", "b": "ssssuuu.", "c": "w."}
    requests = [
        Request(name, 0.0, len(word) - 1, 0, 1, 1, tokens=word) for name, word in words.items()
    ]
    config = EngineConfig(8, 64, 10, 9, block_size=1)
    _, steps = simulate(config, requests, lambda _: 1.0, STATIC, prefix_caching=True)
    assert [step.admitted for step in steps] == [{"a": 0, "b": 4, "c": 0}]


def test_static_admits_a_victim_when_nobody_is_left():
    # 9 blocks: "b" is evicted at t = 1, and its 5 tokens would fit again at t = 3, as "a" ends.
    requests = [request("c", 0.0, 1, 5), request("a", 0.0, 3, 2), request("b", 0.0, 4, 2)]
    _, steps = serve(requests, STATIC, num_gpu_blocks=10, max_model_len=9)
    assert [step.preempted for step in steps[:2]] == [[], ["b"]]
    assert scheduled(steps) == [
        {"c": 1, "a": 3, "b": 4},
        {"c": 1, "a": 1},
        *[{"c": 1}] * 3,
        {"b": 5},
    ]
    _, steps = serve(requests, num_gpu_blocks=10, max_model_len=9)
    assert scheduled(steps)[2] == {"c": 1, "b": 5}


@pytest.mark.parametrize(
    "options",
    [{"order": "lifo"}, {"batching": "orca"}, {"order": "ranked"}, {"rank": by_priority}],
)
def test_what_makes_no_scheduling(options):
    with pytest.raises(ValueError, match=r"unknown|rank"):
        Scheduling(**options)
