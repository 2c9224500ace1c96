"""Arrival processes with textbook answers: laws of gaps, rates, dispersion of counts.

Tolerances are 4.5 standard errors or a p-value of 1e-5: one wrong alarm in some 10^5 tests, and the
draws are the same every time.
"""

import itertools
import math

import numpy as np
import pytest
from scipy import integrate, stats

from simulator.rng import uniforms
from workloads.arrivals import (
    BurstArrivals,
    DiurnalArrivals,
    GammaArrivals,
    ModulatedPoissonArrivals,
    PiecewiseArrivals,
    PoissonArrivals,
    WeibullArrivals,
)
from workloads.processes.gaps import equilibrium_gap, gamma_gaps, weibull_gaps, weibull_shape

ERRORS = 4.5
RARE = 1e-5
MMPP2 = ModulatedPoissonArrivals(
    states=[
        {"rate_rps": 40.0, "mean_sojourn_s": 2.0},
        {"rate_rps": 4.0, "mean_sojourn_s": 6.0},
    ]
)


def law_of(family, cv):
    """The law of gaps of mean 1, by scipy."""
    if family == "gamma":
        return stats.gamma(1 / cv**2, scale=cv**2)
    shape = float(weibull_shape(cv))
    return stats.weibull_min(shape, scale=1 / math.gamma(1 + 1 / shape))


def counts_in(law, window_s, windows):
    """Requests in each of many windows, one after another."""
    times = law.times(1, "counts", duration_s=window_s * windows)
    return np.bincount((times / window_s).astype(int), minlength=windows)[:windows]


def first_counts(law, until_s, entities):
    """Requests of each of many independent entities before `until_s`."""
    return np.array([len(law.times(3, f"client {i}", duration_s=until_s)) for i in range(entities)])


def assert_mean(sample, mean):
    error = sample.std(ddof=1) / math.sqrt(len(sample))
    assert abs(sample.mean() - mean) < ERRORS * error, (sample.mean(), mean, error)


def assert_dispersion(counts, dispersion):
    """Variance over mean, within the standard error of a variance of nearly normal counts."""
    error = math.sqrt((stats.kurtosis(counts) + 2) / len(counts))
    assert counts.var(ddof=1) / counts.mean() == pytest.approx(dispersion, rel=ERRORS * error)


@pytest.mark.parametrize("cv", [0.05, 0.4, 1.0, 1.7, 4.0])
@pytest.mark.parametrize("family", ["gamma", "weibull"])
def test_gaps_follow_their_law(family, cv):
    law, n = law_of(family, cv), 50_000
    draw = gamma_gaps if family == "gamma" else weibull_gaps
    gaps = draw(uniforms(4, "arrivals", family, n)[:, 0], cv)
    assert stats.kstest(gaps, law.cdf).pvalue > RARE
    variance, excess = law.stats("vk")
    assert math.sqrt(variance) == pytest.approx(cv, rel=1e-9)
    assert gaps.mean() == pytest.approx(1, abs=ERRORS * cv / math.sqrt(n))
    error = math.sqrt((excess + 2) / n)
    assert gaps.var() == pytest.approx(cv**2, rel=ERRORS * error + 1e-9)


@pytest.mark.parametrize("kind", [GammaArrivals, WeibullArrivals])
def test_times_are_sums_of_such_gaps(kind):
    law = kind(rate_rps=5.0, cv=1.5)
    gaps = np.diff(law.times(2, "a", count=40_001))
    family = "gamma" if kind is GammaArrivals else "weibull"
    assert stats.kstest(5.0 * gaps, law_of(family, 1.5).cdf).pvalue > RARE
    # one gap says nothing of the next
    assert abs(np.corrcoef(gaps[:-1], gaps[1:])[0, 1]) < ERRORS / math.sqrt(len(gaps))


