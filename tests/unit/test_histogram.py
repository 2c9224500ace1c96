import numpy as np
import pytest
from fake_record import fake_record

from simulator.metrics.histogram import LogHistogram
from simulator.metrics.intervals import mean_half_width, percentile_half_widths
from simulator.metrics.latency import describe_gaps

WIDTH = 0.01
EDGES = np.exp(np.log(1e-4) + WIDTH * np.arange(1501))


def counted(values: np.ndarray) -> LogHistogram:
    return LogHistogram(EDGES, np.histogram(values, EDGES)[0])


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(1).lognormal(-4.0, 0.6, 50_000)


@pytest.mark.parametrize("percent", [0.1, 1, 25, 50, 90, 95, 99, 99.9])
def test_percentiles_are_exact_to_the_width_of_a_bin(values, percent):
    exact = np.percentile(values, percent)
    assert counted(values).percentile(percent) == pytest.approx(exact, rel=np.expm1(WIDTH))


def test_mean_and_deviation(values):
    histogram = counted(values)
    assert histogram.mean() == pytest.approx(values.mean(), rel=1e-4)
    assert histogram.std() == pytest.approx(values.std(), rel=1e-3)
    assert histogram.total == len(values)
    assert histogram.relative_bin_width == pytest.approx(np.expm1(WIDTH))


def test_values_spread_evenly_in_the_logarithm_inside_a_bin():
    histogram = LogHistogram(np.array([1.0, 4.0, 16.0]), np.array([0, 10]))
    assert histogram.percentile(0) == 4.0
    assert histogram.percentile(50) == pytest.approx(8.0)
    assert histogram.percentile(100) == 16.0
    assert histogram.mean() == pytest.approx(12 / np.log(4))


def test_percentiles_grow_with_the_percent(values):
    histogram = counted(values[:37])
    found = [histogram.percentile(percent) for percent in np.linspace(0, 100, 501)]
    assert (np.diff(found) >= 0).all()


def test_one_value_fills_one_bin():
    histogram = counted(np.full(9, 0.02))
    for percent in (0, 50, 100):
        assert histogram.percentile(percent) == pytest.approx(0.02, rel=np.expm1(WIDTH))
    assert histogram.std() < 0.02 * WIDTH


def test_nothing_counted_is_nothing_known():
    histogram = LogHistogram(EDGES, np.zeros(len(EDGES) - 1, np.int64))
    assert np.isnan([histogram.mean(), histogram.std(), histogram.percentile(50)]).all()


@pytest.mark.parametrize(
    ("edges", "counts"),
    [
        ([1.0, 2.0, 3.0], [1]),
        ([0.0, 1.0], [1]),
        ([1.0, np.inf], [1]),
        ([2.0, 1.0], [1]),
        ([1.0, 2.0], [-1]),
    ],
)
def test_impossible_histograms_are_refused(edges, counts):
    with pytest.raises(ValueError, match=r"edges|counts"):
        LogHistogram(np.array(edges), np.array(counts))


def test_slices_of_time_give_the_intervals_that_the_values_give(values):
    values = values[:4_000]
    slices = np.stack([np.histogram(part, EDGES)[0] for part in np.split(values, 20)])
    histogram = counted(values)
    assert histogram.mean_half_width(slices) == pytest.approx(mean_half_width(values), rel=0.02)
    percents = [50, 90, 99]
    assert histogram.percentile_half_widths(slices, percents) == pytest.approx(
        percentile_half_widths(values, percents), rel=0.15
    )


def test_too_few_slices_give_no_interval(values):
    slices = np.stack([np.histogram(part, EDGES)[0] for part in np.split(values, 10)])
    assert np.isnan(counted(values).mean_half_width(slices))
    assert np.isnan(counted(values).percentile_half_widths(slices, [50])).all()


def test_gaps_without_slices_still_bound_the_mean():
    with_slices = describe_gaps(fake_record(1_000))
    without = describe_gaps(fake_record(1_000, itl_batch_counts=None))
    assert without.mean_s == with_slices.mean_s
    assert without.ci95_s["mean"] == pytest.approx(with_slices.ci95_s["mean"], rel=0.6)
    assert np.isnan(without.ci95_s["p99"])
    assert with_slices.ci95_s["p99"] > 0
