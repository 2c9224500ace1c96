"""What a request would take alone: against the engine, the cost table and loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.cost.cost_table import CostTable
from simulator.cost.terms import chunk_terms
from simulator.engine.config import EngineConfig
from simulator.engine.request import new_requests
from simulator.metrics.alone import alone_s
from simulator.metrics.prefill import chunk_tokens, chunks, mean_terms, terms
from simulator.testing import serve

BUDGET = 96


def cost(floor_s: float = 0.0, window_tokens: int = 0, slope_s: float = 2e-5) -> CostTable:
    steps = np.arange(BUDGET + 1)
    return CostTable(
        token_s=0.004 + 1e-4 * steps + 0.003 * (steps > 32),
        seq_s=1e-4 * np.arange(5),
        decode_fixed_s=2e-3 + 1e-4 * np.arange(5),
        decode_context_s=np.full(5, slope_s),
        prefill_s=np.array([1e-3, 1e-5, 1e-6, 3e-7, 2e-6, 5e-7]),
        decode_window_s=np.full(5, 3e-5 if window_tokens else 0.0),
        floor_s=np.full(5, floor_s),
        window_tokens=window_tokens,
    )


def by_loop(table: CostTable, prompt: int, output: int, size: int) -> float:
    total, done = 0.0, 0
    while done < prompt:
        new = min(size, prompt - done)
        done += new
        total += table.iteration_s(0, 0, ((new, done),))
    return total + sum(table.iteration_s(1, prompt + j) for j in range(1, output))


lengths = st.lists(st.tuples(st.integers(1, 400), st.integers(1, 300)), min_size=1, max_size=6)


@given(
    lengths,
    st.sampled_from([0, 1, 40, 250, 5000]),
    st.sampled_from([0.0, 0.0075, 0.012, 1.0]),
    st.sampled_from([0.0, 2e-5]),
    st.sampled_from([7, BUDGET]),
)
def test_closed_form_is_the_sum_over_iterations(pairs, window, floor_s, slope_s, size):
    table = cost(floor_s, window, slope_s)
    prompt, output = np.array(pairs, np.int64).T
    expected = [by_loop(table, p, o, size) for p, o in pairs]
    np.testing.assert_allclose(alone_s(table, prompt, output, size), expected, rtol=1e-12)


@pytest.mark.parametrize("async_scheduling", [False, True])
@pytest.mark.parametrize("spares", [False, True])
def test_it_is_what_the_engine_takes(async_scheduling, spares):
    config = EngineConfig(
        num_gpu_blocks=200,
        max_model_len=1500,
        max_num_seqs=4,
        max_num_batched_tokens=BUDGET,
        window_tokens=250,
        kv_groups_window=1,
        async_scheduling=async_scheduling,
        long_prefill_token_threshold=60,
        long_prefill_spares_lone_request=spares,
    )
    prompt = np.array([1, 59, 61, 96, 97, 300, 700])
    output = np.array([1, 2, 900, 40, 200, 1, 500])
    table = cost(0.012, 250)
    requests = new_requests(1000.0 * np.arange(7), prompt, output)  # one after the other
    serve(config, table, requests)
    got = alone_s(table, prompt, output, chunk_tokens(config))
    np.testing.assert_allclose(got, requests["finish_s"] - requests["arrival_s"], rtol=1e-9)


def test_what_a_lone_request_gets_in_an_iteration():
    base = {"num_gpu_blocks": 99, "max_model_len": 500, "max_num_batched_tokens": 256}
    loud = {"long_prefill_token_threshold": 100, "long_prefill_spares_lone_request": False}
    assert chunk_tokens(EngineConfig(**base)) == 256
    assert chunk_tokens(EngineConfig(**base, long_prefill_token_threshold=100)) == 256
    assert chunk_tokens(EngineConfig(**base, **loud)) == 100
    loud["long_prefill_token_threshold"] = 1000
    assert chunk_tokens(EngineConfig(**base, **loud)) == 256
    loud |= {"long_prefill_token_threshold": 100, "long_prefill_token_threshold_adaptive": True}
    assert chunk_tokens(EngineConfig(**base, **loud)) == 256


def test_chunks_of_prompts_by_hand():
    seen = [
        tuple(each.tolist() for each in chunk)
        for chunk in chunks(np.array([10, 4, 25, 7]), np.array([0, 0, 16, 7]), 4)
    ]
    assert seen == [
        ([0, 1, 2], [4, 4, 4], [4, 4, 20]),
        ([0, 2], [4, 4], [8, 24]),
        ([0, 2], [2, 1], [10, 25]),
    ]


@given(
    st.lists(st.tuples(st.integers(1, 90), st.integers(0, 90)), min_size=1, max_size=5),
    st.sampled_from([0, 1, 30, 500]),
)
def test_terms_are_those_of_the_cost_model(pairs, window):
    new = np.array([n for n, _ in pairs])
    context = np.array([n + before for n, before in pairs])
    expected = [[1.0, *chunk_terms(n, n + before, window)] for n, before in pairs]
    np.testing.assert_allclose(terms(new, context, window), expected)


def test_mean_terms_by_hand():
    """Prompts of 6 (4 cached) and 5 tokens, 3 at a time: chunks (2, 6), (3, 3), (2, 5)."""
    got = mean_terms(np.array([6, 5, 2]), np.array([4, 0, 2]), 3, 0)
    pairs = (5 + 6) + (1 + 2 + 3) + (4 + 5)
    np.testing.assert_allclose(got, np.array([3, 7, 14, pairs, 0, 0]) / 7)
    assert mean_terms(np.array([2]), np.array([2]), 3, 0).tolist() == [0.0] * 6
