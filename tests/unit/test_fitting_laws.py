"""Fits find the parameters that data were drawn with, and the law they were drawn from."""

from collections.abc import Callable

import numpy as np
import pytest

from workloads.fitting.choice import fit_lengths
from workloads.fitting.families import FAMILIES
from workloads.fitting.mixture import fit_mixture
from workloads.fitting.ranking import best_law, rank_laws, rounded
from workloads.fitting.sample import LengthSample
from workloads.fitting.tail import fit_gpd_tail, hill

R1 = ([0.2984, 0.4349, 0.2667], [6.2699, 7.3849, 8.8739], [0.3337, 0.6482, 0.5849])


def mixture(rng: np.random.Generator, n: int, weights: list, mu: list, sigma: list) -> np.ndarray:
    part = rng.choice(len(weights), n, p=np.array(weights) / sum(weights))
    return np.exp(np.array(mu)[part] + np.array(sigma)[part] * rng.standard_normal(n))


TRUE: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "log-normal": lambda rng, n: rng.lognormal(7, 1, n),
    "log-normal mixture of 2": lambda rng, n: mixture(rng, n, [0.4, 0.6], [6, 8], [0.4, 0.9]),
    "log-normal mixture of 3": lambda rng, n: mixture(rng, n, *R1),
    "gamma": lambda rng, n: rng.gamma(2.3, 3000, n),
    "Weibull": lambda rng, n: 1000 * rng.weibull(1.9, n),
    "Burr XII": lambda rng, n: 500 * (rng.random(n) ** (-1 / 1.2) - 1) ** (1 / 2.5),
    "generalised Pareto (Lomax)": lambda rng, n: 1000 * (rng.random(n) ** -0.5 - 1),
    "Pareto": lambda rng, n: 50 * rng.random(n) ** (-1 / 1.5),
}


def drawn(name: str, n: int, seed: int, cap: int | None = None) -> LengthSample:
    lengths = np.maximum(np.rint(TRUE[name](np.random.default_rng(seed), n)), 1)
    return LengthSample.of(lengths if cap is None else np.minimum(lengths, cap))


@pytest.mark.parametrize(("n", "seed"), [(1_700, 0), (10_000, 1)])
@pytest.mark.parametrize("name", TRUE)
def test_the_true_law_is_recognised(name: str, n: int, seed: int) -> None:
    best = best_law(rank_laws(drawn(name, n, seed)))
    assert best.title == name
    assert best.ks < 1 / np.sqrt(n)


@pytest.mark.parametrize("name", ["log-normal", "log-normal mixture of 2", "Weibull", "Pareto"])
def test_a_cap_does_not_hide_the_law(name: str) -> None:
    cap = int(drawn(name, 10_000, 0).quantile(0.97)[0])
    sample = drawn(name, 10_000, 0, cap)
    assert sample.cap == cap
    assert best_law(rank_laws(sample)).title == name


@pytest.mark.parametrize(("n", "cap"), [(1_000, 20_000), (1_700, None), (100_000, 20_000)])
def test_r1_like_lengths_are_a_mixture_of_lognormals(n: int, cap: int | None) -> None:
    best = best_law(rank_laws(drawn("log-normal mixture of 3", n, 1, cap)))
    assert best.fields["kind"] == "lognormal_mixture"
    assert best.ks <= max(0.02, 1 / np.sqrt(n))


def test_a_lognormal_is_found_again() -> None:
    fitted = fit_mixture(drawn("log-normal", 50_000, 0).bins, 1)
    assert fitted.mu[0] == pytest.approx(7, abs=4 / np.sqrt(50_000))
    assert fitted.sigma[0] == pytest.approx(1, abs=3 / np.sqrt(50_000))


def test_a_cap_is_censored_not_taken_for_a_length() -> None:
    sample = drawn("log-normal", 50_000, 0, cap=1500)  # 38 % of the lengths
    fitted = fit_mixture(sample.bins, 1)
    assert fitted.mu[0] == pytest.approx(7, abs=0.02)
    assert fitted.sigma[0] == pytest.approx(1, abs=0.02)


def test_small_lengths_are_taken_as_rounded() -> None:
    lengths = np.maximum(np.rint(np.random.default_rng(0).lognormal(0.7, 0.8, 50_000)), 1)
    fitted = fit_mixture(LengthSample.of(lengths).bins, 1)
    assert fitted.mu[0] == pytest.approx(0.7, abs=0.02)
    assert fitted.sigma[0] == pytest.approx(0.8, abs=0.02)


def test_a_mixture_is_found_again() -> None:
    weights, mu, sigma = R1
    fitted = fit_mixture(drawn("log-normal mixture of 3", 200_000, 0, 20_000).bins, 3)
    np.testing.assert_allclose(fitted.weights, weights, atol=0.03)
    np.testing.assert_allclose(fitted.mu, mu, atol=0.06)
    np.testing.assert_allclose(fitted.sigma, sigma, atol=0.05)


