import math
import os
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from simulator.errors import InputError
from simulator.rng import exponential, uniforms
from workloads.arrivals import (
    AllAtOnceArrivals,
    Arrivals,
    BatchedArrivals,
    BurstArrivals,
    ClosedLoopArrivals,
    DeterministicArrivals,
    DiurnalArrivals,
    GammaArrivals,
    ModulatedPoissonArrivals,
    PiecewiseArrivals,
    PoissonArrivals,
    TraceTimesArrivals,
    WeibullArrivals,
)
from workloads.processes.gaps import equilibrium_gap, gamma_gaps, weibull_gaps, weibull_shape

SHARED = Path(__file__).parents[2] / "../shared/data/workloads"

ADAPTER = TypeAdapter(Arrivals)
TWO_STATES = [
    {"rate_rps": 9.0, "mean_sojourn_s": 1.0},
    {"rate_rps": 1.0, "mean_sojourn_s": 3.0},
]


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


def test_poisson_arrivals_are_sums_of_the_published_draws():
    """Guards the bytes of every experiment that names a seed."""
    gaps = exponential(uniforms(7, "arrivals", "chat", 500)[:, 0])
    times = PoissonArrivals(rate_rps=2.0).times(7, "chat", count=500)
    assert np.array_equal(times, np.cumsum(gaps) / 2.0)


def test_two_rates_see_the_same_arrivals_on_a_stretched_clock():
    slow = PoissonArrivals(rate_rps=1.0).times(5, "default", count=1000)
    fast = PoissonArrivals(rate_rps=8.0).times(5, "default", count=1000)
    assert np.array_equal(slow / 8.0, fast)


def test_count_and_duration_whichever_comes_first():
    law = DeterministicArrivals(rate_rps=2.0)
    assert law.times(0, "", count=3, duration_s=100.0).tolist() == [0.0, 0.5, 1.0]
    assert law.times(0, "", count=300, duration_s=1.0).tolist() == [0.0, 0.5]
    assert law.times(0, "", count=0).tolist() == []


def test_an_underestimated_number_of_arrivals_is_drawn_on():
    # 64 is the least drawn at once: far more than expected arrive, and none may be missing.
    law = PoissonArrivals(rate_rps=1.0)
    whole = law.times(0, "default", count=3000)
    until = float(whole[64]) + 1e-9  # just past the first piece
    assert len(law.times(0, "default", duration_s=until)) == 65


def test_all_at_once():
    law = AllAtOnceArrivals()
    assert law.times(0, "default", count=3).tolist() == [0.0, 0.0, 0.0]
    assert law.times(0, "default", count=3, duration_s=1.0).tolist() == [0.0, 0.0, 0.0]
    with pytest.raises(InputError, match=r"workload.num_requests"):
        law.times(0, "default", duration_s=10.0)


def test_arrivals_need_an_end():
    with pytest.raises(InputError, match=r"workload.num_requests"):
        PoissonArrivals(rate_rps=1.0).times(0, "default")


