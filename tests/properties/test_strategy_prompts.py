"""Planned prompts, put together in columns, against the same one query at a time."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.prefix import PromptSegments
from simulator.strategies.assembly import own_segments, segments_of
from simulator.strategies.draft import Draft, Queries
from simulator.strategies.prompts import choose


@st.composite
def plans(draw):
    """A draft with a few calls whose prompts quote each other; and each prompt by hand."""
    n = draw(st.integers(1, 5))
    tokens = st.integers(1, 40)
    prompts = [draw(st.lists(tokens, min_size=1, max_size=3)) for _ in range(n)]
    if draw(st.booleans()):
        own = PromptSegments.from_lists(
            [
                [(k % 2, first), *((10 + 10 * k + j, t) for j, t in enumerate(rest))]
                for k, (first, *rest) in enumerate(prompts)
            ]
        )
    else:
        own = own_segments(np.array([sum(each) for each in prompts], dtype=np.int64))
    zeros = np.zeros(n, dtype=np.int64)
    queries = Queries(
        number=np.arange(n),
        class_id=np.zeros(n, dtype=np.int32),
        class_names=("default",),
        prompt_tokens=own.prompt_tokens(),
        max_tokens=zeros,
        value_usd=np.full(n, np.nan),
    )
    thinking = np.array(draw(st.lists(st.integers(0, 60), min_size=n, max_size=n)))
    draft = Draft(
        queries, ("main",), lambda _: (thinking, zeros + 3), first_segment=own.highest_id + 1
    )
    by_hand = []
    made = [(draft.own, [own.of(k) for k in range(n)])]
    for _ in range(draw(st.integers(1, 5))):
        prompt, words = made[draw(st.integers(0, len(made) - 1))]
        how = draw(st.sampled_from(["as it is", "new", "choice"]))
        if how == "new":
            extra = np.array(draw(st.lists(st.integers(0, 9), min_size=n, max_size=n)))
            part = draft.new(extra)
            prompt = prompt.then(part)
            words = [[*each, (int(part.segment[k]), int(extra[k]))] for k, each in enumerate(words)]
        elif how == "choice":
            other, others = made[draw(st.integers(0, len(made) - 1))]
            which = np.array(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
            prompt = choose([prompt, other], which)
            words = [(words, others)[which[k]][k] for k in range(n)]
        where = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
        call = draft.ask(prompt, thinking, 3, where=where)
        by_hand.append((call, words))
        quoted = np.array(draw(st.lists(st.integers(0, 63), min_size=n, max_size=n)))
        quoted = np.minimum(quoted, thinking + 3)
        made.append(
            (
                call.transcript(quoted),
                [[*each, (int(call.segment[k]), int(quoted[k]))] for k, each in enumerate(words)],
            )
        )
        onward = draft.ask(call.transcript(quoted), quoted + 1, 0, where=where, goes_on=call)
        more = [[*each, (int(call.segment[k]), int(quoted[k]))] for k, each in enumerate(words)]
        by_hand.append((onward, more))
        whole = [
            [*each, (int(call.segment[k]), int(2 * quoted[k] + 1))] for k, each in enumerate(words)
        ]
        made.append((onward.transcript(), whole))
    return own, by_hand


@given(plans())
@settings(max_examples=200, deadline=None)
def test_prompts_in_columns_are_those_by_hand(plan):
    own, by_hand = plan
    rows = np.arange(len(own))
    together = segments_of(own, [(call, rows) for call, _ in by_hand])
    at = 0
    for call, words in by_hand:
        for k in np.flatnonzero(call.where):
            expected = [pair for pair in words[k] if pair[1] > 0]
            assert together.of(at) == expected
            assert sum(tokens for _, tokens in expected) == call.prompt.tokens[k]
            assert together.output_id[at].tolist() == [call.segment[k]] * 2
            at += 1
    assert at == len(together)
