"""Arrivals are fitted to rate, irregularity and ticks of a clock; `batched` draws the ticks."""

from itertools import pairwise

import numpy as np
import pytest

from workloads.arrivals import BatchedArrivals, GammaArrivals, PiecewiseArrivals
from workloads.fitting.arrivals import TIES_MATTER, as_process, fit_arrivals
from workloads.fitting.gap_statistics import (
    dispersion,
    gap_cv,
    rates_over_time,
    sensible_step_s,
    tick_of,
    tie_share,
)


def gamma_times(cv: float, n: int = 20_000, rate: float = 4.0, seed: int = 0) -> np.ndarray:
    shape = 1 / cv**2
    return np.cumsum(np.random.default_rng(seed).gamma(shape, 1 / shape / rate, n))


def test_statistics_of_gaps() -> None:
    assert gap_cv(np.array([0.0, 1.0, 2.0, 3.0])) == 0
    assert gap_cv(np.array([0.0, 1.0, 1.0, 4.0])) == pytest.approx(np.std([1, 0, 3]) / (4 / 3))
    assert gap_cv(np.zeros(5)) is None
    assert gap_cv(np.array([1.0, 2.0])) is None
    assert tie_share(np.array([0.0, 0.0, 1.0])) == 0.5
    assert tie_share(np.array([0.0])) == 0


@pytest.mark.parametrize("cv", [0.5, 1.0, 3.0])
def test_dispersion_of_a_renewal_process_tends_to_cv_squared(cv: float) -> None:
    times = gamma_times(cv, 200_000)
    assert dispersion(times, 100.0) == pytest.approx(cv**2, rel=0.2)
    assert dispersion(times[:20], 100.0) is None


def test_the_tick_of_a_clock() -> None:
    times = gamma_times(1.0, 5_000)
    assert tick_of(np.floor(times)) == pytest.approx(1)
    jitter = np.random.default_rng(1).normal(0, 0.001, 400)
    assert tick_of(np.sort(3.0 * np.arange(400) + jitter)) == pytest.approx(3, rel=1e-4)
    assert tick_of(times) is None
    assert tick_of(np.array([0.0, 1.0])) is None


def clumped_times(cv: float) -> np.ndarray:
    """An hour of gamma gaps, many of them too short for the sum to change."""
    return GammaArrivals(rate_rps=5, cv=cv).times(0, "x", duration_s=3600.0)


@pytest.mark.parametrize("cv", [3.0, 5.0, 10.0])
def test_the_resolution_of_numbers_is_no_clock(cv: float) -> None:
    times = clumped_times(cv)
    assert (np.diff(times) == 0).mean() > TIES_MATTER
    assert tick_of(times) is None
    assert tie_share(times) == 0
    fitted = fit_arrivals(times)
    assert fitted.fields["kind"] == "piecewise"
    assert not any("grid" in note for note in fitted.notes)
    drawn = as_process(fitted.fields).times(1, "d", **fitted.ends)
    assert gap_cv(drawn) == pytest.approx(gap_cv(times), rel=0.1)


def test_a_clock_of_a_microsecond_is_the_finest() -> None:
    fitted = fit_arrivals(clumped_times(3.0).round(6))
    assert (fitted.fields["kind"], fitted.fields["tick_s"]) == ("batched", 1e-6)
    assert tick_of(np.arange(1000) * 1e-7) is None


def test_bursts_are_ties_at_any_rate() -> None:
    times = np.repeat(np.cumsum(np.random.default_rng(0).exponential(1e-6, 4_000)), 3)
    assert tie_share(times) == pytest.approx(2 / 3, abs=1e-3)


def test_steps_are_round_and_full() -> None:
    times = gamma_times(1.0, 20_000)  # 4 a second, 5,000 s
    assert sensible_step_s(times, count=100, steps=1_000) == 30
    assert sensible_step_s(times, count=1, steps=100) == 60
    assert sensible_step_s(np.array([0.0, 1e9]), count=1, steps=10) == 1e8


def test_rates_add_up_to_the_arrivals() -> None:
    times = np.array([0.0, 1.0, 2.5, 9.0])
    rates = rates_over_time(times, 2.0, 9.0)
    np.testing.assert_allclose(rates, [1.0, 0.5, 0.0, 0.0, 1.0])
    assert rates @ np.array([2, 2, 2, 2, 1]) == len(times)


@pytest.mark.parametrize("cv", [0.4, 1.0, 2.5])
def test_irregular_gaps_are_reproduced(cv: float) -> None:
    times = gamma_times(cv)
    fitted = fit_arrivals(times)
    assert fitted.fields["kind"] == "piecewise"
    drawn = as_process(fitted.fields).times(1, "d", **fitted.ends)
    assert len(drawn) == pytest.approx(len(times), rel=0.05)
    assert gap_cv(drawn) == pytest.approx(fitted.cv, rel=0.05)
    assert drawn[-1] == pytest.approx(times[-1] - times[0], rel=0.02)