@pytest.mark.parametrize("cv", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("family", ["gamma", "weibull"])
def test_the_first_gap_is_what_is_left_of_a_gap_at_an_arbitrary_moment(family, cv):
    law, n = law_of(family, cv), 20_000
    drawn = uniforms(5, "arrivals", family, n)
    first = equilibrium_gap(drawn[:, 0], drawn[:, 1], cv, family)
    # The density of the time left is the survival function (over a mean of 1).
    edges = np.append(np.quantile(first, np.arange(0.05, 1, 0.05)), np.inf)
    expected = [integrate.quad(law.sf, 0, edges[0])[0]]
    expected += [integrate.quad(law.sf, a, b)[0] for a, b in itertools.pairwise(edges)]
    observed = np.histogram(first, np.append(0, edges))[0]
    distance = np.abs(np.cumsum(observed / n - expected)).max()
    assert distance < 2.5 / math.sqrt(n)  # Kolmogorov-Smirnov, p below 1e-5
    third = law.moment(3)  # E[R] = E[X^2] / 2, E[R^2] = E[X^3] / 3
    deviation = math.sqrt(third / 3 - ((1 + cv**2) / 2) ** 2)
    assert first.mean() == pytest.approx((1 + cv**2) / 2, abs=ERRORS * deviation / math.sqrt(n))


STATIONARY = {
    "poisson": PoissonArrivals(rate_rps=3.0),
    "gamma, even": GammaArrivals(rate_rps=3.0, cv=0.2),
    "gamma, clumped": GammaArrivals(rate_rps=3.0, cv=3.0),
    "weibull, even": WeibullArrivals(rate_rps=3.0, cv=0.4),
    "weibull, clumped": WeibullArrivals(rate_rps=3.0, cv=2.5),
    "mmpp": MMPP2.scaled(3.0 / MMPP2.mean_rate_rps()),
    "mmpp, random": ModulatedPoissonArrivals(
        states=[
            {"rate_rps": 12.0, "mean_sojourn_s": 0.5},
            {"rate_rps": 0.0, "mean_sojourn_s": 1.0},
            {"rate_rps": 1.5, "mean_sojourn_s": 0.5},
        ],
        next_state="random",
    ).scaled(3.0 / 3.375),
    "bursts": BurstArrivals(rate_rps=3.0, mean_size=4.0, gap_s=0.7),
    "bursts of a size": BurstArrivals(rate_rps=3.0, mean_size=6.0, size_law="fixed", gap_s=0.4),
    "first level": PiecewiseArrivals(rates_rps=[3.0, 90.0], step_s=1.0, cv=2.0),
    "level day": DiurnalArrivals(rate_rps=3.0, amplitude=0.0, cv=0.5),
}


@pytest.mark.parametrize("name", STATIONARY)
def test_the_first_second_has_its_rate_already(name):
    assert_mean(first_counts(STATIONARY[name], 1.0, 2500), 3.0)


def test_begun_at_a_request_a_clumped_process_is_too_busy_at_first():
    law = GammaArrivals(rate_rps=3.0, cv=3.0, stationary=False)
    assert first_counts(law, 1.0, 1000).mean() > 4.0


@pytest.mark.parametrize("kind", [GammaArrivals, WeibullArrivals])
@pytest.mark.parametrize("cv", [0.5, 1.0, 2.0])
def test_dispersion_of_renewal_counts_tends_to_the_squared_cv(kind, cv):
    """Var N(t) = cv^2 t + 1/6 + cv^4/2 - m3/3 with rate 1, m3 the third central moment of a gap.

    Cox, "Renewal Theory", 1962, section 4.5, for the process observed from an arbitrary moment.
    """
    mean, windows = 120.0, 4000
    counts = counts_in(kind(rate_rps=1.0, cv=cv), mean, windows)
    law = law_of("gamma" if kind is GammaArrivals else "weibull", cv)
    third = float(law.stats("s")) * cv**3
    variance = cv**2 * mean + 1 / 6 + cv**4 / 2 - third / 3
    assert variance / mean == pytest.approx(cv**2, rel=0.1)
    assert_dispersion(counts, variance / mean)


def mmpp2_dispersion(law, t):
    """Variance over mean of the counts in t seconds (Heffes and Lucantoni, 1986)."""
    (fast, slow), out = law.states, [1 / state.mean_sojourn_s for state in law.states]
    total = sum(out)
    limit = 2 * (fast.rate_rps - slow.rate_rps) ** 2 * out[0] * out[1]
    limit /= total**2 * (fast.rate_rps * out[1] + slow.rate_rps * out[0])
    return 1 + limit * (1 + math.expm1(-total * t) / (total * t))


@pytest.mark.parametrize("t", [0.1, 1.0, 5.0])
def test_dispersion_of_a_two_state_process(t):
    counts = first_counts(MMPP2, t, 2500)
    assert MMPP2.mean_rate_rps() == 13.0
    assert_mean(counts, 13.0 * t)
    assert_dispersion(counts, mmpp2_dispersion(MMPP2, t))


def test_dispersion_of_a_two_state_process_in_the_long_run():
    window_s = 200.0
    counts = counts_in(MMPP2, window_s, 300)
    dispersion = mmpp2_dispersion(MMPP2, window_s)
    assert dispersion > 50  # far from a Poisson process of the same mean
    assert_dispersion(counts, dispersion)


def test_states_that_never_differ_are_a_poisson_process():
    same = ModulatedPoissonArrivals(
        states=[{"rate_rps": 6.0, "mean_sojourn_s": s} for s in (0.1, 3.0, 50.0)]
    )
    gaps = np.diff(same.times(0, "a", count=30_001))
    assert stats.kstest(6.0 * gaps, stats.expon.cdf).pvalue > RARE


@pytest.mark.parametrize("next_state", ["cyclic", "random"])
def test_states_have_their_shares_of_the_requests(next_state):
    """Rates so far apart that a gap tells the state it is in."""
    states = [(1e4, 0.02), (1e2, 0.5), (1.0, 20.0)]
    law = ModulatedPoissonArrivals(
        states=[{"rate_rps": rate, "mean_sojourn_s": s} for rate, s in states],
        next_state=next_state,
    )
    times = law.times(2, "a", duration_s=40_000.0)
    visits = 40_000 / sum(s for _, s in states)
    gaps = np.diff(times)
    found = np.histogram(gaps, [0, 1e-3, 0.07, np.inf])[0]
    expected = np.array([rate * s for rate, s in states]) * visits
    # A state's requests are geometric: their standard deviation is about their mean, per visit.
    assert np.abs(found / expected - 1).max() < ERRORS * math.sqrt(2 / visits) + 0.08


def chi_square(observed, expected):
    assert expected.min() > 5
    return stats.chi2.sf(((observed - expected) ** 2 / expected).sum(), len(observed))


def test_counts_of_levels_follow_the_rates():
    law = PiecewiseArrivals(
        rates_rps=[2.0, 0.0, 30.0, 8.0], times_s=[0, 10, 15, 17, 30], repeat=True
    )
    cycles = 400
    times = law.times(6, "a", duration_s=30.0 * cycles)
    observed = np.histogram(times % 30.0, np.arange(31.0))[0]
    rates = np.repeat([2.0, 0.0, 30.0, 8.0], [10, 5, 2, 13])
    assert not observed[10:15].any()
    busy = rates > 0
    assert chi_square(observed[busy], cycles * rates[busy]) > RARE
    assert law.mean_rate_rps() == pytest.approx(rates.mean())


def test_counts_of_a_day_follow_its_curve():
    law = DiurnalArrivals(rate_rps=0.5, amplitude=0.9, peak_hour=15.0, start_hour=7.0)
    days = 5
    times = law.times(6, "a", duration_s=86_400.0 * days)
    hours = np.arange(24)
    observed = np.histogram((times / 3600) % 24, np.arange(25))[0]
    curve = [
        integrate.quad(lambda h: 1 + 0.9 * math.cos(math.tau * (7 + h - 15) / 24), hour, hour + 1)[
            0
        ]
        for hour in hours
    ]
    expected = days * 1800 * np.array(curve)
    assert chi_square(observed, expected) > RARE
    assert observed.argmax() in (7, 8)  # 15:00, eight hours into the run
    assert law.expected_count(86_400.0 * days) == pytest.approx(expected.sum())


@pytest.mark.parametrize("cv", [0.3, 3.0])
def test_levels_are_met_whatever_the_variability(cv):
    law = PiecewiseArrivals(rates_rps=[8.0, 1.0, 0.0, 20.0], step_s=1.0, cv=cv)
    counts = np.array(
        [np.histogram(law.times(7, f"{i}", duration_s=5.0), np.arange(6.0))[0] for i in range(2000)]
    )
    for column, mean in zip(counts.T, [8.0, 1.0, 0.0, 20.0, 20.0], strict=True):
        if mean:
            assert_mean(column, mean)
        else:
            assert not column.any()
    spread = counts[:, 0].var() / counts[:, 0].mean()
    assert spread < 0.4 if cv < 1 else spread > 4


@pytest.mark.parametrize("mean", [1.0, 3.0, 12.5])
def test_burst_sizes_are_geometric(mean):
    times = BurstArrivals(rate_rps=10.0, mean_size=mean).times(8, "a", count=60_000)
    begin_s, sizes = np.unique(times, return_counts=True)
    begin_s, sizes = begin_s[:-1], sizes[:-1]  # the last one may be cut
    rate = len(begin_s) / begin_s[-1]
    assert rate == pytest.approx(10 / mean, rel=ERRORS / math.sqrt(len(begin_s)))
    assert stats.kstest(np.diff(begin_s) * 10 / mean, stats.expon.cdf).pvalue > RARE
    if mean == 1.0:
        assert set(sizes) == {1}
        return
    law = stats.geom(1 / mean)
    most = int(law.isf(20 * mean / len(sizes)))
    observed = np.bincount(np.minimum(sizes, most), minlength=most + 1)[1:]
    expected = len(sizes) * np.append(law.pmf(np.arange(1, most)), law.sf(most - 1))
    assert chi_square(observed, expected) > RARE


def test_bursts_of_one_size():
    law = BurstArrivals(rate_rps=0.06, mean_size=3.0, size_law="fixed", gap_s=0.25)
    times = law.times(8, "a", count=3000)
    gaps = np.diff(times)
    inside = np.isclose(gaps, 0.25)
    assert inside.mean() == pytest.approx(2 / 3, abs=0.03)  # few bursts overlap
    assert (np.convolve(inside, [1, 1, 1], "valid") < 3).mean() > 0.99  # never four in a row


@pytest.mark.parametrize(("size_law", "dispersion"), [("geometric", 2 * 5 - 1), ("fixed", 5)])
def test_dispersion_of_bursts_is_the_size_of_a_request_s_own_burst(size_law, dispersion):
    """Counts are compound Poisson: their variance over their mean is E[S^2] / E[S]."""
    law = BurstArrivals(rate_rps=20.0, mean_size=5.0, size_law=size_law)
    assert_dispersion(counts_in(law, 10.0, 4000), dispersion)


@pytest.mark.parametrize("kind", [GammaArrivals, PoissonArrivals])
def test_rescaled_times_are_those_of_vllm_bench_serve(kind):
    """Its `get_request`: delays summed, then all multiplied by (n / rate) / (their sum)."""
    shape = {"cv": 2.0} if kind is GammaArrivals else {}
    n, rate = 500, 4.0
    u = uniforms(9, "arrivals", "a", n)[:, 0]
    delay_s = np.cumsum(gamma_gaps(u, shape.get("cv", 1.0)) / rate)
    expected = delay_s * (n / rate / delay_s[-1])
    law = kind(rate_rps=rate, rescale_to_nominal=True, **shape)
    times = law.times(9, "a", count=n)
    np.testing.assert_allclose(times, expected, rtol=1e-12)
    assert times[-1] == n / rate
    longer = law.times(9, "a", count=2 * n)
    assert not np.array_equal(longer[:n], times)