@pytest.mark.parametrize(
    ("law", "end", "message"),
    [
        (
            PoissonArrivals(rate_rps=1e6),
            {"duration_s": 1e6},
            r"workload.arrivals.rate_rps: 1e\+12 requests would arrive in 1e\+06 s",
        ),
        (AllAtOnceArrivals(), {"count": 10**9}, r"workload.num_requests: 1e\+09 requests"),
        (
            PiecewiseArrivals(rates_rps=[1.0, 1e6], step_s=10.0),
            {"duration_s": 1e3},
            r"workload.arrivals.rates_rps: 9.9e\+08 requests would arrive in 1000 s",
        ),
        (
            ModulatedPoissonArrivals(states=[{"rate_rps": 1e7, "mean_sojourn_s": 1.0}]),
            {"duration_s": 1e3},
            r"workload.arrivals.states: 1e\+10 requests",
        ),
        (
            ModulatedPoissonArrivals(
                states=[
                    {"rate_rps": 1.0, "mean_sojourn_s": 1e-9},
                    {"rate_rps": 2.0, "mean_sojourn_s": 1e-9},
                ]
            ),
            {"count": 1000},
            r"workload.arrivals.states: the state would change 6.67e\+11 times",
        ),
        (
            BurstArrivals(rate_rps=1e3, mean_size=1e3, gap_s=1e4),
            {"count": 10},
            r"workload.arrivals.gap_s: bursts of up to 3.67e\+08 s: 3.67e\+11 requests to draw",
        ),
    ],
)
def test_a_mistaken_number_of_requests_is_refused_before_it_is_drawn(law, end, message):
    with pytest.raises(InputError, match=message):
        law.times(0, "default", **end)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"kind": "poisson", "rate_rps": -1.0}, "greater than 0"),
        ({"kind": "poisson", "rate_rps": 0}, "greater than 0"),
        ({"kind": "poisson", "rate_rps": 1e-300}, "30 years"),
        ({"kind": "poisson", "rate_rps": 1e300}, "less than or equal to 1000000000"),
        ({"kind": "poisson", "rate_rps": float("inf")}, "finite"),
        ({"kind": "poisson", "rate_rps": "2"}, "valid number"),
        ({"kind": "poisson"}, "Field required"),
        ({"kind": "poisson", "rate_rps": 1, "rate": 2}, "Extra inputs"),
        ({"kind": "all_at_once", "rate_rps": 1}, "Extra inputs"),
        ({"kind": "bursty"}, "poisson"),
        ({"kind": "gamma", "rate_rps": 1}, "Field required"),
        ({"kind": "gamma", "rate_rps": 1, "cv": 0}, "greater than 0"),
        ({"kind": "gamma", "rate_rps": 1, "cv": 1e-4}, "use deterministic"),
        ({"kind": "weibull", "rate_rps": 1, "cv": -2}, "greater than 0"),
        ({"kind": "weibull", "rate_rps": 1, "cv": 101}, "less than or equal to 100"),
        ({"kind": "mmpp", "states": []}, "at least 1 item"),
        ({"kind": "mmpp", "states": [{"rate_rps": 0, "mean_sojourn_s": 1}]}, "must not all be 0"),
        ({"kind": "mmpp", "states": [{"rate_rps": -1, "mean_sojourn_s": 1}]}, "equal to 0"),
        ({"kind": "mmpp", "states": [{"rate_rps": 1, "mean_sojourn_s": 0}]}, "greater than 0"),
        ({"kind": "mmpp", "states": [{"rate_rps": 1}]}, "Field required"),
        ({"kind": "mmpp", "states": TWO_STATES, "next_state": "best"}, "'cyclic' or 'random'"),
        ({"kind": "piecewise", "rates_rps": [], "step_s": 1}, "at least 1 item"),
        ({"kind": "piecewise", "rates_rps": [0, 0], "step_s": 1}, "must not all be 0"),
        ({"kind": "piecewise", "rates_rps": [1, -1], "step_s": 1}, "greater than or equal to 0"),
        ({"kind": "piecewise", "rates_rps": [1, 1e-10], "step_s": 1}, "30 years: use 0"),
        ({"kind": "piecewise", "rates_rps": [1, 2]}, "either step_s or times_s"),
        ({"kind": "piecewise", "rates_rps": [1], "step_s": 1, "times_s": [0]}, "either step_s"),
        ({"kind": "piecewise", "rates_rps": [1], "step_s": 0}, "greater than or equal to 0.001"),
        ({"kind": "piecewise", "rates_rps": [1, 2], "times_s": [0]}, "2 rates need 2 times; there"),
        (
            {"kind": "piecewise", "rates_rps": [1, 2], "times_s": [0, 5], "repeat": True},
            "need 3 times, the last being the end of the cycle; there are 2",
        ),
        ({"kind": "piecewise", "rates_rps": [1, 2], "times_s": [1, 5]}, "begins at 0, not at 1"),
        ({"kind": "piecewise", "rates_rps": [1, 2], "times_s": [0, 0]}, "ascending"),
        (
            {"kind": "piecewise", "rates_rps": [1], "times_s": [0, 1e-9], "repeat": True},
            "0.001 s or longer",
        ),
        ({"kind": "diurnal", "rate_rps": 1, "amplitude": 1.1}, "less than or equal to 1"),
        ({"kind": "diurnal", "rate_rps": 1, "amplitude": 1, "peak_hour": 24}, "less than 24"),
        ({"kind": "diurnal", "rate_rps": 1, "amplitude": 1, "cv": 0}, "greater than 0"),
        ({"kind": "bursts", "rate_rps": 1, "mean_size": 0.5}, "greater than or equal to 1"),
        (
            {"kind": "bursts", "rate_rps": 1, "mean_size": 2.5, "size_law": "fixed"},
            "must be a whole number, not 2.5",
        ),
        ({"kind": "bursts", "rate_rps": 1, "mean_size": 2, "gap_s": -1}, "equal to 0"),
        ({"kind": "trace_times", "path": ""}, "at least 1 character"),
        ({"kind": "trace_times", "path": "a.csv", "format": "azur"}, "known: auto, azure_llm"),
        ({"kind": "trace_times", "path": "a.csv", "rate_scale": 0}, "greater than 0"),
    ],
)
def test_bad_arrivals_are_refused(content, message):
    with pytest.raises(ValidationError, match=message):
        ADAPTER.validate_python(content)


