import math

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import curve_fit, minimize_scalar

from simulator.errors import InputError
from simulator.quality import AccuracyCurve
from simulator.quality.fit import borrow_shape, fit_curve, rmse_points
from simulator.quality.intraclass import fit_rho

TOKENS = np.geomspace(300, 30_000, 9)


def test_exact_points_give_the_parameters_back():
    curve = AccuracyCurve(0.25, 0.85, 2500.0, 1.4)
    fit = fit_curve(TOKENS, curve.accuracy(TOKENS), False, floor=0.25)
    assert fit.curve.ceiling == pytest.approx(0.85, rel=1e-4)
    assert fit.curve.half_tokens == pytest.approx(2500, rel=1e-3)
    assert fit.curve.steepness == pytest.approx(1.4, rel=1e-3)
    assert fit.curve.onset_tokens == 0.0
    assert fit.identified
    assert fit.rmse_points < 1e-3
    assert all(error is not None and error < 1 for error in fit.standard_errors.values())


def test_onset_is_found_where_there_is_one():
    curve = AccuracyCurve(0.0, 0.8, 2800.0, 0.9, onset_tokens=600.0)
    t = np.array([600.0, 900, 1500, 3000, 5000, 8000, 15_000, 30_000])
    fit = fit_curve(t, curve.accuracy(t), True)
    assert fit.curve.onset_tokens == pytest.approx(600, abs=5)
    assert fit.standard_errors["onset_tokens"] is None or fit.curve.onset_tokens < 600
    assert fit.identified


def test_decline_is_found_in_forced_points_only():
    curve = AccuracyCurve(0.0, 0.9, 400.0, 1.0, decline_tokens=40_000.0)
    accuracy = curve.accuracy(TOKENS, forced=True)
    fit = fit_curve(TOKENS, accuracy, True)
    assert fit.curve.decline_tokens == pytest.approx(40_000, rel=0.02)
    assert fit_curve(TOKENS, accuracy, False).curve.decline_tokens == math.inf


def test_three_points_that_fall_are_solved_but_not_identified():
    t, y = [385.0, 1100.0, 15_980.0], [0.822, 0.873, 0.703]
    fit = fit_curve(t, y, True)
    assert rmse_points(fit.curve, t, y, True) < 1e-4
    assert fit.curve.ceiling == pytest.approx(0.927, abs=1e-3)
    assert fit.curve.decline_tokens == pytest.approx(58_358, rel=1e-3)
    assert not fit.identified
    assert set(fit.standard_errors.values()) == {None}


def test_standard_errors_are_those_of_least_squares():
    noise = np.random.default_rng(5).normal(0, 0.01, len(TOKENS))
    accuracy = AccuracyCurve(0.0, 0.8, 2500.0, 1.0).accuracy(TOKENS) + noise
    attempts = np.geomspace(40, 400, len(TOKENS))

    def hill(t, ceiling, half, steepness):
        return ceiling / (1 + (half / t) ** steepness)

    for n in (None, attempts):
        inside = None if n is None else (accuracy * n + 0.5) / (n + 1)
        sigma = None if n is None else np.sqrt(inside * (1 - inside) / n)
        best, covariance = curve_fit(hill, TOKENS, accuracy, [0.8, 2000, 1], sigma=sigma)
        fit = fit_curve(TOKENS, accuracy, False, n)
        found = [fit.curve.ceiling, fit.curve.half_tokens, fit.curve.steepness]
        assert found == pytest.approx(best, rel=1e-4)
        errors = list(fit.standard_errors.values())
        assert errors == pytest.approx(np.sqrt(np.diag(covariance)), rel=1e-2)


def test_points_with_many_attempts_weigh_more():
    t, y = [500.0, 2000.0, 8000.0], [0.3, 0.5, 0.8]
    few = fit_curve(t, y, False, [10, 10, 10])
    sure = fit_curve(t, y, False, [10, 100_000, 10])
    assert abs(sure.curve.accuracy(2000.0) - 0.5) < 0.2 * abs(few.curve.accuracy(2000.0) - 0.5)


def test_what_rises_nowhere_is_not_identified():
    assert not fit_curve(TOKENS, np.full(9, 0.4), False).identified
    with pytest.raises(InputError, match="two lengths"):
        fit_curve([500, 500], [0.2, 0.3], False)


def test_borrowed_shape_goes_through_the_point():
    shape = AccuracyCurve(0.25, 0.62, 725.0, 1.36, 100.0)
    for accuracy in (0.3, 0.6, 0.95):
        curve = borrow_shape(shape, 9000.0, accuracy, 4649.0)
        assert curve.accuracy(9000.0) == pytest.approx(accuracy)
        assert accuracy < curve.ceiling < 1
        assert (curve.floor, curve.steepness, curve.onset_tokens) == (0.25, 1.36, 100.0)
    same = borrow_shape(shape, 4649.0, float(shape.accuracy(4649.0)), 4649.0)
    assert same.half_tokens == pytest.approx(725.0)
    assert same.ceiling == pytest.approx(0.62)
    for tokens, accuracy in ((9000.0, 0.2), (9000.0, 1.0), (50.0, 0.5)):
        with pytest.raises(InputError, match="one point"):
            borrow_shape(shape, tokens, accuracy, 4649.0)


def test_rho_of_drawn_problems():
    rng = np.random.default_rng(3)
    groups = []
    for mean in (0.3, 0.6, 0.8):
        size = 0.4 / 0.6
        p = rng.beta(mean * size, (1 - mean) * size, 300)
        total = rng.integers(3, 12, 300)
        groups.append((rng.binomial(total, p), total))
    fit = fit_rho(groups)
    assert fit.rho == pytest.approx(0.6, abs=3 * fit.standard_error)
    assert 0.01 < fit.standard_error < 0.04
    assert fit.rho_by_moments == pytest.approx(fit.rho, abs=0.04)
    assert fit.problems == 900


def test_the_standard_error_of_rho_is_that_of_the_likelihood():
    """One standard error away the profile of the log likelihood is half a unit lower."""
    rng = np.random.default_rng(8)
    size = 0.5 / 0.5
    correct = rng.binomial(6, rng.beta(0.4 * size, 0.6 * size, 2000))
    seen = np.bincount(correct, minlength=7)

    def profile(rho):
        def loss(mean):
            a = (1 - rho) / rho
            return -seen @ stats.betabinom.logpmf(np.arange(7), 6, mean * a, (1 - mean) * a)

        return minimize_scalar(loss, bounds=(0.2, 0.6), method="bounded").fun

    fit = fit_rho([(correct, 6)])
    lowest = profile(fit.rho)
    for rho in (fit.rho - fit.standard_error, fit.rho + fit.standard_error):
        assert profile(rho) - lowest == pytest.approx(0.5, rel=0.1)


def test_rho_of_equal_problems():
    rng = np.random.default_rng(3)
    fit = fit_rho([(rng.binomial(8, 0.5, 400), 8)])
    assert fit.rho < 0.03
    assert fit_rho([([2, 2, 2, 2], 4)]).rho == 0.0


def test_counts_that_tell_nothing():
    with pytest.raises(InputError, match="two problems with two attempts"):
        fit_rho([([1, 0, 1], [1, 1, 1])])
    for correct, total in (([5], [4]), ([-1], [4]), ([0], [0])):
        with pytest.raises(InputError, match="from 0 to total"):
            fit_rho([(correct, total)])
