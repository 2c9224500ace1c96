"""The reference engine against recordings of vLLM's real scheduler, and against hand computation.

In the hand-computed cases every iteration takes one second, so that times count iterations.
"""

from dataclasses import fields
from functools import lru_cache

import pytest

from . import recordings
from .reference_engine import EngineConfig, Request, Scheduling, simulate, token_names

STEP_COUNTS = ("free_blocks", "free_blocks_end", "num_running", "num_waiting")
LATENCY_PARTS = ("queue_s", "prefill_s", "thinking_s", "answer_s", "preempted_s")


@lru_cache(maxsize=1)
def replay(name):
    """Outcomes and steps of the reference engine on a recording."""
    return serve_recording(name, Scheduling(recordings.load(name)["config"]["policy"]))


def serve_recording(name, scheduling):
    recording = recordings.load(name)
    options = {f.name for f in fields(EngineConfig)} & recording["config"].keys()
    config = EngineConfig(**{option: recording["config"][option] for option in options})
    requests = [
        Request(
            id=request["id"],
            arrival_s=request["arrival_s"],
            prompt_tokens=request["prompt_tokens"],
            thinking_tokens=request["output_tokens"] // 2,
            output_tokens=request["output_tokens"],
            max_tokens=recordings.max_tokens(recording, request),
            priority=request["priority"],
            tokens=token_names(
                request["prompt_segments"], [(f"out:{request['id']}", request["output_tokens"])]
            ),
        )
        for request in recording["requests"]
    ]
    return simulate(
        config,
        requests,
        recordings.recorded_iteration_time(recording["cost"]),
        scheduling,
        recording["config"]["enable_prefix_caching"],
    )


def near(expected):
    return pytest.approx(expected, rel=1e-9, abs=1e-9)


@recordings.needs_recordings
def test_the_recordings_are_found():
    names = [name.partition("_")[0] for name in recordings.all_names()]
    counts = {"a": 13, "l": 10, "p": 8, "q": 10, "s": 22}
    assert names == [
        f"{kind}{n:02d}" for kind, count in counts.items() for n in range(1, count + 1)
    ]


@recordings.parametrize_all()
def test_decides_and_times_every_step_as_vllm_did(name):
    expected = recordings.load(name)["expected"]
    outcomes, steps = replay(name)

    assert len(steps) == expected["num_steps"]
    for step, want in zip(steps, expected.get("steps", []), strict="steps" in expected):
        assert list(step.scheduled.items()) == list(want["scheduled"].items())
        assert list(step.admitted.items()) == list(want["admitted"].items())
        assert step.preempted == want["preempted"]
        assert step.finished == want["finished"]
        assert [getattr(step, c) for c in STEP_COUNTS] == [want[c] for c in STEP_COUNTS]
        decided_s = want.get("sched_s", want["t_s"])  # an iteration ahead, if async
        got_s = [step.sched_s, step.t_s, step.dt_s]
        assert got_s == near([decided_s, want["t_s"], want["dt_s"]])
    if "step_columns" in expected:
        assert expected["step_columns"] == {
            "total_tokens": [sum(step.scheduled.values()) for step in steps],
            "context_sum": [step.context_sum for step in steps],
            "num_scheduled": [len(step.scheduled) for step in steps],
            "num_preempted": [len(step.preempted) for step in steps],
            "num_finished": [len(step.finished) for step in steps],
            "free_blocks": [step.free_blocks for step in steps],
            "num_running": [step.num_running for step in steps],
            "num_waiting": [step.num_waiting for step in steps],
        }
    lines = [
        recordings.step_line(
            step.scheduled,
            step.preempted,
            step.finished,
            step.free_blocks,
            step.num_running,
            step.num_waiting,
        )
        for step in steps
    ]
    assert recordings.steps_sha256(lines) == expected["steps_sha256"]

    assert max(outcome.finish_s for outcome in outcomes) == near(expected["makespan_s"])
    assert sum(outcome.num_preemptions for outcome in outcomes) == expected["num_preemptions"]
    for outcome, want in zip(outcomes, expected["per_request"], strict=True):
        assert (outcome.id, outcome.status) == (want["id"], "completed")
        assert outcome.num_preemptions == want["num_preemptions"]
        assert outcome.cached_tokens == want["num_cached_tokens"]
        for time in ("first_scheduled_s", "first_token_s", "finish_s"):
            assert getattr(outcome, time) == near(want[time]), (outcome.id, time)


