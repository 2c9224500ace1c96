"""Training against inference: closed forms, by hand and against each other."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.metrics.inference_economics import (
    amortised_training_flops,
    crossover_queries,
    inference_share,
    serving_flops,
    thinking_for_equal_flops,
    training_flops,
)

POSITIVE = st.floats(1.0, 1e15)


def test_by_hand():
    assert training_flops(405e9, 15.6e12) == pytest.approx(3.79e25, rel=1e-3)
    assert serving_flops(70e9, 8000) == 1.12e15
    assert amortised_training_flops(1e9, 1e12, 6) == 1e21
    assert crossover_queries(15.6e12, 5500) == pytest.approx(8.509e9, rel=1e-3)
    assert thinking_for_equal_flops(70e9, 1000, 7e9) == 10_000


@given(POSITIVE, POSITIVE, POSITIVE)
def test_at_the_crossover_half_of_all_is_inference(parameters, training_tokens, tokens):
    queries = crossover_queries(training_tokens, tokens)
    assert inference_share(training_tokens, tokens, queries) == pytest.approx(0.5)
    served = queries * serving_flops(parameters, tokens)
    assert served == pytest.approx(training_flops(parameters, training_tokens))
    share = amortised_training_flops(parameters, training_tokens, queries)
    assert share == pytest.approx(serving_flops(parameters, tokens))


def test_edges():
    assert math.isinf(crossover_queries(1e12, 0))
    assert inference_share(0, 0, 0) == 0.0
    assert inference_share(1e12, 100, 0) == 0.0
    assert inference_share(0, 100, 5) == 1.0
    shares = inference_share(1e12, np.array([100, 1000]), 1e9)
    assert shares.shape == (2,)
    assert shares[0] < shares[1]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: training_flops(-1, 1), "parameters"),
        (lambda: serving_flops(1, math.nan), "tokens"),
        (lambda: amortised_training_flops(1, 1, 0), "at least one query"),
        (lambda: thinking_for_equal_flops(1, 1, 0), "has parameters"),
    ],
)
def test_nonsense_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