def test_every_process_is_read_from_a_mapping_and_says_what_it_is():
    described = {
        "gamma, 2 requests/s, CV 1.5": {"kind": "gamma", "rate_rps": 2, "cv": 1.5},
        "gamma, 2 requests/s, CV 1.5, begun at a request": {
            "kind": "gamma",
            "rate_rps": 2,
            "cv": 1.5,
            "stationary": False,
        },
        "weibull, 2 requests/s, CV 0.5": {"kind": "weibull", "rate_rps": 2, "cv": 0.5},
        "poisson, 2 requests/s, rescaled to the nominal duration": {
            "kind": "poisson",
            "rate_rps": 2,
            "rescale_to_nominal": True,
        },
        "mmpp, 3 requests/s (states of 9, 1)": {"kind": "mmpp", "states": TWO_STATES},
        "gamma of CV 2, 3 levels from 1 to 5 requests/s, repeated": {
            "kind": "piecewise",
            "rates_rps": [1, 5, 2],
            "step_s": 60,
            "repeat": True,
            "cv": 2,
        },
        "poisson, 7 requests/s": {"kind": "piecewise", "rates_rps": [7], "step_s": 1},
        "poisson, 7 requests/s, in batches every 3 s": {
            "kind": "batched",
            "rates_rps": [7],
            "step_s": 1,
            "tick_s": 3,
        },
        "poisson, 4 requests/s ± 50 % over the day, most at 14 h": {
            "kind": "diurnal",
            "rate_rps": 4,
            "amplitude": 0.5,
        },
        "bursts, 4 requests/s, geometric size 3 at once": {
            "kind": "bursts",
            "rate_rps": 4,
            "mean_size": 3,
        },
        "times of trace azure.csv, rate x 2, repeated": {
            "kind": "trace_times",
            "path": "/data/azure.csv",
            "rate_scale": 2,
            "repeat": True,
        },
    }
    for words, content in described.items():
        assert ADAPTER.validate_python(content).describe() == words


