import numpy as np
import pytest
from scipy.special import ndtri

from simulator.metrics.intervals import (
    BATCHES,
    MIN_REQUESTS,
    autocorrelation_factor,
    batch_bounds,
    mean_half_width,
    percentile_bounds,
    percentile_half_widths,
    ratio_half_width,
)


def lognormal_ar1(phi: float, count: int, runs: int, seed: int) -> np.ndarray:
    """`runs` independent stationary sequences; exp of a Gaussian AR(1), so skewed as latencies."""
    noise = np.random.default_rng(seed).standard_normal((runs, count))
    states = np.empty_like(noise)
    states[:, 0] = noise[:, 0]
    for i in range(1, count):
        states[:, i] = phi * states[:, i - 1] + np.sqrt(1 - phi**2) * noise[:, i]
    return np.exp(states)


@pytest.mark.parametrize("count", [20, 21, 119, 1000])
def test_batches_cover_everything_and_differ_by_one_at_most(count):
    bounds = batch_bounds(count)
    sizes = np.diff(bounds)
    assert len(sizes) == BATCHES
    assert bounds[0] == 0
    assert bounds[-1] == count
    assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize("phi", [0.0, 0.7])
def test_interval_of_the_mean_holds_the_mean_95_times_in_100(phi):
    truth = np.exp(0.5)
    runs = lognormal_ar1(phi, 2_000, 400, seed=3)
    hits = [abs(values.mean() - truth) <= mean_half_width(values) for values in runs]
    assert 0.92 <= np.mean(hits) <= 0.98


def test_taking_requests_for_independent_would_not():
    """The reason for all this: the textbook formula on the same sequences misses far too often."""
    runs = lognormal_ar1(0.7, 2_000, 400, seed=3)
    naive = 1.96 * runs.std(axis=1) / np.sqrt(runs.shape[1])
    assert np.mean(np.abs(runs.mean(axis=1) - np.exp(0.5)) <= naive) < 0.75


@pytest.mark.parametrize("percent", [50, 90, 99])
@pytest.mark.parametrize("phi", [0.0, 0.7])
def test_interval_of_a_percentile_holds_it_95_times_in_100(percent, phi):
    truth = np.exp(ndtri(percent / 100))
    runs = lognormal_ar1(phi, 2_000, 300, seed=5)
    bounds = [percentile_bounds(values, [percent])[0] for values in runs]
    known = [(low, high) for low, high in bounds if not np.isnan(low)]
    assert len(known) > 0.85 * len(runs)
    assert 0.92 <= np.mean([low <= truth <= high for low, high in known]) <= 0.99


def test_the_half_width_reaches_both_ends():
    values = lognormal_ar1(0.5, 2_000, 1, seed=7)[0]
    percents = [50, 90, 95, 99]
    halves = percentile_half_widths(values, percents)
    for percent, half, (low, high) in zip(
        percents, halves, percentile_bounds(values, percents), strict=True
    ):
        estimate = np.percentile(values, percent)
        assert low < estimate < high
        assert half == pytest.approx(max(high - estimate, estimate - low))


def test_too_few_requests_have_no_interval():
    values = np.random.default_rng(0).exponential(size=MIN_REQUESTS)
    assert mean_half_width(values) > 0
    assert np.isnan(mean_half_width(values[:-1]))
    assert np.isnan(percentile_half_widths(values[:-1], [50])).all()
    assert np.isnan(percentile_half_widths(np.array([]), [50])).all()
    # a hundred requests bound the median, but nobody can know their 99th percentile
    median, tail = percentile_half_widths(values, [50, 99])
    assert median > 0
    assert np.isnan(tail)


def test_equal_latencies_leave_no_doubt():
    values = np.full(500, 3.0)
    assert mean_half_width(values) == 0
    assert percentile_half_widths(values, [50, 90]) == [0, 0]


def test_four_times_the_requests_halve_the_interval():
    runs = lognormal_ar1(0.3, 4_000, 50, seed=9)
    short = np.mean([mean_half_width(values[:1_000]) for values in runs])
    long = np.mean([mean_half_width(values) for values in runs])
    assert short / long == pytest.approx(2.0, rel=0.15)


def test_ratio_weighs_batches_and_passes_over_empty_ones():
    sums = np.array([2.0, 9.0, 0.0, 4.0])
    weights = np.array([1.0, 3.0, 0.0, 2.0])
    # by hand: ratio 2.5, residuals -0.5, 1.5, -1; positive lag-1 correlation is none
    expected = 4.302652729911275 * np.sqrt(3.5 * 3 / 2) / 6
    assert ratio_half_width(sums, weights) == pytest.approx(expected)
    assert np.isnan(ratio_half_width(sums[:1], weights[:1]))


def test_correlated_batches_widen_the_interval():
    trend = np.linspace(-1, 1, BATCHES)
    assert autocorrelation_factor(trend) > 4
    assert autocorrelation_factor(trend * (-1) ** np.arange(BATCHES)) == 1
    assert autocorrelation_factor(np.zeros(BATCHES)) == 1


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_the_last_bit_of_a_latency_moves_no_interval(scale):
    """Many latencies are equal, as those of a batch are; another platform rounds them otherwise."""
    random = np.random.default_rng(11)
    values = scale * np.round(lognormal_ar1(0.5, 2_000, 1, seed=7)[0], 1)
    percents = [50, 90, 95, 99]
    assert len(np.unique(values)) < 0.1 * len(values)
    want = percentile_half_widths(values, percents)
    assert min(want) > 0
    for _ in range(20):
        noise = 1.0 + 1e-15 * random.integers(-4, 5, len(values))
        assert percentile_half_widths(values * noise, percents) == pytest.approx(want, rel=1e-9)
        finish = (1000.0 + values) * noise  # a difference of times has an absolute error
        assert percentile_half_widths(finish - 1000.0, percents) == pytest.approx(want, rel=1e-6)


def test_rounding_of_waits_that_are_nothing_moves_no_interval():
    """Most requests wait for nothing, and some of these for the rounding error of a subtraction."""
    random = np.random.default_rng(3)
    waits = np.where(random.random(2_000) < 0.7, 0.0, random.exponential(1.0, 2_000))
    want = percentile_half_widths(waits, [69.5])
    assert want[0] > 1e-3  # the upper end is among those that waited
    noisy = waits + 1e-13 * random.random(len(waits))
    assert percentile_half_widths(noisy, [69.5]) == pytest.approx(want, rel=1e-6, abs=1e-12)
