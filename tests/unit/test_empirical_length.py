"""Lengths given by their quantiles or one by one."""

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from workloads.laws.empirical import EmpiricalLength, QuantilesLength
from workloads.lengths import LengthLaw, LognormalLength

ADAPTER = TypeAdapter(LengthLaw)


def grid(n):
    return (np.arange(n) + 0.5) / n


def test_quantiles_come_back():
    tokens = [12, 90, 400, 2600, 9000, 32768]
    law = QuantilesLength(probabilities=[0, 0.1, 0.5, 0.9, 0.99, 1], tokens=tokens)
    assert law.support() == (12, 32768)
    inner = np.array([0.1, 0.5, 0.9, 0.99])
    assert law.quantile(inner).tolist() == tokens[1:-1]
    # half way between two probabilities lies the geometric mean
    assert law.quantile(np.array([0.3, 0.7])).tolist() == [round((90 * 400) ** 0.5), 1020]
    drawn = law.quantile(grid(200_000))
    assert np.quantile(drawn, inner) == pytest.approx(tokens[1:-1], rel=1e-3)
    assert drawn.mean() == pytest.approx(law.mean(), abs=32768 / 400_000)


def test_many_quantiles_are_the_law_they_were_taken_from():
    whole = LognormalLength(mu=6.0, sigma=1.0, max=20_000)
    below = np.linspace(0, 1, 201)
    tokens = [1.0, *whole.quantile(below[1:-1]).tolist(), 20_000.0]
    law = QuantilesLength(probabilities=below.tolist(), tokens=tokens)
    u = grid(5000)[50:-50]
    assert np.abs(np.log(law.quantile(u) / whole.quantile(u))).max() < 0.06
    assert law.mean() == pytest.approx(whole.mean(), rel=0.05)


def test_equal_quantiles_are_a_lump():
    law = QuantilesLength(probabilities=[0, 0.2, 0.5, 0.9, 1], tokens=[0, 0, 8, 50, 50], min=0)
    drawn = law.quantile(grid(1000))
    assert (drawn == 0).sum() >= 200
    assert (drawn == 50).sum() == pytest.approx(100, abs=10)
    assert law.survival([-1, 49, 50]) == pytest.approx([1, 0.1, 0], abs=0.01)
    constant = QuantilesLength(probabilities=[0, 1], tokens=[7, 7])
    assert constant.quantile(grid(10)).tolist() == [7] * 10
    assert constant.mean() == 7


def test_bounds_cut_quantiles():
    law = QuantilesLength(probabilities=[0, 1], tokens=[1, 1000], min=10, max=100)
    drawn = law.quantile(grid(3000))
    assert (drawn == 10).mean() == pytest.approx(np.log(10.5) / np.log(1000), abs=1e-3)
    assert (drawn == 100).mean() == pytest.approx(1 - np.log(99.5) / np.log(1000), abs=1e-3)


def test_counted_lengths_come_up_by_their_weights():
    law = EmpiricalLength(tokens=[30, 10, 20, 10], weights=[2, 1, 0, 1])
    assert law.support() == (10, 30)
    assert np.bincount(law.quantile(grid(1000)))[[10, 20, 30]].tolist() == [500, 0, 500]
    assert law.mean() == 20
    assert law.survival([9, 10, 29, 30]).tolist() == [1, 0.5, 0.5, 0]
    assert law.describe() == "empirical, 4 values, 10 to 30 tokens"


def test_counted_lengths_without_weights_are_resampled():
    tokens = [5, 5, 5, 80, 4000]
    law = EmpiricalLength(tokens=tokens)
    assert sorted(law.quantile(grid(5)).tolist()) == tokens
    assert law.mean() == pytest.approx(np.mean(tokens))


def test_counted_lengths_are_set_to_the_bounds():
    law = EmpiricalLength(tokens=[0, 50, 900], max=100)
    assert law.support() == (1, 100)
    assert law.quantile(grid(3)).tolist() == [1, 50, 100]
    assert law.mean() == pytest.approx(151 / 3)
    whole = EmpiricalLength(tokens=[0, 50, 900], min=0)
    assert whole.quantile(grid(3)).tolist() == [0, 50, 900]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"probabilities": [0.1, 1], "tokens": [1, 2]}, "begin with 0 and end with 1"),
        ({"probabilities": [0, 0.9], "tokens": [1, 2]}, "begin with 0 and end with 1"),
        ({"probabilities": [0, 0.5, 0.5, 1], "tokens": [1, 2, 3, 4]}, "must be ascending"),
        ({"probabilities": [0, 1], "tokens": [2, 1]}, "must not descend"),
        ({"probabilities": [0, 0.5, 1], "tokens": [1, 2]}, "3 probabilities need as many tokens"),
        ({"probabilities": [0, 2], "tokens": [1, 2]}, "less than or equal to 1"),
        ({"probabilities": [0, 1], "tokens": [-1, 2]}, "greater than or equal to 0"),
        ({"probabilities": [0, 1], "tokens": [1, 2], "min": 3, "max": 2}, "below min"),
        ({"probabilities": [0, 1], "tokens": [1, 2], "cap": 3}, "Extra inputs"),
    ],
)
def test_bad_quantiles_are_refused(content, message):
    with pytest.raises(ValidationError, match=message):
        ADAPTER.validate_python({"kind": "quantiles"} | content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"tokens": []}, "at least 1 item"),
        ({"tokens": [1, 2], "weights": [1]}, "2 tokens need as many weights, there are 1"),
        ({"tokens": [1, 2], "weights": [0, 0]}, "must not all be 0"),
        ({"tokens": [1, 2], "weights": [1, -1]}, "greater than or equal to 0"),
        ({"tokens": [1.5]}, "valid integer"),
        ({"tokens": [-1]}, "greater than or equal to 0"),
        ({"tokens": [2**31]}, "less than or equal to"),
        ({"tokens": [1], "min": 3, "max": 2}, "below min"),
    ],
)
def test_bad_counts_are_refused(content, message):
    with pytest.raises(ValidationError, match=message):
        ADAPTER.validate_python({"kind": "empirical"} | content)
