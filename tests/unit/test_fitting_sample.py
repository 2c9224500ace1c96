"""Weighted samples of lengths: quantiles, caps, and bins that keep the likelihood."""

import numpy as np
import pytest

from workloads.fitting.sample import LengthSample


def lognormal(n: int, mu: float = 7.0, sigma: float = 1.0, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).lognormal(mu, sigma, n)
    return np.maximum(np.rint(drawn), 1).astype(np.int64)


def test_weights_count_as_rows() -> None:
    rows = LengthSample.of([5, 3, 5, 5, 9])
    weighted = LengthSample.of([3, 9, 5, 7], [1.0, 1.0, 3.0, 0.0])
    for sample in (rows, weighted):
        assert sample.values.tolist() == [3, 5, 9]
        assert sample.weights.tolist() == [1, 3, 1]
        assert sample.total == 5
        assert sample.mean == pytest.approx(27 / 5)
        assert sample.cumulative.tolist() == pytest.approx([0.2, 0.8, 1])


def test_quantiles_are_lengths_that_occur() -> None:
    sample = LengthSample.of([1, 2, 3, 4])
    assert sample.quantile([0.0, 0.25, 0.26, 0.5, 0.99, 1.0]).tolist() == [1, 1, 2, 2, 4, 4]


@pytest.mark.parametrize(
    ("values", "weights", "message"),
    [
        ([], None, "no lengths"),
        ([1, -1], None, "must not be negative"),
        ([1, 2], [1.0], "as many as lengths"),
        ([1, 2], [1.0, -1.0], "as many as lengths"),
        ([1, 2], [0.0, 0.0], "as many as lengths"),
    ],
)
def test_impossible_samples_are_refused(values: list, weights: list | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LengthSample.of(values, weights)


def test_zeros_are_set_apart() -> None:
    sample = LengthSample.of([0, 0, 0, 7])
    assert sample.zero_share == 0.75
    assert sample.positive().values.tolist() == [7]
    with pytest.raises(ValueError, match="every length is 0"):
        LengthSample.of([0, 0]).positive()


@pytest.mark.parametrize("n", [1_000, 10_000, 100_000])
def test_a_lump_at_the_end_is_a_cap(n: int) -> None:
    lengths = lognormal(n)
    assert LengthSample.of(lengths).cap is None
    assert LengthSample.of(np.minimum(lengths, 8000)).cap == 8000


def test_a_cap_may_be_passed_by_a_token() -> None:
    lengths = np.minimum(lognormal(10_000), 8000)
    lengths[:3] = 8001
    assert LengthSample.of(lengths).cap == 8000


def test_what_is_no_cap() -> None:
    few = np.random.default_rng(0).geometric(0.3, 5000)
    assert LengthSample.of(few).cap is None
    even = np.random.default_rng(0).integers(1, 11, 5000)
    assert LengthSample.of(even).cap is None
    # some long prompts that come again, no two of them of one length
    repeated = np.concatenate((lognormal(4000), [191_372, 191_373, 191_374, 191_375, 191_376]))
    assert LengthSample.of(repeated).cap is None


def test_bins_hold_all_the_weight_and_tile_the_axis() -> None:
    sample = LengthSample.of(lognormal(50_000))
    bins = sample.bins
    assert bins.weights.sum() == sample.total
    assert (bins.lower < bins.upper).all()
    assert (bins.upper[:-1] <= bins.lower[1:]).all()
    assert len(bins.lower) < 2_500
    wide = bins.lower > 251
    assert (np.log(bins.upper / bins.lower)[wide] < 0.01).all()
    assert (bins.tokens == bins.upper - bins.lower)[bins.lower > 0].all()


def test_small_lengths_are_bins_of_their_own() -> None:
    bins = LengthSample.of([1, 2, 3, 250]).bins
    assert bins.lower.tolist() == [0, 1.5, 2.5, 249.5]
    assert bins.upper.tolist() == [1.5, 2.5, 3.5, 250.5]


def test_the_bin_of_a_cap_is_open() -> None:
    bins = LengthSample.of(np.minimum(lognormal(10_000), 8000)).bins
    assert bins.upper[-1] == np.inf
    assert bins.lower[-1] == 7999.5
    assert bins.upper[-2] <= 7999.5
    assert bins.weights[-1] == (lognormal(10_000) >= 8000).sum()


def test_likelihood_of_bins_is_that_of_the_tokens() -> None:
    from scipy.stats import lognorm

    lengths = lognormal(20_000)
    bins = LengthSample.of(lengths).bins
    law = lognorm(1.0, scale=np.exp(7.0))
    binned = bins.log_likelihood(law.cdf(bins.upper) - law.cdf(bins.lower))
    exact = np.log(law.cdf(lengths + 0.5) - law.cdf(lengths - 0.5)).sum()
    assert binned == pytest.approx(exact, abs=0.5)
