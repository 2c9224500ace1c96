"""The histogram of inter-token gaps: where a gap goes, and a whole span at a time."""

import math

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.engine import itl
from simulator.engine.itl import BIN_WIDTH, EDGES_S, MAX_S, MIN_S, NUM_BINS, bin_of
from simulator.engine.state import STATE

# Kernels are for other kernels to call: these are.
add_affine_gaps = numba.njit(lambda row, a_s, b_s, k, w: itl.add_affine_gaps(row, a_s, b_s, k, w))
slice_of = numba.njit(lambda s, rows, t_s: itl.slice_of(s, rows, t_s))

GAPS = st.floats(math.log(MIN_S), math.log(MAX_S)).map(math.exp)


def test_bins_cover_what_a_gap_can_be_half_a_per_cent_each():
    assert len(EDGES_S) == NUM_BINS + 1
    assert EDGES_S[0] == pytest.approx(MIN_S)
    assert EDGES_S[-2] < MAX_S <= EDGES_S[-1] * (1 + 1e-12)
    np.testing.assert_allclose(EDGES_S[1:] / EDGES_S[:-1], math.exp(BIN_WIDTH), rtol=1e-12)
    assert math.exp(BIN_WIDTH) - 1 < 0.0051


@given(GAPS)
@settings(max_examples=200, deadline=None)
def test_a_gap_lies_between_the_edges_of_its_bin(gap_s):
    i = bin_of(gap_s)
    assert EDGES_S[i] * (1 - 1e-12) <= gap_s <= EDGES_S[i + 1] * (1 + 1e-12)


@pytest.mark.parametrize("gap_s", [0.0, -1.0, MIN_S / 2, MIN_S])
def test_gaps_too_short_go_to_the_first_bin(gap_s):
    assert bin_of(gap_s) == 0


@pytest.mark.parametrize("gap_s", [MAX_S, 10 * MAX_S, 1e300])
def test_gaps_too_long_go_to_the_last_bin(gap_s):
    assert bin_of(gap_s) == NUM_BINS - 1


@given(
    a_s=GAPS | st.floats(0.0, 1.0),
    b_s=st.sampled_from([0.0, 1e-18]) | st.floats(0.0, 1e-2) | st.floats(0.0, 1e3),
    k=st.integers(1, 4) | st.integers(1, 20_000),
    weight=st.integers(1, 300),
)
@settings(max_examples=200, deadline=None)
def test_a_span_of_gaps_is_counted_as_one_by_one(a_s, b_s, k, weight):
    counts = np.zeros(NUM_BINS, dtype=np.int64)
    add_affine_gaps(counts, a_s, b_s, k, weight)
    assert counts.sum() == k * weight
    assert (counts >= 0).all()

    gaps = a_s + b_s * np.arange(k)
    inner = EDGES_S[1:-1]  # below the first and above the last edge go to the end bins
    below = np.cumsum(counts)[:-1]
    # A gap on an edge, to rounding, may be counted on either side of it.
    assert (below >= weight * np.searchsorted(gaps, inner * (1 - 1e-11), side="left")).all()
    assert (below <= weight * np.searchsorted(gaps, inner * (1 + 1e-11), side="right")).all()


def test_spans_add_up():
    counts = np.zeros(NUM_BINS, dtype=np.int64)
    add_affine_gaps(counts, 0.02, 0.0, 7, 3)
    add_affine_gaps(counts, 0.02, 0.0, 1, 2)
    assert counts[bin_of(0.02)] == counts.sum() == 23


def state(start_s: float, length_s: float):
    s = np.zeros(1, dtype=STATE)[0]
    s["itl_start_s"], s["itl_length_s"] = start_s, length_s
    return s


@pytest.mark.parametrize(
    ("t_s", "row"), [(0.0, 24), (100.0, 0), (101.9, 0), (102.1, 1), (147.9, 23), (148.0, 24)]
)
def test_rows_are_equal_slices_of_time(t_s, row):
    assert slice_of(state(100.0, 48.0), np.zeros((25, 2), dtype=np.int64), t_s) == row


def test_later_and_unsliced_gaps_have_a_row_too():
    rows = np.zeros((25, 2), dtype=np.int64)
    assert slice_of(state(100.0, 48.0), rows, 1e9) == 24
    assert slice_of(state(0.0, 0.0), rows, 5.0) == 24
