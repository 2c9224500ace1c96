"""A generated day of DeepSeek-R1 traffic against the published windows and distributions."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.special import gamma as gamma_function

from workloads.population import PopulationWorkload, read_population
from workloads.processes.gaps import weibull_shape

from .renewal_counts import gamma_count_variance, simulated_counts

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
def count_variances(population):
    """Variance of each ten minutes' requests, summed over clients: float64[144].

    By transform inversion for gamma gaps; for Weibull gaps, whose transform has no closed form,
    from 200 simulated windows each.
    """
    rng = np.random.default_rng(0)
    total = np.zeros(population.windows)
    for client in population.clients:
        mean = client.rate_rps * 600
        variance = gamma_count_variance(mean, client.cv)
        for i, family in enumerate(client.family):
            if family == "weibull":
                variance[i] = simulated_counts(rng, mean[i], client.cv[i], family, 200).var()
        np.add.at(total, client.window, variance)
    return total


@pytest.fixture(scope="module")
def source_pmfs(population):
    """Shares of each length, of prompts, thinking and answers, clients weighted by their requests.

    Thinking is output x ratio, the two independent, ratios at the middle of their bins.
    """
    prompt, thinking, answer = np.zeros(1 << 16), np.zeros(1 << 15), np.zeros(1 << 15)
    weights = {}
    for client in population.clients:
        for window, rate in zip(client.window, client.rate_rps, strict=True):
            lengths, published = client.lengths_at(int(window))
            assert published
            weights[lengths] = weights.get(lengths, 0.0) + rate
    for lengths, weight in weights.items():
        prompt[lengths.prompt.tokens] += weight * lengths.prompt.share
        output, share = lengths.output.tokens[:, None], lengths.ratio.share
        occurs = np.flatnonzero(share)
        tokens = np.minimum(np.rint(output * (occurs + 0.5) / len(share)), output - 1).astype(int)
        joint = (weight * lengths.output.share[:, None] * share[occurs]).ravel()
        thinking += np.bincount(tokens.ravel(), joint, len(thinking))
        answer += np.bincount((output - tokens).ravel(), joint, len(answer))
    return {"prompt": prompt, "thinking": thinking, "answer": answer}


def test_the_day_has_the_sources_total(population, day):
    expected = population.expected_requests().sum()
    assert expected == pytest.approx(1_383_669, abs=1)
    assert len(day) == pytest.approx(expected, rel=0.01)


def test_every_hour_is_within_three_standard_deviations(population, count_variances, day):
    expected = population.expected_requests().reshape(24, 6).sum(axis=1)
    deviation = np.sqrt(count_variances.reshape(24, 6).sum(axis=1))
    counts = np.bincount((day.arrival_s // 3600).astype(int), minlength=24)
    z = (counts - expected) / deviation
    assert np.abs(z).max() < 3
    # Nor too even: counts that were forced would give 0.
    assert 0.6 < math.sqrt(np.mean(z**2)) < 1.4


@pytest.mark.parametrize("kind", ["prompt", "thinking", "answer"])
def test_lengths_have_the_sources_quantiles(source_pmfs, day, kind):
    below = np.cumsum(source_pmfs[kind])
    probabilities = [0.5, 0.9, 0.99]
    expected = np.searchsorted(below, np.array(probabilities) * below[-1])
    drawn = np.quantile(getattr(day, f"{kind}_tokens"), probabilities)
    assert drawn == pytest.approx(expected, rel=0.03)


def test_gaps_have_the_windows_cv_within_sampling_error(population, day):
    """Windows with at least 60 (1 + cv^2) requests, where a sample CV is about normal.

    Of n gaps with skewness g and kurtosis k its variance is cv^2 ((k - 1) / 4 - g cv + cv^2) / n.
    """
    z = []
    for number, client in enumerate(population.clients):
        own = day.arrival_s[day.client_id == number]
        starts = np.searchsorted(own, np.arange(population.windows + 1) * 600.0)
        for window, cv, family in zip(client.window, client.cv, client.family, strict=True):
            gaps = np.diff(own[starts[window] : starts[window + 1]])
            if len(gaps) < 60 * (1 + cv**2):
                continue
            skew, kurtosis = shape_of_gaps(float(cv), family)
            error = cv * math.sqrt(((kurtosis - 1) / 4 - skew * cv + cv**2) / len(gaps))
            z.append((gaps.std() / gaps.mean() - cv) / error)
    assert len(z) > 1000
    assert np.mean(np.abs(z) < 3) > 0.99
    assert abs(np.mean(z)) < 0.15
    assert 0.85 < np.std(z) < 1.1


def shape_of_gaps(cv, family):
    """Skewness and kurtosis of gaps with this CV."""
    if family == "gamma":
        return 2 * cv, 3 + 6 * cv**2
    k = float(weibull_shape(cv))
    m1, m2, m3, m4 = (gamma_function(1 + i / k) for i in (1, 2, 3, 4))
    sd = math.sqrt(m2 - m1**2)
    skew = (m3 - 3 * m1 * m2 + 2 * m1**3) / sd**3
    return skew, (m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4) / sd**4


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
