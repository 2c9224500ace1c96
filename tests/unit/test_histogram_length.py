"""Lengths from a measured histogram: whatever the bins, the mean asked for is the mean drawn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from simulator.rng import uniforms
from workloads.laws.histogram import HistogramLength
from workloads.lengths import LengthLaw, UniformLength

ADAPTER = TypeAdapter(LengthLaw)


def grid(n):
    return (np.arange(n) + 0.5) / n


@st.composite
def histograms(draw):
    bins = draw(st.integers(1, 8))
    widths = draw(st.lists(st.floats(0.3, 400), min_size=bins, max_size=bins))
    first = draw(st.floats(0, 200))
    counts = draw(st.lists(st.integers(0, 50), min_size=bins, max_size=bins).filter(any))
    low = draw(st.integers(0, 30))
    high = draw(st.none() | st.integers(low, 900))
    edges = np.concatenate([[first], first + np.cumsum(widths)]).tolist()
    return {"edges": edges, "counts": counts, "min": low, "max": high}


@settings(deadline=None)
@given(histograms())
def test_mean_survival_and_draws_are_of_one_law(content):
    law = HistogramLength(**content)
    low, high = law.support()
    top = min(high, int(max(content["edges"])) + 2)
    tokens = np.arange(low, max(top, low))
    token_by_token = low + law.survival(tokens).sum()
    assert law.mean() == pytest.approx(token_by_token, rel=1e-9, abs=1e-9)
    n = 20_000
    drawn = law.quantile(grid(n))
    assert low <= drawn.min()
    assert drawn.max() <= high
    reach = max(content["edges"]) + 1
    assert abs(drawn.mean() - law.mean()) <= reach / n + 1e-9
    if len(tokens):
        above = (drawn[:, None] > tokens[:40]).mean(axis=0)
        np.testing.assert_allclose(above, law.survival(tokens[:40]), atol=2 / n)


@settings(deadline=None)  # the first call imports scipy.optimize
@given(histograms(), st.floats(0.01, 0.99))
def test_stretched_to_any_mean_between_the_bounds(content, part):
    low = content["min"]
    high = content["max"] if content["max"] is not None else 5000
    target = low + part * (high - low)
    if not low < target < high:
        return
    law = HistogramLength(**content | {"mean_tokens": target})
    assert law.mean() == pytest.approx(target, rel=1e-9, abs=1e-9)


def test_a_uniform_histogram_is_a_uniform_law():
    histogram = HistogramLength(edges=[9.5, 20.5], counts=[3])
    uniform = UniformLength(min=10, max=20)
    u = uniforms(0, "answer", "default", 1000)[:, 0]
    assert np.array_equal(histogram.quantile(u), uniform.quantile(u))
    assert histogram.mean() == pytest.approx(uniform.mean())


def test_empty_bins_are_never_drawn():
    law = HistogramLength(edges=[10, 20, 30, 40], counts=[1, 0, 1])
    drawn = law.quantile(grid(1001))
    assert not ((drawn > 20) & (drawn < 30)).any()
    edge = np.array([0.5, np.nextafter(0.5, 1)])
    assert law.quantile(edge).tolist() == [20, 30]


def test_the_cap_takes_what_lies_beyond_and_the_mean_holds():
    edges, counts = [0.0, 1000.0, 30_000.0], [90, 10]
    law = HistogramLength(edges=edges, counts=counts, max=4096, mean_tokens=800.0)
    drawn = law.quantile(grid(200_000))
    assert drawn.max() == 4096
    assert (drawn == 4096).mean() == pytest.approx(law.survival(4095), abs=1e-5)
    assert (drawn == 4096).mean() > 0.05
    assert drawn.mean() == pytest.approx(800.0, rel=1e-4)


def test_it_is_one_of_the_laws_of_an_experiment():
    content = {"kind": "histogram", "edges": [1, 10, 100], "counts": [5, 1], "mean_tokens": 40}
    law = ADAPTER.validate_python(content)
    assert isinstance(law, HistogramLength)
    assert ADAPTER.validate_python(law.model_dump(mode="json")) == law
    assert "histogram of 2 bins, mean 40.0" in law.describe()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"edges": [1, 2], "counts": [1, 2]}, "2 counts need 3 edges, there are 2"),
        ({"edges": [2, 1], "counts": [1]}, "ascending"),
        ({"edges": [1, 1], "counts": [1]}, "ascending"),
        ({"edges": [1, 2], "counts": [0]}, "must not all be 0"),
        ({"edges": [1, 2], "counts": [-1]}, "greater than or equal to 0"),
        ({"edges": [-1, 2], "counts": [1]}, "greater than or equal to 0"),
        ({"edges": [1], "counts": []}, "at least 2 items"),
        ({"edges": [1, 2], "counts": [1], "mean_tokens": 0}, "greater than 0"),
        ({"edges": [1, 2], "counts": [1], "max": 50, "mean_tokens": 60}, "no stretching"),
        ({"edges": [1, 2], "counts": [1], "min": 5, "mean_tokens": 4}, "no stretching"),
        ({"edges": [1, 2], "counts": [1], "min": 5, "max": 4}, "below min"),
        ({"edges": [1, float("nan")], "counts": [1]}, "finite"),
        ({"edges": [1, 2], "counts": [1], "cap": 4}, "Extra inputs"),
    ],
)
def test_bad_histograms_are_refused(content, message):
    with pytest.raises(ValidationError, match=message):
        ADAPTER.validate_python({"kind": "histogram"} | content)