@recordings.parametrize_all()
def test_tokens_and_latency_parts_add_up_on_the_recordings(name):
    recording = recordings.load(name)
    outcomes, steps = replay(name)
    scheduled, lost, last_lost, found, spared, computed = (
        dict.fromkeys((outcome.id for outcome in outcomes), 0) for _ in range(6)
    )
    for step in steps:
        for request_id in step.preempted:
            last_lost[request_id] = computed[request_id]
            lost[request_id] += computed[request_id]
        for request_id, cached in step.admitted.items():
            found[request_id] += cached
            # What others computed beyond that is no recomputation spared.
            spared[request_id] += min(cached, last_lost[request_id])
            computed[request_id] = cached
        for request_id, n in step.scheduled.items():
            scheduled[request_id] += n
            computed[request_id] += n
    for outcome, request in zip(outcomes, recording["requests"], strict=True):
        assert outcome.recomputed_tokens == lost[outcome.id] - spared[outcome.id]
        tokens = request["prompt_tokens"] + request["output_tokens"] - 1
        tokens += lost[outcome.id] - found[outcome.id]
        # A stop token is known one iteration late: one more may have been scheduled in vain.
        config = recording["config"]
        dead_tokens = (0, 1) if config["async_scheduling"] and config["stop"] == "token" else (0,)
        assert scheduled[outcome.id] - tokens in dead_tokens
        assert outcome.generated_tokens == request["output_tokens"]
        assert len(outcome.inter_token_gaps_s) == request["output_tokens"] - 1
        decode_s = outcome.finish_s - outcome.first_token_s
        assert sum(outcome.inter_token_gaps_s) == near(decode_s)
        parts = [getattr(outcome, part) for part in LATENCY_PARTS]
        assert min(parts) >= -1e-9
        assert sum(parts) == near(outcome.finish_s - request["arrival_s"])
        assert (outcome.preempted_s > 0) == (outcome.num_preemptions > 0)


@recordings.parametrize_names([n for n in recordings.all_names() if "priority" in n])
def test_ranks_that_are_priorities_decide_as_policy_priority(name):
    """Ids rise with the position in the list, so that ties end alike too."""
    assert recordings.load(name)["config"]["policy"] == "priority"
    ranked = Scheduling("ranked", rank=lambda state: state.request.priority)
    assert serve_recording(name, ranked) == replay(name)


def one_second(chunks):
    return 1.0


def serve(requests, **options):
    """Serve on a small engine; outcomes by id, and the steps."""
    defaults = {
        "max_num_seqs": 8,
        "max_num_batched_tokens": 64,
        "block_size": 4,
        "num_gpu_blocks": 5,
        "max_model_len": 17,
    }
    outcomes, steps = simulate(EngineConfig(**{**defaults, **options}), requests, one_second)
    assert not steps or steps[-1].free_blocks_end == options.get("num_gpu_blocks", 5) - 1
    return {outcome.id: outcome for outcome in outcomes}, steps


def parts_of(outcome):
    """The five latency parts, in the order queue, prefill, thinking, answer, preempted."""
    return [getattr(outcome, part) for part in LATENCY_PARTS]


def test_marks_the_first_answer_token():
    outcomes, _ = serve(
        [Request("thinks", 0.5, 4, 2, 4), Request("answers", 10.0, 4, 0, 3)], max_num_seqs=1
    )
    thinks, answers = outcomes["thinks"], outcomes["answers"]
    assert (thinks.first_scheduled_s, thinks.first_token_s) == (0.5, 1.5)
    assert (thinks.first_answer_s, thinks.finish_s) == (3.5, 4.5)
    assert parts_of(thinks) == [0, 1, 2, 1, 0]
    assert thinks.inter_token_gaps_s == [1, 1, 1]
    assert answers.first_answer_s == answers.first_token_s == 11
    assert parts_of(answers) == [0, 1, 0, 2, 0]


def test_max_tokens_can_end_a_request_before_its_answer():
    outcomes, _ = serve([Request("cut", 0.0, 4, 5, 9, max_tokens=3)])
    cut = outcomes["cut"]
    assert (cut.status, cut.generated_tokens) == ("completed", 3)
    assert cut.first_answer_s is None
    assert parts_of(cut) == [0, 1, 2, 0, 0]


def test_the_model_length_ends_a_request():
    # 12 prompt tokens and 5 output tokens are the 17 that the model takes.
    outcomes, steps = serve([Request("long", 0.0, 12, 0, 100)])
    assert outcomes["long"].generated_tokens == 5
    assert steps[-1].free_blocks == 0  # 16 of the 17 tokens have keys and values


