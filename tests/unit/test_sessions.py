"""Sessions: what is said, what is kept, what prompts share."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import InputError
from workloads.conversation import ThinkingRetention
from workloads.queries import QueryLaws
from workloads.sessions import SessionLaws, draw_sessions
from workloads.synthetic import SyntheticWorkload

RETENTIONS = list(ThinkingRetention)
QUERIES = {
    "prompt_tokens": {"kind": "uniform", "min": 20, "max": 60},
    "thinking_tokens": {"kind": "uniform", "min": 0, "max": 50},
    "answer_tokens": {"kind": "uniform", "min": 1, "max": 30},
    "shared_prefix_tokens": 100,
}
AGENT = {
    "turns": {"kind": "geometric", "mean": 2.5},
    "requests_per_turn": {"kind": "geometric", "mean": 2.0},
    "user_tokens": {"kind": "uniform", "min": 1, "max": 9},
    "tool_call_tokens": {"kind": "uniform", "min": 2, "max": 8},
    "tool_result_tokens": {"kind": "uniform", "min": 1, "max": 40},
    "user_pause_s": {"kind": "exponential", "mean_s": 30.0},
    "tool_pause_s": {"kind": "constant", "seconds": 2.0},
}


def draw(retention="keep_all", count=300, queries=QUERIES, seed=0, **laws):
    session = SessionLaws.model_validate({**AGENT, "thinking_retention": retention, **laws})
    return draw_sessions(session, QueryLaws.model_validate(queries), seed, "agent", count)


def conversation(drawn, retention, cap=10**9):
    """What the prompts must be, token by token, told by a plain loop over the same draws.

    Returns for each request the prompt and the generated tokens as lists of labels, equal where
    the tokens are.
    """
    sessions, prompts, outputs = drawn.sessions, [], []
    said_before, kept, loop = [], [], []
    for i in range(len(drawn.prompt_tokens)):
        opens_session = sessions.turn[i] == 0
        opens_turn = opens_session or sessions.query_id[i] != sessions.query_id[i - 1]
        calls = i + 1 < len(sessions.turn) and sessions.query_id[i + 1] == sessions.query_id[i]
        if opens_session:
            kept, loop = [("shared", k) for k in range(100)], []
        if opens_turn:  # the loop's thinking is stripped, the rest of it stays
            kept, loop = kept + [t for t in loop if t[0] != "thinking"], []
        prefix = kept + loop
        new = int(drawn.prompt_tokens[i]) - len(prefix)
        said = [("said", i, k) for k in range(new)]
        prompt = prefix + said
        thinking = min(int(drawn.thinking_tokens[i]), cap)
        answer = min(int(drawn.answer_tokens[i]), cap - thinking)
        thought = [("thinking", i, k) for k in range(thinking)]
        answered = [("answer", i, k) for k in range(answer)]
        prompts.append(prompt)
        outputs.append(thought + answered)
        if retention == "keep_within_tool_loop":
            loop += (said if not opens_turn else []) + thought + answered
            kept += said if opens_turn else []
        else:
            keep = retention == "keep_all" or (retention == "keep_tool_turns" and calls)
            kept += said + (thought if keep else []) + answered
        said_before.append(new)
    return prompts, outputs, said_before


@pytest.mark.parametrize("retention", RETENTIONS)
def test_prompts_hold_what_was_said_and_kept(retention):
    """Against a separate telling: new tokens per request are then exactly the laws' draws."""
    drawn = draw(retention)
    _, _, said = conversation(drawn, retention.value)
    said, turn = np.array(said), drawn.sessions.turn
    opens_turn = np.concatenate(([True], np.diff(drawn.sessions.query_id) != 0))
    assert (said >= 1).all()
    for rows, low, high in (
        (turn == 0, 20, 60),
        (opens_turn & (turn > 0), 1, 9),
        (~opens_turn, 1, 40),
    ):
        assert rows.sum() > 50
        assert said[rows].min() == low
        assert said[rows].max() == high
    # The draws are the same under every policy, only what is kept differs.
    other = draw("drop_all")
    assert np.array_equal(drawn.thinking_tokens, other.thinking_tokens)
    assert np.array_equal(drawn.answer_tokens, other.answer_tokens)


