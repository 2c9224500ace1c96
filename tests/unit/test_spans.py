"""Closed forms of a span against walking through its iterations one by one."""

import numba
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from simulator.engine import spans
from simulator.engine.state import STATE

EXAMPLES = settings(max_examples=150, deadline=None)

# Kernels are for other kernels to call: these are.
end_s = numba.njit(lambda s, j: spans.end_s(s, j))
iterations_done = numba.njit(lambda s, t_s: spans.iterations_done(s, t_s))
iterations_until_shortage = numba.njit(lambda s, phases: spans.iterations_until_shortage(s, phases))


@st.composite
def running_spans(draw):
    """A span of k iterations of a, a + b, a + 2b, ... seconds, begun any time."""
    s = np.zeros(1, dtype=STATE)[0]
    s["now_s"] = draw(st.sampled_from([0.0, 0.3, 4e5]) | st.floats(0.0, 1e5))
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
    return s["now_s"] + j * (s["a_s"] + s["b_s"] * (0.5 * (j - 1)))


@given(running_spans())
@EXAMPLES
def test_the_end_of_an_iteration_is_the_sum_of_those_before(s):
    durations = s["a_s"] + s["b_s"] * np.arange(s["k"])
    walked = s["now_s"] + np.cumsum(durations)
    for j in {1, int(s["k"]) // 2 + 1, int(s["k"])}:
        assert end_s(s, j) == pytest.approx(walked[j - 1], rel=1e-11)
    assert end_s(s, 0) == s["now_s"]


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
    s = np.zeros(1, dtype=STATE)[0]
    s["block_size"] = size
    s["n"] = draw(st.integers(0, 1000))
    s["num_decodes"] = len(contexts)
    s["free_blocks"] = draw(st.integers(0, 100))
    phases = np.zeros(size, dtype=np.int64)
    for context in contexts:
        phases[(s["n"] - context) % size] += 1
    return s, phases, contexts


def blocks(context: int, size: int) -> int:
    return -(-context // size)


@given(batches(), st.integers(0, 200))
@EXAMPLES
def test_blocks_taken_are_those_the_contexts_grow_by(batch, j):
    """The first iteration's blocks are taken when it is decided; j more iterations follow it."""
    s, phases, contexts = batch
    size = int(s["block_size"])
    grown = sum(blocks(c + 1 + j, size) - blocks(c + 1, size) for c in contexts)
    assert spans.blocks_taken(s, phases, j) == grown


@given(batches())
@EXAMPLES
def test_the_span_runs_until_an_iteration_finds_too_few_blocks(batch):
    s, phases, contexts = batch
    size = int(s["block_size"])
    k, free = 1, int(s["free_blocks"])
    while True:
        need = sum(blocks(c + k + 1, size) - blocks(c + k, size) for c in contexts)
        if need > free:
            break
        free -= need
        k += 1
    assert iterations_until_shortage(s, phases) == k


def test_without_decodes_there_is_no_shortage_to_foresee():
    s = np.zeros(1, dtype=STATE)[0]
    s["block_size"] = 16
    assert iterations_until_shortage(s, np.zeros(16, dtype=np.int64)) == 1
