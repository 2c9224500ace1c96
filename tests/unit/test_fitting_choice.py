"""Which law a workload gets: the best one if it is close, else the lengths' own quantiles."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.batch import MAX_TOKENS
from workloads.fitting.choice import fit_lengths, quantile_fields, quantile_misses
from workloads.fitting.ranking import as_law, ks_distance
from workloads.fitting.sample import LengthSample


def spiky(n: int = 20_000) -> np.ndarray:
    """A third of the lengths at favourites, as with prompts from templates."""
    rng = np.random.default_rng(0)
    lengths = np.rint(rng.lognormal(6.5, 1.1, n)).astype(np.int64) + 1
    chosen = rng.random(n) < 0.35
    return np.where(chosen, rng.choice([40, 1020, 1021, 4090], n), lengths)


def test_a_good_law_is_taken() -> None:
    lengths = np.rint(np.random.default_rng(0).lognormal(6, 1, 20_000)).astype(int) + 1
    fitted = fit_lengths(LengthSample.of(lengths))
    assert fitted.why == ""
    assert fitted.fields["kind"] == "lognormal"
    assert fitted.fields["min"] == lengths.min()
    assert fitted.fields["max"] == lengths.max()
    assert max(abs(miss) for miss in quantile_misses(fitted.sample, fitted.law).values()) < 0.05


def test_spikes_ask_for_quantiles() -> None:
    sample = LengthSample.of(spiky())
    fitted = fit_lengths(sample)
    assert fitted.fields["kind"] == "quantiles"
    assert fitted.why.startswith("KS")
    assert fitted.ks < 0.004
    assert fitted.law.mean() == pytest.approx(sample.mean, rel=0.01)
    for value in (40, 1020, 1021, 4090):  # as probable as they were
        drawn = fitted.law.survival(value - 1) - fitted.law.survival(value)
        assert drawn == pytest.approx((spiky() == value).mean(), abs=2e-4)


@pytest.mark.parametrize(
    "lengths",
    [
        np.arange(1, 400),
        np.repeat([3, 4, 5, 6, 7, 900], [50, 20, 10, 5, 1, 1]),
        np.array([0] * 50 + [1] * 3 + list(range(100, 160))),
        np.random.default_rng(0).integers(1, 100_000, 40),
        np.minimum(np.random.default_rng(0).geometric(0.02, 30_000), 200),
        spiky(500),
    ],
)
def test_quantiles_of_anything(lengths: np.ndarray) -> None:
    sample = LengthSample.of(lengths)
    law = as_law(quantile_fields(sample))
    assert law is not None
    assert law.support() == (lengths.min(), lengths.max())
    assert ks_distance(sample, law) < 1 / 100 + 1 / len(lengths)
    for p in (0.5, 0.9, 0.99):
        found = law.quantile(np.array([p - 1e-5]))[0]
        near = sample.quantile([p - 0.006, min(p + 0.006, 1)])
        assert near[0] <= found <= near[1]


def test_zeros_become_a_component_of_the_mixture() -> None:
    lengths = np.rint(np.random.default_rng(1).lognormal(7, 1, 5_000)).astype(int)
    lengths[:1500] = 0
    fitted = fit_lengths(LengthSample.of(lengths))
    assert fitted.why == ""
    assert fitted.fields["kind"] == "lognormal_mixture"
    assert fitted.fields["min"] == 0
    assert 1 - fitted.law.survival(0) == pytest.approx(0.3, abs=1e-3)
    assert fitted.ks < 0.02


def test_zeros_beside_another_law_ask_for_quantiles() -> None:
    lengths = np.rint(np.random.default_rng(1).gamma(2, 1000, 5_000)).astype(int)
    lengths[:1500] = 0
    fitted = fit_lengths(LengthSample.of(lengths))
    assert fitted.best is not None
    assert fitted.best.title == "gamma"
    assert fitted.fields["kind"] == "quantiles"
    assert "30.0 % of lengths are 0" in fitted.why
    assert 1 - fitted.law.survival(0) == pytest.approx(0.3, abs=1e-5)


@pytest.mark.parametrize(
    ("lengths", "fields"),
    [
        ([7, 7, 7], {"kind": "constant", "tokens": 7}),
        ([0, 0], {"kind": "constant", "tokens": 0}),
        ([9, 5, 9, 9], {"kind": "empirical", "tokens": [5, 9], "weights": [0.25, 0.75], "min": 5}),
        ([0, 3], {"kind": "empirical", "tokens": [0, 3], "weights": [0.5, 0.5], "min": 0}),
    ],
)
def test_few_lengths_are_listed(lengths: list[int], fields: dict) -> None:
    fitted = fit_lengths(LengthSample.of(lengths))
    assert fitted.fields == fields
    assert fitted.ks == pytest.approx(0, abs=1e-6)


def test_millions_of_rows_are_quick_because_they_are_binned() -> None:
    lengths = np.rint(np.exp(np.random.default_rng(0).normal(7, 1, 1_000_000))).astype(int) + 1
    sample = LengthSample.of(lengths)
    assert len(sample.bins.lower) < 2_500
    fitted = fit_lengths(sample)
    assert fitted.fields["kind"] == "lognormal"
    assert fitted.fields["mu"] == pytest.approx(7, abs=0.005)


@settings(max_examples=30, deadline=None)
@given(
    lengths=st.one_of(
        st.lists(st.integers(0, 30), min_size=1, max_size=60),
        st.lists(st.integers(1, MAX_TOKENS), min_size=1, max_size=60),
        st.lists(st.sampled_from([0, 1, 7, 4096, MAX_TOKENS]), min_size=1, max_size=60),
        st.lists(st.integers(10**6, 10**6 + 400), min_size=25, max_size=60, unique=True),
    )
)
def test_any_lengths_have_a_law_that_can_be_written(lengths: list[int]) -> None:
    sample = LengthSample.of(lengths)
    fitted = fit_lengths(sample)
    low, high = fitted.law.support()
    assert min(lengths) in (low, 0)
    assert high <= max(lengths)
    assert fitted.ks <= 1 / np.sqrt(len(lengths))
    assert fitted.law == as_law(fitted.fields)