def spelled_out(segments, i, thinking, answer):
    """Prompt and generated tokens of request i as (segment, offset), by the rules of the class."""
    prompt = [(s, k) for s, length in segments.of(i) for k in range(length)]
    tokens = list(prompt)
    for part, (segment, length) in enumerate(
        zip(segments.output_id[i].tolist(), (thinking, answer), strict=True)
    ):
        nobody = segment < 0
        start = max((k + 1 for s, k in tokens if s == segment), default=0)
        tokens += [
            (("nobody", i, part), k) if nobody else (segment, start + k) for k in range(length)
        ]
    return prompt, tokens


@pytest.mark.parametrize("retention", RETENTIONS)
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    thinks=st.booleans(),
    cap=st.none() | st.integers(1, 60),
)
def test_segments_tell_exactly_which_tokens_can_be_reused(retention, seed, thinks, cap):
    queries = dict(QUERIES, max_tokens=cap)
    if not thinks:
        queries["thinking_tokens"] = {"kind": "constant", "tokens": 0}
    drawn = draw(retention, 8, queries, seed)
    prompts, outputs, _ = conversation(drawn, retention.value, cap or 10**9)
    known = []
    for i, (prompt, output) in enumerate(zip(prompts, outputs, strict=True)):
        thinking = sum(token[0] == "thinking" for token in output)
        ours, sequence = spelled_out(drawn.segments, i, thinking, len(output) - thinking)
        assert len(ours) == len(prompt) == drawn.prompt_tokens[i]
        truth = prompt + output
        for other, other_truth in known:
            assert common(ours, other) == common(prompt, other_truth)
        known.append((sequence, truth))


def common(a, b):
    return next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y),
                min(len(a), len(b)))  # fmt: skip


def test_policies_order_the_lengths_of_prompts():
    lengths = {r: draw(r).prompt_tokens.sum() for r in RETENTIONS}
    assert lengths["drop_all"] < lengths["keep_within_tool_loop"] < lengths["keep_all"]
    assert lengths["drop_all"] < lengths["keep_tool_turns"] < lengths["keep_all"]


def test_more_sessions_begin_with_the_same_ones():
    few, many = draw(count=20), draw(count=200)
    n = len(few.prompt_tokens)
    for name in ("prompt_tokens", "thinking_tokens", "answer_tokens", "offset_s"):
        assert np.array_equal(getattr(few, name), getattr(many, name)[:n]), name
    assert np.array_equal(few.sessions.pause_s, many.sessions.pause_s[:n])


def test_turns_pauses_and_order():
    drawn = draw(count=4000)
    sessions = drawn.sessions
    first = sessions.turn == 0
    assert first.sum() == 4000
    assert (sessions.after[first] == -1).all()
    assert (sessions.after[~first] == np.flatnonzero(~first) - 1).all()
    turns = np.array([len(np.unique(q)) for q in np.split(
        sessions.query_id, np.flatnonzero(first)[1:])])  # fmt: skip
    assert turns.mean() == pytest.approx(2.5, abs=4 * np.sqrt(2.5 * 1.5 / 4000))
    steps = np.unique(sessions.query_id, return_counts=True)[1]
    assert steps.mean() == pytest.approx(2.0, abs=4 * np.sqrt(2.0 / len(steps)))
    opens_turn = np.concatenate(([True], np.diff(sessions.query_id) != 0)) & ~first
    assert sessions.pause_s[opens_turn].mean() == pytest.approx(30, rel=0.08)
    assert (sessions.pause_s[~opens_turn & ~first] == 2.0).all()
    assert (sessions.pause_s[first] == 0).all()
    assert (drawn.offset_s[first] == 0).all()
    assert np.allclose(np.diff(drawn.offset_s)[~first[1:]], sessions.pause_s[1:][~first[1:]])