def test_a_changing_rate_is_followed() -> None:
    swing = PiecewiseArrivals(rates_rps=(1.0, 8.0, 3.0, 0.0, 6.0), step_s=600.0)
    times = swing.times(0, "x", duration_s=3000.0)
    fitted = fit_arrivals(times)
    drawn = as_process(fitted.fields).times(5, "y", **fitted.ends)
    levels = np.histogram(drawn, bins=600 * np.arange(6))[0] / 600
    np.testing.assert_allclose(levels, swing.rates_rps, atol=0.4)
    assert gap_cv(drawn) == pytest.approx(gap_cv(times), rel=0.1)


def test_idle_times_ask_for_shorter_steps() -> None:
    rng = np.random.default_rng(0)
    busy = [start + np.cumsum(rng.exponential(0.1, 200)) for start in range(0, 6000, 120)]
    times = np.sort(np.concatenate(busy))
    fitted = fit_arrivals(times)
    assert fitted.fields["step_s"] < 20
    drawn = as_process(fitted.fields).times(2, "d", **fitted.ends)
    assert gap_cv(drawn) == pytest.approx(gap_cv(times), rel=0.1)


def test_a_coarse_clock_gives_batches() -> None:
    times = np.floor(gamma_times(1.0) / 3) * 3
    fitted = fit_arrivals(times)
    assert fitted.fields["kind"] == "batched"
    assert fitted.fields["tick_s"] == 3
    drawn = as_process(fitted.fields).times(7, "d", **fitted.ends)
    assert tie_share(drawn) == pytest.approx(tie_share(times), abs=0.01)
    assert gap_cv(drawn) == pytest.approx(gap_cv(times), rel=0.03)
    assert (drawn % 3 == 0).all()


def test_rare_arrivals_on_a_clock() -> None:
    times = np.floor(gamma_times(1.5, 5_000, rate=0.3))
    fitted = fit_arrivals(times)
    drawn = as_process(fitted.fields).times(3, "d", **fitted.ends)
    assert tie_share(drawn) == pytest.approx(tie_share(times), rel=0.15)
    assert gap_cv(drawn) == pytest.approx(gap_cv(times), rel=0.05)


def test_bursts_off_any_grid() -> None:
    rng = np.random.default_rng(0)
    times = np.repeat(np.cumsum(rng.exponential(1, 3_000)), rng.geometric(0.25, 3_000))
    fitted = fit_arrivals(times)
    assert fitted.fields["kind"] == "bursts"
    assert fitted.fields["mean_size"] == pytest.approx(4, rel=0.05)
    drawn = as_process(fitted.fields).times(3, "d", **fitted.ends)
    assert gap_cv(drawn) == pytest.approx(gap_cv(times), rel=0.1)
    assert tie_share(drawn) == pytest.approx(tie_share(times), rel=0.05)


@pytest.mark.parametrize(
    ("times", "kind", "ends"),
    [
        ([5.0], "all_at_once", {"num_requests": 1}),
        ([0.0, 0.0, 0.0], "all_at_once", {"num_requests": 3}),
        (np.arange(100.0), "deterministic", {"num_requests": 100}),
        ([0.0, 1.0], "piecewise", {"duration_s": 2.0}),
    ],
)
def test_degenerate_traces(times: list, kind: str, ends: dict) -> None:
    fitted = fit_arrivals(np.array(times))
    assert fitted.fields["kind"] == kind
    assert fitted.ends == ends
    as_process(fitted.fields)


def test_few_requests_say_so() -> None:
    fitted = fit_arrivals(np.array([0.0, 0.5, 0.6, 3.0]))
    assert fitted.fields["cv"] == 1
    assert any("too few" in note for note in fitted.notes)


def test_a_class_keeps_its_place_in_the_trace() -> None:
    late = 5_000 + gamma_times(1.0, 4_000)
    fitted = fit_arrivals(late, span_s=(0.0, 7_000.0))
    assert fitted.ends == {"duration_s": 7_000}
    drawn = as_process(fitted.fields).times(0, "d", **fitted.ends)
    assert drawn[0] > 4_900
    assert len(drawn) == pytest.approx(4_000, rel=0.08)


def test_batches_are_the_arrivals_within_a_tick() -> None:
    plain = PiecewiseArrivals(rates_rps=(4.0, 1.0), step_s=50.0, cv=1.5, repeat=True)
    batched = BatchedArrivals(rates_rps=(4.0, 1.0), step_s=50.0, cv=1.5, repeat=True, tick_s=3.0)
    times = plain.times(1, "c", duration_s=2_998.0)
    seen = batched.times(1, "c", duration_s=2_998.0)
    np.testing.assert_array_equal(seen[: len(times)], np.floor(times / 3) * 3)
    assert len(seen) >= len(times)  # an arrival in the last tick was begun before the end
    assert batched.mean_rate_rps() == plain.mean_rate_rps()
    assert batched.scaled(2.0).rates_rps == (8.0, 2.0)
    assert "in batches every 3 s" in batched.describe()


def test_longer_runs_begin_with_the_same_batches() -> None:
    batched = BatchedArrivals(rates_rps=(2.0,), step_s=10.0, repeat=True, tick_s=1.0)
    lengths = [len(batched.times(4, "c", count=count)) for count in (10, 1_000)]
    assert lengths == [10, 1_000]
    for count, more in pairwise((10, 100, 5_000)):
        np.testing.assert_array_equal(
            batched.times(4, "c", count=count), batched.times(4, "c", count=more)[:count]
        )
