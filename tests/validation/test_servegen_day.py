"""A generated day of DeepSeek-R1 traffic against the published windows and distributions."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from workloads.population import PopulationWorkload, read_population

from .renewal_counts import gamma_count_variance, simulated_counts
from .servegen_day import KINDS, count_variances, cv_z, hour_z, quantile_misses, source_pmfs

SHARED = Path(__file__).parents[2] / "../shared/data/workloads"
WINDOWS, PDFS = SHARED / "servegen_r1_windows.csv.gz", SHARED / "servegen_r1_pdfs.jsonl.gz"

pytestmark = pytest.mark.skipif(not WINDOWS.exists(), reason="the ServeGen data are not here")


@pytest.fixture(scope="module")
def population():
    return read_population(WINDOWS, PDFS)


@pytest.fixture(scope="module", params=[0, 1])
def day(request):
    workload = PopulationWorkload(windows_path=str(WINDOWS), lengths_path=str(PDFS))
    return workload.generate(request.param)


@pytest.fixture(scope="module")
def variances(population):
    return count_variances(population)


@pytest.fixture(scope="module")
def pmfs(population):
    return source_pmfs(population)


def test_the_day_has_the_sources_total(population, day):
    expected = population.expected_requests().sum()
    assert expected == pytest.approx(1_383_669, abs=1)
    assert len(day) == pytest.approx(expected, rel=0.01)


def test_every_hour_is_within_three_standard_deviations(population, variances, day):
    z = hour_z(population, variances, day)
    assert np.abs(z).max() < 3
    # Nor too even: counts that were forced would give 0.
    assert 0.6 < math.sqrt(np.mean(z**2)) < 1.4


@pytest.mark.parametrize("kind", KINDS)
def test_lengths_have_the_sources_quantiles(pmfs, day, kind):
    assert np.abs(quantile_misses(pmfs[kind], getattr(day, f"{kind}_tokens"))).max() < 0.03


def test_gaps_have_the_windows_cv_within_sampling_error(population, day):
    z = cv_z(population, day)
    assert len(z) > 1000
    assert np.mean(np.abs(z) < 3) > 0.99
    assert abs(np.mean(z)) < 0.15
    assert 0.85 < np.std(z) < 1.1


def test_shares_of_the_load_are_the_clients(population, day):
    """Few clients send most: the largest over a quarter, ten of them about three quarters."""
    counts = np.bincount(day.client_id, minlength=len(population.clients))
    expected = np.array([client.rate_rps.sum() * 600 for client in population.clients])
    largest = np.argsort(expected)[::-1][:10]
    assert counts[largest] == pytest.approx(expected[largest], rel=0.12)
    assert counts.max() / len(day) > 0.25


@pytest.mark.parametrize(("mean", "cv"), [(51, 6.7), (10, 3.0), (300, 1.5), (40, 0.5)])
def test_variance_of_counts_by_theory_is_that_of_simulated_ones(mean, cv):
    theory = gamma_count_variance(np.array([float(mean)]), np.array([cv]))[0]
    counts = simulated_counts(np.random.default_rng(1), mean, cv, "gamma", 10_000)
    assert counts.mean() == pytest.approx(mean, abs=4 * math.sqrt(theory / 10_000))
    assert counts.var() == pytest.approx(theory, rel=0.08)


def test_variance_of_counts_grows_with_the_square_of_the_cv():
    mean, cv = np.array([1e4, 1e4]), np.array([0.8, 2.0])
    assert gamma_count_variance(mean, cv) == pytest.approx(mean * cv**2, rel=2e-3)
    assert gamma_count_variance(np.array([7.0]), np.array([1.0]))[0] == pytest.approx(7.0)