def test_a_session_ends_before_its_context_is_too_long():
    free, bound = draw(), draw(max_context_tokens=300)
    assert free.prompt_tokens.max() > 300
    assert bound.prompt_tokens.max() <= 300
    kept = len(bound.prompt_tokens)
    cut = {}
    for session, tokens in zip(
        free.sessions.session_id.tolist(), free.prompt_tokens.tolist(), strict=True
    ):
        cut.setdefault(session, [])
        cut[session].append(tokens)
    expected = sum(next((k for k, t in enumerate(c) if t > 300), len(c)) for c in cut.values())
    assert kept == expected


def test_sessions_arrive_by_their_law():
    workload = SyntheticWorkload.model_validate(
        {
            "kind": "synthetic",
            "arrivals": {"kind": "deterministic", "rate_rps": 0.1},
            **QUERIES,
            "session": AGENT,
        }
    )
    batch = workload.generate(0, duration_s=500.0)
    openings = batch.arrival_s[batch.sessions.turn == 0]
    assert openings.tolist() == [10.0 * k for k in range(50)]
    assert batch.arrival_s[-1] > 500.0  # what has begun goes on
    after = batch.sessions.after
    waits = after >= 0
    pauses = batch.arrival_s[waits] - batch.arrival_s[after[waits]]
    assert np.allclose(pauses, batch.sessions.pause_s[waits])
    assert np.array_equal(batch.segments.prompt_tokens(), batch.prompt_tokens)
    some = workload.model_copy(update={"num_requests": 37}).generate(0)
    begun = np.isin(batch.sessions.session_id, batch.sessions.session_id[:37])
    assert begun.sum() > 37
    assert np.array_equal(some.prompt_tokens, batch.prompt_tokens[begun])


def test_every_query_is_whole_wherever_the_workload_ends():
    ten = dict(AGENT, requests_per_turn={"kind": "constant", "count": 10})
    content = {
        "kind": "synthetic",
        "arrivals": {"kind": "poisson", "rate_rps": 0.5},
        **QUERIES,
        "session": {**ten, "tool_pause_s": {"kind": "constant", "seconds": 20.0}},
    }
    for end in ({"num_requests": 200}, {"num_requests": 3}, {"duration_s": 60.0}):
        batch = SyntheticWorkload.model_validate({**content, **end}).generate(0)
        assert set(np.unique(batch.sessions.query_id, return_counts=True)[1]) == {10}
        assert len(batch) >= end.get("num_requests", 1)


def test_sessions_that_cannot_begin_are_counted_or_refused():
    content = {
        "kind": "synthetic",
        "arrivals": {"kind": "poisson", "rate_rps": 5.0},
        **QUERIES,
        "prompt_tokens": {"kind": "uniform", "min": 1, "max": 1000},
        "session": {"max_context_tokens": 600},
        "duration_s": 200.0,
    }
    batch = SyntheticWorkload.model_validate(content).generate(0)
    [(reason, sessions)] = batch.dropped.items()
    assert reason == "first prompt of a session of default beyond max_context_tokens"
    assert len(batch) + sessions == pytest.approx(1000, abs=150)
    assert sessions == pytest.approx(0.5 * 1000, rel=0.2)
    content["session"] = {"max_context_tokens": 50}
    content["num_requests"] = 10
    with pytest.raises(InputError, match=r"no request arrives.*left out: first prompt"):
        SyntheticWorkload.model_validate(content).generate(0)


