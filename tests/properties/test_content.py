"""The tree of content against streams written out token by token."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.engine import content
from simulator.engine.content import content_paths
from simulator.prefix import PromptSegments

from .prefix_scenario import stream, tree_of

few = st.integers(0, 3)
lengths = st.one_of(st.integers(1, 4), st.just(6), st.just(12))


@st.composite
def workloads(draw):
    n = draw(st.integers(1, 8))
    prompts = st.lists(st.tuples(few, lengths), max_size=4)
    outputs = st.tuples(*[st.one_of(st.just(-1), few)] * 2)
    generated = st.one_of(st.just((0, 0)), st.tuples(*[st.integers(0, 7)] * 2))
    each = draw(st.lists(st.tuples(prompts, outputs, generated), min_size=n, max_size=n))
    return [list(part) for part in zip(*each, strict=True)], draw(st.integers(1, 4))


def common_blocks(a, b, block_size):
    same = 0
    while same < min(len(a), len(b)) and a[same] == b[same]:
        same += 1
    return same // block_size


def path(paths, i):
    part = slice(paths.start[i], paths.start[i + 1])
    return list(zip(paths.node[part].tolist(), paths.end_block[part].tolist(), strict=True))


def common_path(a, b):
    """Blocks two paths share, by the rule that `ContentPaths` states."""
    common = 0
    for (node, end), (other, other_end) in zip(a, b, strict=False):
        if node != other:
            break
        common = min(end, other_end)
        if end != other_end:
            break
    return common


@settings(max_examples=400, deadline=None)
@given(workloads(), st.booleans())
def test_blocks_are_shared_if_and_only_if_their_tokens_are_equal(case, crowded):
    (prompts, outputs, generated), block_size = case
    with pytest.MonkeyPatch.context() as patch:
        if crowded:  # all nodes in one hash chain: equal means compared, not hashed alike
            patch.setattr(content, "_hash_bits", lambda n: 0)
        compare(prompts, outputs, generated, block_size)


def compare(prompts, outputs, generated, block_size):
    n = len(prompts)
    streams = [stream(i, prompts[i], outputs[i], generated[i]) for i in range(n)]
    paths = tree_of(prompts, outputs, generated, block_size)
    each = [path(paths, i) for i in range(n)]
    followers = {}
    for i in range(n):
        ends = [end for _, end in each[i]]
        assert ends == sorted(set(ends))
        assert (ends[-1] if ends else 0) == len(streams[i]) // block_size
        assert all(0 <= node < paths.num_nodes for node, _ in each[i])
        common = [
            common_blocks(streams[i], streams[j], block_size) if j != i else 0 for j in range(n)
        ]
        assert common == [common_path(each[i], each[j]) if j != i else 0 for j in range(n)]
        assert paths.shared_blocks[i] == max(common)
        for (node, _), (following, _) in zip(each[i], each[i][1:], strict=False):
            followers.setdefault(node, set()).add(following)
    assert all(len(after) > 1 for after in followers.values())  # nodes end where streams part


def test_a_conversation_that_keeps_everything_is_one_run():
    # Turn 2 quotes prompt and answer of turn 1, and says more; turn 1's thinking is its own in the
    # second conversation.
    prompts = [[(0, 32), (1, 20)], [(0, 32), (1, 90)], [(0, 32), (2, 20)], [(0, 32), (2, 90)]]
    outputs = [(1, 1), (1, 1), (-1, 2), (-1, 2)]
    paths = tree_of(prompts, outputs, [(16, 16)] * 4, 16)
    (shared, first), second = path(paths, 0), path(paths, 1)
    assert shared[1] == 2
    assert second == [shared, (first[0], 9)]
    assert first[1] == 5
    assert paths.shared_blocks.tolist() == [5, 5, 3, 3]
    third, fourth = path(paths, 2), path(paths, 3)
    assert [end for _, end in third] == [2, 3, 5]
    assert [end for _, end in fourth] == [2, 3, 9]
    assert third[:2] == fourth[:2]
    assert third[2][0] != fourth[2][0]


def test_output_goes_on_where_its_segment_ended_in_the_prompt():
    # 8 tokens of segment 1, 4 of segment 0, and then segment 1 from token 8, or from token 0 again.
    prompts = [[(1, 8), (0, 4)], [(1, 8), (0, 4)], [(1, 8), (0, 4), (1, 8)]]
    paths = tree_of(prompts, [(1, 1), (-1, 1), (-1, -1)], [(4, 4), (0, 4), (0, 0)], 4)
    assert paths.shared_blocks.tolist() == [4, 4, 3]
    assert common_path(path(paths, 0), path(paths, 1)) == 4
    assert common_path(path(paths, 0), path(paths, 2)) == 3


def test_without_segments_nothing_is_shared():
    tokens = np.array([40, 3, 16])
    zero = np.zeros(3, dtype=np.int64)
    paths = content_paths(None, tokens, zero, np.array([0, 2, 16]), 16)
    assert [path(paths, i) for i in range(3)] == [[(0, 2)], [], [(1, 2)]]
    assert paths.shared_blocks.tolist() == [0, 0, 0]
    assert (len(paths), paths.num_nodes) == (3, 2)


def test_bad_columns_are_refused():
    zero, one = np.zeros(1, dtype=np.int64), np.ones(1, dtype=np.int64)
    segments = PromptSegments.from_lists([[(0, 5)]])
    with pytest.raises(ValueError, match="add up"):
        content_paths(segments, one, zero, zero, 16)
    with pytest.raises(ValueError, match="tokens"):
        content_paths(None, one << 31, zero, zero, 16)