# Both prompts take 2 of the 4 blocks. The third decode of `first` needs a third block at t = 2:
# `second` has emitted 2 tokens (t = 1, 2) and loses its 8 computed tokens. `first` ends at t = 5;
# `second` recomputes 9 tokens by t = 6, when it emits its third token, and ends at t = 7.
@pytest.mark.parametrize(
    ("thinking_tokens", "first_answer_s", "thinking_s", "answer_s"),
    [(0, 1, 0, 2), (1, 2, 1, 1), (2, 6, 1, 1), (3, 7, 2, 0)],
)
def test_preempted_after_its_first_token(thinking_tokens, first_answer_s, thinking_s, answer_s):
    outcomes, steps = serve(
        [Request("first", 0.0, 7, 0, 5), Request("second", 0.0, 7, thinking_tokens, 4)]
    )
    first, second = outcomes["first"], outcomes["second"]
    assert [step.preempted for step in steps] == [[], [], ["second"], [], [], [], []]
    assert [step.free_blocks for step in steps] == [0, 0, 1, 1, 1, 1, 1]
    assert parts_of(first) == [0, 1, 0, 4, 0]
    assert (second.num_preemptions, second.recomputed_tokens) == (1, 8)
    assert second.inter_token_gaps_s == [1, 4, 1]
    assert second.first_answer_s == first_answer_s
    assert parts_of(second) == [0, 1, thinking_s, answer_s, 4]


def test_preempted_before_its_first_token():
    # `second` is evicted at t = 2 with 5 tokens computed, resumes at t = 3, is evicted at t = 5
    # with 8 computed, resumes at t = 6 and completes its 12-token prompt in chunks by t = 9.
    outcomes, steps = serve(
        [Request("first", 0.0, 4, 0, 6), Request("second", 0.0, 12, 0, 1)],
        max_num_batched_tokens=5,
        scheduler_reserve_full_isl=False,
    )
    chunks = [step.scheduled.get("second", 0) for step in steps]
    assert chunks == [1, 4, 0, 4, 4, 0, 5, 5, 2]
    assert [t for t, step in enumerate(steps) if step.preempted] == [2, 5]
    assert outcomes["first"].finish_s == 6
    second = outcomes["second"]
    assert (second.num_preemptions, second.recomputed_tokens) == (2, 13)
    assert parts_of(second) == [0, 7, 0, 0, 2]


def test_evicted_again_before_its_next_token_is_lost_without_a_break():
    # With 8 blocks of one token, `second` emits at t = 2 and 3, is evicted at t = 3 with 4 tokens
    # computed, resumes at t = 4, is evicted at t = 5 with 2 of 5 recomputed, resumes when `first`
    # has ended at t = 6 and emits its third token at t = 7: lost from 3 to 7, not 3-7 and 5-7.
    outcomes, steps = serve(
        [Request("first", 0.0, 2, 0, 6), Request("second", 0.0, 3, 1, 3)],
        block_size=1,
        num_gpu_blocks=9,
        max_model_len=9,
        scheduler_reserve_full_isl=False,
        long_prefill_token_threshold=2,
    )
    assert [step.scheduled.get("second", 0) for step in steps] == [2, 1, 1, 0, 2, 0, 5]
    assert [t for t, step in enumerate(steps) if step.preempted] == [3, 5]
    second = outcomes["second"]
    assert (second.num_preemptions, second.recomputed_tokens) == (2, 6)
    assert second.inter_token_gaps_s == [1, 4]
    assert parts_of(second) == [0, 2, 1, 0, 4]


def test_cancelled_requests_leave_at_the_next_boundary():
    outcomes, steps = serve(
        [
            Request("running", 0.0, 4, 0, 9, cancel_s=2.0 + 5e-10),
            Request("waiting", 0.2, 4, 0, 9, cancel_s=0.5),
            Request("finishing", 0.3, 4, 0, 2, cancel_s=3.5),
            Request("idle", 20.0, 4, 0, 2, cancel_s=20.0),
            Request("late", 30.0, 4, 0, 2, cancel_s=40.0),
        ],
        max_num_seqs=1,
    )
    # The boundary at t = 2 counts as at the cancellation 5e-10 s later; its blocks are free again.
    assert (outcomes["running"].status, outcomes["running"].finish_s) == ("cancelled", 2)
    assert (outcomes["running"].generated_tokens, outcomes["running"].first_token_s) == (2, 1)
    assert parts_of(outcomes["running"]) == [None] * 5
    assert (outcomes["waiting"].status, outcomes["waiting"].finish_s) == ("cancelled", 1)
    assert outcomes["waiting"].first_scheduled_s is None
    assert outcomes["finishing"].first_scheduled_s == 2
    assert (outcomes["finishing"].status, outcomes["finishing"].finish_s) == ("completed", 4)
    assert (outcomes["idle"].status, outcomes["idle"].finish_s) == ("cancelled", 20)
    assert outcomes["late"].status == "completed"
    assert [step.t_s for step in steps] == [0, 1, 2, 3, 30, 31]
    assert [step.free_blocks for step in steps] == [3, 2, 3, 2, 3, 2]


