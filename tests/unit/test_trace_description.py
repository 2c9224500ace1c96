"""The statistics of a trace are those that can be counted by hand."""

import json
from itertools import takewhile
from operator import eq
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.prefix import PromptSegments
from workloads.batch import Sessions
from workloads.description import describe
from workloads.description.arrivals import arrival_statistics
from workloads.description.groups import session_statistics, share_statistics
from workloads.description.lengths import length_statistics
from workloads.description.reuse import reusable_tokens
from workloads.traces import TraceRows


def rows_of(
    prompts: list[list[tuple[int, int]]],
    outputs: list[tuple[int, int]],
    thinking: list[int],
    answer: list[int],
) -> TraceRows:
    segments = PromptSegments.from_lists(prompts, np.array(outputs, np.int64).reshape(-1, 2))
    return TraceRows(
        arrival_s=np.arange(len(prompts), dtype=float),
        prompt_tokens=segments.prompt_tokens(),
        thinking_tokens=np.array(thinking, dtype=np.int64),
        answer_tokens=np.array(answer, dtype=np.int64),
        segments=segments,
    )


def by_token(rows: TraceRows) -> list[int]:
    """The longest common prefix with any earlier prompt and its output, token by token."""
    assert rows.segments is not None
    assert rows.thinking_tokens is not None
    chains: list[list[tuple[Any, ...]]] = []
    shared = []
    for i in range(len(rows)):
        prompt: list[tuple[Any, ...]] = []
        for segment, length in rows.segments.of(i):
            prompt += [(segment, k) for k in range(length)]
        common = [
            sum(1 for _ in takewhile(bool, map(eq, prompt, chain)))  # stops at the shorter one
            for chain in chains
        ]
        shared.append(max(common, default=0))
        chain = list(prompt)
        made = (rows.thinking_tokens[i], rows.answer_tokens[i])
        for part, (segment, length) in enumerate(
            zip(rows.segments.output_id[i], made, strict=True)
        ):
            name = int(segment) if segment >= 0 else ("own", i, part)
            first = sum(token[0] == name for token in chain)
            chain += [(name, first + k) for k in range(length)]
        chains.append(chain)
    return shared


def test_block_hashes_are_leading_blocks_seen_before() -> None:
    rows = rows_of(
        [
            [(0, 512), (1, 512), (2, 100)],
            [(0, 512), (1, 512), (3, 7)],
            [(9, 5)],
            [(0, 512), (2, 9)],
        ],
        [(-1, -1)] * 4,
        [0] * 4,
        [5] * 4,
    )
    found = reusable_tokens(rows)
    assert found is not None
    assert found.tolist() == [0, 1024, 0, 512] == by_token(rows)


def test_a_turn_quotes_the_answer_but_not_what_follows_dropped_thinking() -> None:
    prompts = [[(0, 10)], [(0, 10), (2, 4), (3, 6)], [(0, 10), (1, 3), (2, 4), (5, 1)]]
    rows = rows_of(prompts, [(1, 2), (-1, -1), (-1, -1)], [3, 0, 0], [4, 1, 1])
    found = reusable_tokens(rows)
    assert found is not None
    assert found.tolist() == [0, 10, 17] == by_token(rows)


def test_a_conversation_that_keeps_all_is_one_growing_segment() -> None:
    rows = rows_of([[(0, 10)], [(0, 20)], [(0, 18), (1, 5)]], [(0, 0)] * 3, [2, 0, 0], [4, 5, 1])
    found = reusable_tokens(rows)
    assert found is not None
    assert found.tolist() == [0, 16, 18] == by_token(rows)


segments = st.tuples(st.integers(0, 4), st.integers(1, 4))
prompt_lists = st.lists(
    st.lists(segments, min_size=1, max_size=4, unique_by=lambda segment: segment[0]),
    min_size=1,
    max_size=8,
)


@settings(max_examples=150, deadline=None)
@given(prompts=prompt_lists, data=st.data())
def test_reuse_is_that_of_a_comparison_token_by_token(prompts: list, data: st.DataObject) -> None:
    n = len(prompts)
    # segments that only outputs begin: those of prompts go on only if they are the last
    outputs = []
    for i, prompt in enumerate(prompts):
        own = [prompt[-1][0], 100 + i, -1]
        thinking = data.draw(st.sampled_from(own))
        answer = data.draw(st.sampled_from([thinking, 200 + i, -1]))
        outputs.append((thinking, answer))
    made = st.lists(st.integers(0, 3), min_size=n, max_size=n)
    answers = [1 + more for more in data.draw(made)]
    quoting = [prompts[0]]
    for prompt, (_, answer) in zip(prompts[1:], outputs, strict=False):
        quoted = [(answer, data.draw(st.integers(1, 4)))] if answer >= 100 else []
        quoting.append(prompt + quoted)
    rows = rows_of(quoting, outputs, data.draw(made), answers)
    found = reusable_tokens(rows)
    assert found is not None
    assert found.tolist() == by_token(rows)