def test_mean_rates():
    assert GammaArrivals(rate_rps=2.0, cv=3.0).mean_rate_rps() == 2.0
    assert ModulatedPoissonArrivals(states=TWO_STATES).mean_rate_rps() == 3.0
    assert DiurnalArrivals(rate_rps=2.5, amplitude=1.0).mean_rate_rps() == pytest.approx(2.5)
    assert AllAtOnceArrivals().mean_rate_rps() == math.inf
    assert ClosedLoopArrivals(concurrency=2).mean_rate_rps() == math.inf
    levels = {"rates_rps": [1.0, 5.0, 0.0], "step_s": 10.0}
    assert PiecewiseArrivals(**levels, repeat=True).mean_rate_rps() == 2.0
    assert PiecewiseArrivals(**levels).mean_rate_rps() == 3.0, "until the rate falls to 0 for good"
    assert PiecewiseArrivals(rates_rps=[1.0, 5.0], step_s=10.0).mean_rate_rps() == 5.0


def test_expected_counts():
    levels = {"rates_rps": [1.0, 5.0, 0.0, 2.0], "step_s": 10.0}
    once, again = PiecewiseArrivals(**levels), PiecewiseArrivals(**levels, repeat=True)
    for law in (once, again):
        expected = [law.expected_count(t) for t in (0, 4, 10, 12, 20, 29, 35, 40)]
        assert expected == [0, 4, 10, 20, 60, 60, 70, 80]
    assert once.expected_count(100) == 200
    assert again.expected_count(125) == 3 * 80 + 5
    night = DiurnalArrivals(rate_rps=1.0, amplitude=1.0, peak_hour=12.0)
    assert night.expected_count(43_200) == pytest.approx(43_200)
    assert night.expected_count(6 * 3600) == pytest.approx(21_600 - 86_400 / math.tau)


def test_a_process_is_scaled_in_its_level_only():
    poisson = PoissonArrivals(rate_rps=2.0)
    assert poisson.scaled(1.5) == PoissonArrivals(rate_rps=3.0)
    assert GammaArrivals(rate_rps=2.0, cv=3.0).scaled(0.5) == GammaArrivals(rate_rps=1.0, cv=3.0)
    states = [state | {"rate_rps": 2 * state["rate_rps"]} for state in TWO_STATES]
    doubled = ModulatedPoissonArrivals(states=TWO_STATES).scaled(2.0)
    assert doubled == ModulatedPoissonArrivals(states=states)
    levels = PiecewiseArrivals(rates_rps=[1, 0, 4], times_s=[0, 5, 9], cv=2.0)
    more = PiecewiseArrivals(rates_rps=[2, 0, 8], times_s=[0, 5, 9], cv=2.0)
    assert levels.scaled(2.0) == more
    day = DiurnalArrivals(rate_rps=1.0, amplitude=0.3, peak_hour=3.0)
    assert day.scaled(4.0) == DiurnalArrivals(rate_rps=4.0, amplitude=0.3, peak_hour=3.0)
    bursts = BurstArrivals(rate_rps=1.0, mean_size=5.0, gap_s=0.5)
    assert bursts.scaled(4.0) == BurstArrivals(rate_rps=4.0, mean_size=5.0, gap_s=0.5)
    assert AllAtOnceArrivals().scaled(0.1) == AllAtOnceArrivals()
    with pytest.raises(ValueError, match="no rate to scale"):
        ClosedLoopArrivals(concurrency=3).scaled(2.0)
    for factor in (0.0, -1.0, math.inf, math.nan):
        for law in (poisson, levels, bursts, AllAtOnceArrivals()):
            with pytest.raises(ValueError, match="positive, finite factor"):
                law.scaled(factor)
    with pytest.raises(ValueError, match="30 years"):
        poisson.scaled(1e-10)


def test_a_cv_of_1_is_poisson_to_the_last_bit():
    times = PoissonArrivals(rate_rps=2.0).times(3, "a", count=2000)
    for law in (
        GammaArrivals(rate_rps=2.0, cv=1.0),
        WeibullArrivals(rate_rps=2.0, cv=1.0),
        PiecewiseArrivals(rates_rps=[2.0], times_s=[0]),
        ModulatedPoissonArrivals(states=[{"rate_rps": 2.0, "mean_sojourn_s": 1e9}]),
    ):
        np.testing.assert_array_equal(law.times(3, "a", count=2000), times)


