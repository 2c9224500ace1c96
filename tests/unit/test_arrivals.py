import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from simulator.errors import InputError
from workloads.arrivals import (
    AllAtOnceArrivals,
    Arrivals,
    DeterministicArrivals,
    PoissonArrivals,
)

ADAPTER = TypeAdapter(Arrivals)


def test_poisson_gaps_are_exponential():
    n, rate_rps = 100_000, 4.0
    times = PoissonArrivals(rate_rps=rate_rps).times(0, "default", count=n)
    gaps = np.diff(times, prepend=0.0) * rate_rps
    assert abs(gaps.mean() - 1) < 4 / np.sqrt(n)
    distance = np.abs(-np.expm1(-np.sort(gaps)) - (np.arange(n) + 0.5) / n).max()
    assert distance < 2.2 / np.sqrt(n)  # Kolmogorov-Smirnov, p about 1e-4


def test_poisson_counts_have_the_variance_of_their_mean():
    windows = 5_000
    times = PoissonArrivals(rate_rps=10.0).times(1, "default", duration_s=float(windows))
    counts = np.bincount(times.astype(int), minlength=windows)
    assert counts.mean() == pytest.approx(10, abs=4 * np.sqrt(10 / windows))
    # Var(s^2)/s^4 is about 2/n, plus the Poisson's own kurtosis 1/(10 n).
    assert counts.var(ddof=1) == pytest.approx(10, abs=4 * 10 * np.sqrt(2.1 / windows))


def test_two_rates_see_the_same_arrivals_on_a_stretched_clock():
    slow = PoissonArrivals(rate_rps=1.0).times(5, "default", count=1000)
    fast = PoissonArrivals(rate_rps=8.0).times(5, "default", count=1000)
    assert np.array_equal(slow / 8.0, fast)


@pytest.mark.parametrize(
    "law", [PoissonArrivals(rate_rps=3.0), DeterministicArrivals(rate_rps=3.0)]
)
def test_every_shorter_call_is_a_prefix(law, monkeypatch):
    whole = law.times(2, "default", count=5000)
    assert np.array_equal(law.times(2, "default", count=10), whole[:10])
    until = law.times(2, "default", duration_s=100.0)
    assert np.array_equal(until, whole[whole < 100.0])
    monkeypatch.setattr("workloads.arrival_process.CHUNK_ROWS", 7)  # however it is cut in pieces
    assert np.array_equal(law.times(2, "default", count=5000), whole)
    assert np.array_equal(law.times(2, "default", duration_s=100.0), until)


def test_count_and_duration_whichever_comes_first():
    law = DeterministicArrivals(rate_rps=2.0)
    assert law.times(0, "", count=3, duration_s=100.0).tolist() == [0.0, 0.5, 1.0]
    assert law.times(0, "", count=300, duration_s=1.0).tolist() == [0.0, 0.5]


def test_an_underestimated_number_of_arrivals_is_drawn_on():
    # 1024 is the least drawn at once: far more than expected arrive, and none may be missing.
    law = PoissonArrivals(rate_rps=1.0)
    whole = law.times(0, "default", count=3000)
    late = law._gaps(0, "default", 0, 3000).cumsum()
    assert np.array_equal(whole, late)
    until = float(whole[1024]) + 1e-9  # just past the first piece
    assert len(law.times(0, "default", duration_s=until)) == 1025


def test_all_at_once():
    law = AllAtOnceArrivals()
    assert law.times(0, "default", count=3).tolist() == [0.0, 0.0, 0.0]
    assert law.times(0, "default", count=3, duration_s=1.0).tolist() == [0.0, 0.0, 0.0]
    with pytest.raises(InputError, match=r"workload.num_requests"):
        law.times(0, "default", duration_s=10.0)


def test_arrivals_need_an_end():
    with pytest.raises(InputError, match=r"workload.num_requests"):
        PoissonArrivals(rate_rps=1.0).times(0, "default")


def test_a_mistaken_number_of_requests_is_refused_before_it_is_drawn():
    message = r"workload.arrivals.rate_rps: 1e\+12 requests would arrive in 1e\+06 s"
    with pytest.raises(InputError, match=message):
        PoissonArrivals(rate_rps=1e6).times(0, "default", duration_s=1e6)
    with pytest.raises(InputError, match=r"workload.num_requests"):
        AllAtOnceArrivals().times(0, "default", count=10**9)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"kind": "poisson", "rate_rps": -1.0}, "greater than 0"),
        ({"kind": "poisson", "rate_rps": 0}, "greater than 0"),
        ({"kind": "poisson", "rate_rps": 1e-300}, "30 years"),
        ({"kind": "poisson", "rate_rps": float("inf")}, "finite"),
        ({"kind": "poisson", "rate_rps": "2"}, "valid number"),
        ({"kind": "poisson"}, "Field required"),
        ({"kind": "poisson", "rate_rps": 1, "rate": 2}, "Extra inputs"),
        ({"kind": "all_at_once", "rate_rps": 1}, "Extra inputs"),
        ({"kind": "bursty"}, "poisson"),
    ],
)
def test_bad_arrivals_are_refused(content, message):
    with pytest.raises(ValidationError, match=message):
        ADAPTER.validate_python(content)
