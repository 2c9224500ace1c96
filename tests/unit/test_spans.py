"""Closed forms of a span against walking through its iterations one by one."""

import numba
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from simulator.cost.kv_groups import KvGroups
from simulator.engine import queueing, spans, starting
from simulator.engine.request import NEVER
from simulator.engine.state import STATE

EXAMPLES = settings(max_examples=150, deadline=None)

# Kernels are for other kernels to call: these are.
end_s = numba.njit(lambda s, j: spans.end_s(s, j))
iterations_done = numba.njit(lambda s, t_s: spans.iterations_done(s, t_s))
iterations_until_shortage = numba.njit(lambda s, phases: spans.iterations_until_shortage(s, phases))
context_read = numba.njit(lambda s, j: spans.context_read(s, j))
blocks_for = numba.njit(lambda s, tokens: queueing.blocks_for(s, tokens))
window_pairs = numba.njit(lambda n, context, window: starting.window_pairs(n, context, window))
flat_iterations = numba.njit(lambda s, floor_s: starting.flat_iterations(s, floor_s))


@st.composite
def running_spans(draw):
    """A span of k iterations of a, a + b, a + 2b, ... seconds, begun any time."""
    s = np.zeros(1, dtype=STATE)[0]
    s["start_s"] = draw(st.sampled_from([0.0, 0.3, 4e5]) | st.floats(0.0, 1e5))
    s["a_s"] = draw(st.floats(1e-5, 0.5))
    s["b_s"] = draw(st.sampled_from([0.0, 1e-12]) | st.floats(0.0, 1e-3))
    s["k"] = draw(st.integers(1, 5) | st.integers(1, 30_000))
    return s


@st.composite
def spans_and_times(draw):
    """A span and a moment: anywhere near it, at a boundary, or a hair's breadth from one."""
    s = draw(running_spans())
    ends = boundaries(s)
    if draw(st.booleans()):
        t_s = draw(st.floats(-0.1, 1.2)) * (ends[-1] - ends[0]) + ends[0]
    else:
        boundary = ends[draw(st.integers(0, len(ends) - 1))]
        near = boundary * (1.0 + draw(st.sampled_from([0.0, 1e-16, 1e-12, 0.9e-9, 1.1e-9, 1e-6])))
        t_s = draw(st.sampled_from([near, 2.0 * boundary - near]))
    assume(t_s >= 0.0)
    return s, t_s


def boundaries(s) -> np.ndarray:
    """When the span began and its k iterations ended."""
    j = np.arange(s["k"] + 1)
    return s["start_s"] + j * (s["a_s"] + s["b_s"] * (0.5 * (j - 1)))