def test_levels_without_repeat_stay_or_end():
    goes_on = PiecewiseArrivals(rates_rps=[0.0, 10.0], times_s=[0, 5])
    times = goes_on.times(0, "a", count=5000)
    assert times[0] > 5
    assert times[-1] == pytest.approx(505, rel=0.05)
    ends = PiecewiseArrivals(rates_rps=[10.0, 0.0], step_s=50.0)
    times = ends.times(0, "a", count=5000)
    assert len(times) == pytest.approx(500, abs=100)
    assert times[-1] < 50
    np.testing.assert_array_equal(ends.times(0, "a", duration_s=1e6), times)


def test_batches_are_levels_seen_by_a_coarse_clock():
    levels = {"rates_rps": [3.0, 0.5], "step_s": 20.0, "repeat": True, "cv": 1.5}
    seen = BatchedArrivals(**levels, tick_s=4.0).times(5, "a", count=2000)
    exact = PiecewiseArrivals(**levels).times(5, "a", count=2000)
    np.testing.assert_array_equal(seen, 4.0 * np.floor(exact / 4.0))


def test_rescaling_ends_at_the_nominal_duration_and_needs_a_count():
    law = WeibullArrivals(rate_rps=4.0, cv=2.0, rescale_to_nominal=True)
    times = law.times(1, "a", count=1000)
    assert times[-1] == 250.0
    raw = WeibullArrivals(rate_rps=4.0, cv=2.0, stationary=False).times(1, "a", count=1000)
    np.testing.assert_allclose(times, raw * (250.0 / raw[-1]), rtol=1e-12)
    early = law.times(1, "a", count=1000, duration_s=100.0)
    np.testing.assert_array_equal(early, times[times < 100.0])
    with pytest.raises(InputError, match=r"num_requests: rescale_to_nominal needs the number"):
        law.times(1, "a", duration_s=100.0)


def test_gaps_of_many_cvs_at_once_are_those_of_each():
    u = uniforms(0, "arrivals", "a", 5)
    cvs = np.array([[0.1], [0.5], [2.0], [30.0]])
    for draw in (gamma_gaps, weibull_gaps):
        together = draw(u[:, 0], cvs)
        assert together.shape == (4, 5)
        for row, cv in zip(together, cvs[:, 0], strict=True):
            np.testing.assert_array_equal(row, draw(u[:, 0], cv))
    together = equilibrium_gap(u[:, 0], u[:, 1], cvs, "weibull")
    np.testing.assert_array_equal(together[2], equilibrium_gap(u[:, 0], u[:, 1], 2.0, "weibull"))
    assert weibull_shape(cvs).shape == (4, 1)
    assert weibull_shape(1.0) == 1.0


def test_a_smaller_uniform_is_a_longer_gap_of_few_bits():
    u = np.arange(1, 1000) / 1000
    for draw in (gamma_gaps, weibull_gaps):
        for cv in (0.02, 0.7, 3.0):
            gaps = draw(u, cv)
            assert (np.diff(gaps) < 0).all()
            bits = np.frexp(gaps)[0] * 2.0**21  # the rest is not the same on every machine
            assert (bits == np.round(bits)).all()


@pytest.mark.parametrize("cv", [0.0, -1.0, math.nan, 101.0, [1.0, 0.0]])
def test_gaps_of_no_law_are_refused(cv):
    for draw in (gamma_gaps, weibull_gaps):
        with pytest.raises(ValueError, match="coefficient of variation must be from"):
            draw(np.array([0.5, 0.5]), cv)
    with pytest.raises(ValueError, match="coefficient of variation must be from"):
        equilibrium_gap(0.5, 0.5, cv, "gamma")