@pytest.mark.parametrize(("delay_s", "start_s"), [(0.0, 1), (5e-10, 1), (1e-6, 2)])
def test_an_arrival_at_a_boundary_is_seen_there(delay_s, start_s):
    outcomes, _ = serve([Request("a", 0.0, 4, 0, 3), Request("b", 1.0 + delay_s, 4, 0, 1)])
    assert outcomes["b"].first_scheduled_s == start_s


@pytest.mark.parametrize(
    ("prompt_tokens", "max_tokens", "num_gpu_blocks", "status"),
    [
        (16, None, 5, "completed"),
        (17, None, 5, "rejected"),  # no room for an output token
        (12, 5, 5, "completed"),
        (12, 6, 5, "rejected"),  # beyond the model length
        (8, None, 4, "rejected"),  # unlimited output may need a fourth block
        (8, 5, 4, "completed"),  # 12 tokens with keys and values fill 3 blocks
        (8, 6, 4, "rejected"),
    ],
)
def test_rejects_what_can_never_fit(prompt_tokens, max_tokens, num_gpu_blocks, status):
    outcomes, steps = serve(
        [Request("r", 0.0, prompt_tokens, 0, 100, max_tokens)], num_gpu_blocks=num_gpu_blocks
    )
    assert outcomes["r"].status == status
    assert bool(steps) == (status == "completed")


@pytest.mark.parametrize(
    ("spares", "adaptive", "chunks"),
    [(True, False, [10]), (False, False, [4, 4, 2]), (False, True, [10])],
)
def test_a_lone_request_and_the_long_prefill_threshold(spares, adaptive, chunks):
    _, steps = serve(
        [Request("lone", 0.0, 10, 0, 1)],
        long_prefill_token_threshold=4,
        long_prefill_token_threshold_adaptive=adaptive,
        long_prefill_spares_lone_request=spares,
    )
    assert [step.scheduled["lone"] for step in steps] == chunks


def test_prefill_cadence_holds_prompts_but_not_a_single_token():
    # The prefill in iteration 0 holds prompts back in iterations 1 and 2; a prompt of one token
    # is no prefill, so it enters at once and does not restart the count.
    outcomes, _ = serve(
        [Request("a", 0.0, 4, 0, 9), Request("b", 0.5, 1, 0, 9), Request("c", 0.5, 4, 0, 9)],
        prefill_schedule_interval=3,
        num_gpu_blocks=33,
    )
    assert [outcomes[name].first_scheduled_s for name in "abc"] == [0, 1, 3]


def test_prefill_cadence_counts_a_prompt_of_which_one_token_is_computed():
    # A budget of 2 leaves one token for "b", which is held back for two iterations each time.
    _, steps = serve(
        [Request("a", 0.0, 1, 0, 12), Request("b", 0.5, 3, 0, 1)],
        prefill_schedule_interval=3,
        max_num_batched_tokens=2,
    )
    assert [t for t, step in enumerate(steps) if "b" in step.scheduled] == [1, 4, 7]


def test_the_cost_sees_chunks_in_order_with_their_context():
    seen = []

    def cost(chunks):
        seen.append(chunks)
        return 1.0

    config = EngineConfig(
        max_num_seqs=2, max_num_batched_tokens=8, num_gpu_blocks=9, max_model_len=32, block_size=4
    )
    simulate(config, [Request("a", 0.0, 6, 0, 2), Request("b", 0.0, 5, 0, 2)], cost)
    assert seen == [
        [(6, 6, False), (2, 2, False)],
        [(1, 7, True), (3, 5, False)],
        [(1, 6, True)],
    ]


def test_blocks_of_layers_with_a_window():
    """20 tokens in 5 blocks of 4, three times; in two more groups the last 10, in 3 blocks."""
    for num_gpu_blocks, fits in ((5 * 3 + 3 * 2 + 1, True), (5 * 3 + 3 * 2, False)):
        outcomes, steps = serve(
            [Request("r", 0.0, 15, 0, 9, max_tokens=6)],  # the sixth is not computed
            num_gpu_blocks=num_gpu_blocks,
            block_size=4,
            max_model_len=40,
            window_tokens=10,
            kv_groups_full=3,
            kv_groups_window=2,
        )
        assert outcomes["r"].status == ("completed" if fits else "rejected")
        if fits:
            free = [num_gpu_blocks - 1 - held for held in (18, 18, 21, 21, 21, 21)]
            assert [step.free_blocks for step in steps] == free


def test_a_prompt_that_can_never_be_scheduled_is_an_error():
    with pytest.raises(RuntimeError, match="request r can never be admitted"):
        serve([Request("r", 0.0, 8, 0, 1)], max_num_batched_tokens=7, enable_chunked_prefill=False)