def test_arrivals() -> None:
    times = np.concatenate((np.arange(0, 100.0), np.arange(100, 200, 0.25)))
    found = arrival_statistics(times + 7.0)
    assert found.n == 500
    assert found.span_s == 199.75
    assert found.rate_rps == pytest.approx(499 / 199.75)
    assert found.step_s == 15
    assert found.rates_rps[0] == 1
    assert found.rates_rps[-2] == 4
    assert found.peak_to_mean == pytest.approx(4 / 2.5, rel=0.05)
    assert found.longest_gap_s == 1
    assert found.tie_share == 0
    assert found.tick_s is None
    assert set(found.dispersion) == {1.0, 10.0}
    counts = np.array([10] * 10 + [40] * 9)  # the tenth step of the fast half is not whole
    assert found.dispersion[10.0] == pytest.approx(counts.var() / counts.mean())


def test_rounded_times_are_noticed() -> None:
    times = np.floor(np.cumsum(np.random.default_rng(0).exponential(0.25, 5_000)))
    found = arrival_statistics(times)
    assert found.tie_share > 0.7
    assert found.tick_s == pytest.approx(1)


def test_arrivals_of_one_and_of_all_at_once() -> None:
    for times in (np.array([3.0]), np.zeros(4)):
        found = arrival_statistics(times)
        assert (found.rate_rps, found.cv, found.span_s) == (None, None, 0)
        assert found.dispersion == {}


def test_lengths() -> None:
    found = length_statistics(np.arange(1, 1001))
    assert found.percentiles == {
        1: 10, 5: 50, 10: 100, 25: 250, 50: 500, 75: 750, 90: 900, 95: 950, 99: 990, 99.9: 999
    }  # fmt: skip
    assert found.tail is not None
    assert found.tail.threshold == 950
    nothing = length_statistics(np.zeros(9, dtype=np.int64))
    assert (nothing.hill, nothing.tail, nothing.fitted.ranked) == (None, None, [])


def test_sessions() -> None:
    sessions = Sessions(
        session_id=np.array([0, 0, 1, -1, 0]),
        turn=np.array([0, 1, 0, 0, 2], dtype=np.int32),
        after=np.array([-1, 0, -1, -1, 1]),
        pause_s=np.array([0.0, 4.0, 0.0, 0.0, 8.0]),
    )
    found = session_statistics(sessions)
    assert found is not None
    assert found.turns.tolist() == [3, 1]
    assert found.several_share == 0.5
    assert found.pauses_s.tolist() == [4, 8]
    assert found.alone == 1
    assert session_statistics(None) is None


def test_shares_and_their_inequality() -> None:
    names = tuple("abcdefg")
    even = share_statistics(np.arange(7, dtype=np.int32), names)
    one = share_statistics(np.zeros(9, dtype=np.int32), names)
    some = share_statistics(np.array([1, 1, 1, 0], dtype=np.int32), ("a", "b"))
    assert even is not None
    assert one is not None
    assert some is not None
    assert even.gini == pytest.approx(0)
    assert one.gini == pytest.approx(6 / 7)
    assert some.gini == pytest.approx(0.25)
    assert some.busiest == {"b": 0.75, "a": 0.25}
    assert len(even.busiest) == 5
    assert share_statistics(np.zeros(3, dtype=np.int32), ("only",)) is None
    assert share_statistics(None, ()) is None


def test_a_whole_description_is_plain_numbers() -> None:
    rng = np.random.default_rng(0)
    n = 400
    rows = TraceRows(
        arrival_s=np.cumsum(rng.exponential(1, n)),
        prompt_tokens=rng.integers(1, 900, n),
        thinking_tokens=rng.integers(0, 900, n),
        answer_tokens=rng.integers(1, 90, n),
        client_id=rng.integers(0, 3, n).astype(np.int32),
        client_names=("x", "y", "z"),
        dropped={"GeneratedTokens is 0": 2},
    )
    found = describe(rows, "a format", "file.csv").to_dict()
    again = json.loads(json.dumps(found, allow_nan=False))
    assert again["requests"] == n
    assert again["dropped"] == {"GeneratedTokens is 0": 2}
    assert list(again["lengths"]) == ["prompt", "thinking", "answer", "output"]
    assert again["lengths"]["output"]["mean"] == pytest.approx(
        (rows.thinking_tokens + rows.answer_tokens).mean()
    )
    assert set(again["correlations"]) == {"prompt_thinking", "prompt_answer", "thinking_answer"}
    assert again["clients"]["number"] == 3
    assert again["prefix_reuse"] is None
    laws = again["lengths"]["prompt"]["laws"]
    assert [law["aic"] for law in laws] == sorted(law["aic"] for law in laws)


def test_nothing_to_describe() -> None:
    none = np.zeros(0, dtype=np.int64)
    with pytest.raises(ValueError, match="no rows"):
        describe(TraceRows(np.zeros(0), none, none), "a format", "file")