@given(running_spans())
@EXAMPLES
def test_the_end_of_an_iteration_is_the_sum_of_those_before(s):
    durations = s["a_s"] + s["b_s"] * np.arange(s["k"])
    walked = s["start_s"] + np.cumsum(durations)
    for j in {1, int(s["k"]) // 2 + 1, int(s["k"])}:
        assert end_s(s, j) == pytest.approx(walked[j - 1], rel=1e-11)
    assert end_s(s, 0) == s["start_s"]


@given(spans_and_times())
@EXAMPLES
def test_something_is_seen_at_the_first_boundary_within_tolerance(case):
    s, t_s = case
    ends = boundaries(s)[1:]
    reach = ends + 1e-9 * ends + 1e-12
    seen = np.flatnonzero(reach >= t_s)
    expected = int(seen[0]) + 1 if len(seen) else int(s["k"])
    assert spans.boundary_at(s, t_s) == expected


@given(spans_and_times())
@EXAMPLES
def test_iterations_done_are_those_that_have_ended(case):
    s, t_s = case
    assert iterations_done(s, t_s) == np.count_nonzero(boundaries(s)[1:] <= t_s)


def test_a_boundary_shared_by_rounding_error_is_the_same_boundary():
    s = np.zeros(1, dtype=STATE)[0]
    s["a_s"], s["k"] = 0.1, 10
    assert spans.boundary_at(s, 0.3) == 3
    assert spans.boundary_at(s, 0.30000000000000004) == 3  # 0.1 + 0.1 + 0.1
    assert spans.boundary_at(s, 0.300001) == 4
    assert spans.boundary_at(s, 0.0) == 1, "the iteration under way ends first"


@st.composite
def batches(draw):
    """Decoding requests by what their context is modulo the block size, at iteration n."""
    size = draw(st.sampled_from([1, 2, 16]))
    contexts = draw(st.lists(st.integers(0, 100), min_size=1, max_size=12))
    full, window, window_tokens = draw(
        st.just((1, 0, 0)) | st.tuples(st.integers(0, 2), st.integers(1, 3), st.integers(1, 150))
    )
    s = np.zeros(1, dtype=STATE)[0]
    s["block_size"] = size
    s["kv_groups_full"] = full
    s["kv_groups_window"] = window
    s["window_tokens"] = window_tokens
    s["num_below"] = sum(context < window_tokens for context in contexts)
    s["decode_context"] = sum(contexts)
    s["n"] = draw(st.integers(0, 1000))
    s["num_decodes"] = len(contexts)
    s["free_blocks"] = draw(st.integers(0, 100))
    phases = np.zeros(size, dtype=np.int64)
    for context in contexts:
        phases[(s["n"] - context) % size] += full + (context < window_tokens) * window
    return s, phases, contexts


def blocks(context: int, s) -> int:
    """Blocks of one request, group by group."""
    size = int(s["block_size"])
    seen = [context] * s["kv_groups_full"]
    seen += [min(context, int(s["window_tokens"]))] * s["kv_groups_window"]
    return sum(-(-each // size) for each in seen)


def knee(s, contexts) -> int:
    """The iteration that fills the first window to be filled, which ends a span."""
    return min(
        (int(s["window_tokens"]) - c for c in contexts if c < s["window_tokens"]), default=10**6
    )


@given(batches(), st.integers(0, 150))
@EXAMPLES
def test_a_request_holds_the_blocks_of_all_its_groups(batch, tokens):
    s, _, _ = batch
    groups = KvGroups(
        1, int(s["kv_groups_full"]), int(s["kv_groups_window"]), int(s["window_tokens"])
    )
    assert blocks_for(s, tokens) == blocks(tokens, s) == groups.blocks(tokens, int(s["block_size"]))


@given(batches(), st.integers(0, 200))
@EXAMPLES
def test_blocks_taken_are_those_the_contexts_grow_by(batch, j):
    """The first iteration's blocks are taken when it is decided; j more iterations follow it."""
    s, phases, contexts = batch
    j = min(j, knee(s, contexts) - 1)
    grown = sum(blocks(c + 1 + j, s) - blocks(c + 1, s) for c in contexts)
    assert spans.blocks_taken(s, phases, j) == grown


@given(batches())
@EXAMPLES
def test_the_span_runs_until_an_iteration_finds_too_few_blocks(batch):
    s, phases, contexts = batch
    k, free = 1, int(s["free_blocks"])
    end = knee(s, contexts)
    while k < end:
        need = sum(blocks(c + k + 1, s) - blocks(c + k, s) for c in contexts)
        if need > free:
            break
        free -= need
        k += 1
        if k > 2000:  # all groups have a window, and all windows are full
            end = k
    assert min(iterations_until_shortage(s, phases), end) == k


@given(batches(), st.integers(0, 200))
@EXAMPLES
def test_the_context_read_is_summed_over_iterations(batch, j):
    s, _, contexts = batch
    assert context_read(s, j) == sum(c + i for c in contexts for i in range(1, j + 1))


@pytest.mark.parametrize("window", [1, 7, 100])
@pytest.mark.parametrize(("n", "context"), [(1, 1), (5, 5), (20, 26), (20, 20), (9, 200)])
def test_no_query_sees_more_than_its_window(n, context, window):
    seen = [min(j, window) for j in range(context - n + 1, context + 1)]
    assert window_pairs(n, context, window) == sum(seen)


@given(
    st.floats(1e-4, 1e-2), st.sampled_from([0.0, 1e-9]) | st.floats(1e-9, 1e-4), st.floats(0.0, 2.0)
)
@EXAMPLES
def test_below_the_floor_a_span_is_flat(a_s, b_s, share):
    s = np.zeros(1, dtype=STATE)[0]
    s["a_s"], s["b_s"] = a_s, b_s
    floor_s = share * a_s
    k = flat_iterations(s, floor_s)
    if share <= 1.0:
        assert (k, s["a_s"], s["b_s"]) == (NEVER, a_s, b_s)
        return
    assert (s["a_s"], s["b_s"]) == (floor_s, 0.0)
    if b_s == 0.0:
        assert k == NEVER
    else:  # iteration k is the last that is not above the floor, to rounding
        assert a_s + b_s * (k - 1) <= floor_s * (1 + 1e-12)
        assert a_s + b_s * k >= floor_s * (1 - 1e-12)


def test_without_decodes_there_is_no_shortage_to_foresee():
    s = np.zeros(1, dtype=STATE)[0]
    s["block_size"] = 16
    s["kv_groups_full"] = 1
    assert iterations_until_shortage(s, np.zeros(16, dtype=np.int64)) == 1