@pytest.fixture
def trace(tmp_path):
    """Requests at 0, 1, 4 and 9 s after the first row, which nobody can serve."""
    path = tmp_path / "trace.csv"
    rows = ["TIMESTAMP,ContextTokens,GeneratedTokens", "2023-11-16 18:15:40.0,0,5"]
    rows += [f"2023-11-16 18:15:{40 + second}.5,10,10" for second in (0, 1, 4, 9)]
    path.write_text("\n".join(rows) + "\n")
    return path


def test_times_of_a_trace(trace):
    law = TraceTimesArrivals(path=str(trace))
    assert law.times(0, "a", count=3).tolist() == [0.5, 1.5, 4.5]
    assert law.times(0, "a", count=30).tolist() == [0.5, 1.5, 4.5, 9.5]
    assert law.times(0, "a", duration_s=4.5).tolist() == [0.5, 1.5]
    assert law.mean_rate_rps() == pytest.approx(3 / 9)
    assert law.expected_count(4.5) == 2
    fast = law.scaled(2.0)
    assert fast == TraceTimesArrivals(path=str(trace), rate_scale=2.0)
    assert fast.times(5, "b", duration_s=100.0).tolist() == [0.25, 0.75, 2.25, 4.75]


def test_a_trace_repeats_after_one_mean_gap(trace):
    law = TraceTimesArrivals(path=str(trace), repeat=True)
    times = law.times(0, "a", count=10)
    assert times.tolist() == [0.5, 1.5, 4.5, 9.5, 12.5, 13.5, 16.5, 21.5, 24.5, 25.5]
    assert law.times(0, "a", duration_s=12.5).tolist() == times[:4].tolist()
    assert law.expected_count(1200.0) == pytest.approx(400)


def test_a_changed_trace_is_read_again(trace):
    law = TraceTimesArrivals(path=str(trace))
    before = os.stat(trace).st_mtime_ns
    assert len(law.times(0, "a", count=9)) == 4
    trace.write_text(trace.read_text() + "2023-11-16 18:15:59.5,10,10\n")
    os.utime(trace, ns=(before + 10**9, before + 10**9))
    assert len(law.times(0, "a", count=9)) == 5


def test_a_trace_that_gives_no_times_is_named(trace, tmp_path):
    with pytest.raises(InputError, match=r"none\.csv: no such file"):
        TraceTimesArrivals(path=str(tmp_path / "none.csv")).times(0, "a", count=1)
    with pytest.raises(InputError, match="can't be read"):
        TraceTimesArrivals(path="a\0b").times(0, "a", count=1)
    trace.write_text("nothing of the kind\n")
    with pytest.raises(InputError, match=r"trace\.csv:1"):
        TraceTimesArrivals(path=str(trace)).mean_rate_rps()
    rows = ["TIMESTAMP,ContextTokens,GeneratedTokens"] + 2 * ["2023-11-16 18:15:40.0,9,5"]
    trace.write_text("\n".join(rows) + "\n")
    once = TraceTimesArrivals(path=str(trace))
    assert once.times(0, "a", count=5).tolist() == [0.0, 0.0]
    assert once.mean_rate_rps() == math.inf
    again = TraceTimesArrivals(path=str(trace), repeat=True)
    with pytest.raises(InputError, match=r"trace\.csv: workload\.arrivals\.repeat: .*one time"):
        again.times(0, "a", count=5)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared workload data")
def test_times_of_the_azure_trace():
    path = SHARED / "AzureLLMInferenceTrace_conv.csv.gz"
    law = TraceTimesArrivals(path=str(path), repeat=True)
    assert law.mean_rate_rps() == pytest.approx(5.53, abs=0.01)
    times = law.times(0, "a", count=50_000)
    gaps = np.diff(times)
    assert gaps[19_365] == pytest.approx(1 / law.mean_rate_rps(), rel=1e-6)  # between two rounds
    np.testing.assert_allclose(gaps[19_366:], gaps[: 50_000 - 19_367], rtol=0, atol=1e-8)