def test_more_components_never_fit_worse() -> None:
    bins = drawn("log-normal mixture of 2", 5_000, 3).bins
    fits = [fit_mixture(bins, k).log_likelihood for k in (1, 2, 3)]
    assert fits[0] < fits[1] <= fits[2] + 1e-3


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        ("gamma", "gamma", {"shape": 2.3, "scale": 3000}),
        ("weibull", "Weibull", {"shape": 1.9, "scale": 1000}),
        ("burr", "Burr XII", {"c": 2.5, "d": 1.2, "scale": 500}),
        ("gpd", "generalised Pareto (Lomax)", {"xi": 0.5, "scale": 500}),
        ("pareto", "Pareto", {"alpha": 1.5, "location": 50}),
    ],
)
def test_families_are_found_again(kind: str, name: str, expected: dict[str, float]) -> None:
    fitted = FAMILIES[kind](drawn(name, 200_000, 0))
    assert fitted.parameters == pytest.approx(expected, rel=0.03)


def test_weights_and_rows_give_one_fit() -> None:
    sample = drawn("gamma", 2_000, 0)
    rows = LengthSample.of(np.repeat(sample.values, sample.weights.astype(int)))
    for ours, theirs in zip(rank_laws(sample), rank_laws(rows), strict=True):
        assert ours.fields == theirs.fields
        assert ours.aic == theirs.aic


def test_aic_counts_parameters_and_ranks() -> None:
    ranked = rank_laws(drawn("log-normal", 3_000, 0))
    assert [law.aic for law in ranked] == sorted(law.aic for law in ranked)
    for law in ranked:
        assert law.aic == pytest.approx(2 * law.free - 2 * law.log_likelihood)
        assert law.bic == pytest.approx(np.log(3_000) * law.free - 2 * law.log_likelihood)
    assert {law.free for law in ranked} == {2, 3, 5, 6, 8}


def test_the_likelihood_is_of_the_law_that_is_written_down() -> None:
    sample = drawn("log-normal mixture of 2", 5_000, 0)
    bins = sample.bins
    for law in rank_laws(sample):
        edges = np.maximum(bins.lower, 1e-6), bins.upper
        below, above = (1 - law.law.exceedance(edge) for edge in edges)
        written = bins.log_likelihood(above - np.where(bins.lower > 0, below, 0))
        assert written == pytest.approx(law.log_likelihood, abs=0.05)


def test_fits_repeat_to_the_last_bit() -> None:
    first, second = (fit_lengths(drawn("log-normal mixture of 3", 2_000, 5)) for _ in range(2))
    assert first.fields == second.fields
    assert [law.aic for law in first.ranked] == [law.aic for law in second.ranked]


def test_hill_finds_the_index_of_a_pareto() -> None:
    found = hill(drawn("Pareto", 100_000, 0))
    assert found is not None
    assert 950 <= found.k <= 1_000
    assert found.alpha == pytest.approx(1.5, abs=4 * 1.5 / np.sqrt(found.k))


def test_hill_with_a_cap() -> None:
    found = hill(drawn("Pareto", 100_000, 0, cap=3_000))
    assert found is not None
    assert found.alpha == pytest.approx(1.5, abs=0.25)


@pytest.mark.parametrize(
    ("name", "xi"), [("Pareto", 1 / 1.5), ("generalised Pareto (Lomax)", 0.5), ("Weibull", -0.1)]
)
def test_the_tail_above_the_95th_percentile(name: str, xi: float) -> None:
    tail = fit_gpd_tail(drawn(name, 200_000, 0))
    assert tail is not None
    assert tail.n == pytest.approx(10_000, rel=0.02)
    assert tail.xi == pytest.approx(xi, abs=0.06)


def test_a_capped_tail_is_censored() -> None:
    sample = drawn("Pareto", 200_000, 0)
    cap = int(sample.quantile(0.99)[0])
    tail = fit_gpd_tail(drawn("Pareto", 200_000, 0, cap))
    assert tail is not None
    assert tail.xi == pytest.approx(1 / 1.5, abs=0.08)


def test_no_tail_where_there_is_none() -> None:
    assert hill(LengthSample.of([5] * 100)) is None
    assert fit_gpd_tail(LengthSample.of([5] * 100)) is None
    assert fit_gpd_tail(LengthSample.of(np.arange(1, 100))) is None  # 5 lengths above
    lumped = np.minimum(drawn("gamma", 5_000, 0).values, 6_000)
    assert fit_gpd_tail(LengthSample.of(lumped)) is None  # the cap is below the percentile


def test_rounding_keeps_six_digits_at_any_depth() -> None:
    fields = {"a": 123456.789, "b": [0.000123456789], "c": {"d": 2.0}, "n": 123456789}
    assert rounded(fields) == {"a": 123457.0, "b": [0.000123457], "c": {"d": 2.0}, "n": 123456789}