def test_later_messages_keep_the_correlation_of_prompt_and_thinking():
    queries = dict(
        QUERIES,
        thinking_tokens={"kind": "lognormal", "mu": 6, "sigma": 1},
        correlation={"prompt_thinking": 0.8},
        within_problem_sigma=0.0,
    )
    drawn = draw("drop_all", 4000, queries, requests_per_turn={"kind": "constant", "count": 1},
                 user_tokens={"kind": "lognormal", "mu": 5, "sigma": 1})  # fmt: skip
    turn = drawn.sessions.turn
    before = drawn.sessions.after
    later = turn > 0
    said = drawn.prompt_tokens[later] - (
        drawn.prompt_tokens[before[later]] + drawn.answer_tokens[before[later]]
    )
    ranks = [np.argsort(np.argsort(c)) for c in (said, drawn.thinking_tokens[later])]
    assert np.corrcoef(ranks)[0, 1] == pytest.approx(6 / np.pi * np.arcsin(0.4), abs=0.03)


@pytest.mark.parametrize("retention", RETENTIONS)
def test_full_contexts_are_compacted_and_go_on(retention):
    """Against a plain loop, with constant messages so that it can tell what was said."""
    constant = {name: {"kind": "constant", "tokens": tokens}
                for name, tokens in (("user_tokens", 9), ("tool_result_tokens", 20),
                                     ("compacted_tokens", 37))}  # fmt: skip
    queries = dict(QUERIES, prompt_tokens={"kind": "constant", "tokens": 50})
    drawn = draw(
        retention.value,
        60,
        queries,
        turns={"kind": "geometric", "mean": 8},
        max_context_tokens=400,
        **constant,
    )
    prompts = told_with_compaction(drawn, retention.value, 400, 37)
    assert drawn.prompt_tokens.tolist() == [len(prompt) for prompt in prompts]
    assert drawn.prompt_tokens.max() <= 400
    compactions = sum(prompt[100][0] == "summary" for prompt in prompts)
    assert compactions > 100
    known = []
    for i, prompt in enumerate(prompts[:250]):
        ours, _ = spelled_out(drawn.segments, i, 0, 0)
        for other, other_truth in known[-30:]:
            assert common(ours, other) == common(prompt, other_truth)
        known.append((ours, prompt))


def told_with_compaction(drawn, retention, most, summary):
    sessions, prompts = drawn.sessions, []
    kept, loop = [], []
    for i in range(len(drawn.prompt_tokens)):
        opens_session = sessions.turn[i] == 0
        opens_turn = opens_session or sessions.query_id[i] != sessions.query_id[i - 1]
        calls = i + 1 < len(sessions.turn) and sessions.query_id[i + 1] == sessions.query_id[i]
        if opens_session:
            kept, loop = [("shared", k) for k in range(100)], []
        if opens_turn:
            kept, loop = kept + [t for t in loop if t[0] != "thinking"], []
        new = 50 if opens_session else 9 if opens_turn else 20
        if len(kept) + len(loop) + new > most:
            kept = [("shared", k) for k in range(100)]
            kept, loop = kept + [("summary", i, k) for k in range(summary)], []
            opens_turn = True  # what follows goes into the new context
        said = [("said", i, k) for k in range(new)]
        prompts.append(kept + loop + said)
        thought = [("thinking", i, k) for k in range(int(drawn.thinking_tokens[i]))]
        answered = [("answer", i, k) for k in range(int(drawn.answer_tokens[i]))]
        if retention == "keep_within_tool_loop":
            loop += (said if not opens_turn else []) + thought + answered
            kept += said if opens_turn else []
        else:
            keep = retention == "keep_all" or (retention == "keep_tool_turns" and calls)
            kept += said + (thought if keep else []) + answered
    return prompts


@pytest.mark.parametrize("law", ["turns", "requests_per_turn"])
def test_more_requests_than_anybody_means_are_refused(law):
    with pytest.raises(InputError, match="in 2,000 sessions of agent; 100,000,000 is the most"):
        draw(count=2000, **{law: {"kind": "constant", "count": 1_000_000}})
