import math

import numpy as np
import pytest

from simulator.errors import InputError
from simulator.quality import AccuracyCurve

CURVE = AccuracyCurve(0.1, 0.9, 2000.0, 1.2, onset_tokens=300.0)
DECLINING = AccuracyCurve(0.0, 0.927, 46.4, 1.0, decline_tokens=58358.0)


def test_values_by_hand():
    curve = AccuracyCurve(0.2, 0.8, 1000.0, 2.0)
    assert curve.accuracy([0, 1000, 3000]) == pytest.approx([0.2, 0.5, 0.2 + 0.6 * 0.9])


def test_nothing_before_the_onset():
    assert CURVE.accuracy([0, 300]).tolist() == [0.1, 0.1]
    assert CURVE.accuracy(2300) == pytest.approx(0.5)


def test_only_forced_lengths_decline():
    tokens = np.array([385.0, 1100.0, 15980.0])
    assert np.all(np.diff(DECLINING.accuracy(tokens)) > 0)
    # the three points of arXiv 2506.04210 that the parameters were solved from
    assert DECLINING.accuracy(tokens, forced=True) == pytest.approx([0.822, 0.873, 0.703], abs=2e-4)


def test_a_flag_for_each():
    mixed = DECLINING.accuracy(15980.0, forced=[False, True])
    assert mixed[0] == DECLINING.accuracy(15980.0)
    assert mixed[1] == DECLINING.accuracy(15980.0, True)
    assert CURVE.accuracy(100.0, forced=[True, False]).shape == (2,)


def test_inverse():
    tokens = np.geomspace(301, 1e5, 50)
    assert CURVE.tokens_for(CURVE.accuracy(tokens)) == pytest.approx(tokens, rel=1e-9)
    assert CURVE.tokens_for([0.05, 0.1, 0.9, 0.95]).tolist() == [0.0, 0.0, math.inf, math.inf]


def test_a_model_that_does_not_think():
    flat = AccuracyCurve.flat(0.4)
    assert flat.accuracy([0, 10, 1e6]).tolist() == [0.4] * 3
    assert flat.tokens_for([0.3, 0.4, 0.5]).tolist() == [0.0, 0.0, math.inf]


def test_extreme_parameters_stay_finite():
    steep = AccuracyCurve(0.0, 1.0, 1e5, 100.0, decline_tokens=1.0, decline_steepness=50.0)
    assert steep.accuracy([0.0, 1.0, 1e9]).tolist() == [0.0, 0.0, 1.0]
    assert steep.accuracy([1e9], forced=True).tolist() == [0.0]


def test_scaled():
    assert CURVE.scaled(0.5).accuracy(2300) == pytest.approx(0.25)
    with pytest.raises(InputError, match="from 0 to 1"):
        CURVE.scaled(1.1)


def test_everything_wrong_at_once():
    with pytest.raises(InputError) as caught:
        AccuracyCurve(0.5, 0.4, -1.0, math.nan, -2.0, 0.0, math.inf)
    assert [problem.field for problem in caught.value.problems] == [
        "half_tokens",
        "steepness",
        "onset_tokens",
        "decline_tokens",
        "decline_steepness",
        "ceiling",
    ]
