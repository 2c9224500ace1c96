import numpy as np
import pytest

from simulator.quality import AccuracyCurve, QualityModel, optimal_tokens

SIMPLE = QualityModel(AccuracyCurve(0.0, 0.9, 3000.0, 1.0))
FULL = QualityModel(AccuracyCurve(0.05, 0.8, 2760.0, 1.6, 500.0, 60_000.0), 0.65, 0.4)


def test_the_analytic_optimum():
    value = np.geomspace(1e-3, 100, 60)
    exact = np.maximum(np.sqrt(value * 0.9 * 3000 / 1e-5) - 3000, 0)
    # a maximum is flat: its place is known to the square root of the rounding of its height
    assert optimal_tokens(SIMPLE, value, 1e-5) == pytest.approx(exact, rel=1e-5, abs=1e-3)


@pytest.mark.parametrize("u", [None, 0.05, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("value", [0.01, 0.3, 20.0])
def test_no_other_length_is_better(u, forced, value):
    best = float(optimal_tokens(FULL, value, 1e-5, difficulty=u, max_tokens=2e5, forced=forced))
    assert 0 <= best <= 2e5

    def gain(tokens):
        if u is None:
            return value * FULL.accuracy(tokens, forced) - 1e-5 * tokens
        return value * FULL.solve_probability(u, tokens, forced) - 1e-5 * tokens

    others = np.concatenate([[0.0], np.geomspace(1, 2e5, 20_001)])
    assert gain(np.array(best)) >= gain(others).max() - 1e-9 * value


def test_hopeless_problems_get_nothing():
    assert optimal_tokens(FULL, 1.0, 1e-5, difficulty=0.9999) == 0.0
    assert optimal_tokens(FULL, 1.0, 1e-5, difficulty=0.5) > 3000


def test_many_problems_are_tabulated():
    u = np.linspace(0.001, 0.999, 3000)
    table = optimal_tokens(FULL, 1.0, 1e-5, difficulty=u)
    few = optimal_tokens(FULL, 1.0, 1e-5, difficulty=u[::100])
    assert table.shape == u.shape
    assert np.array_equal(table[::100] == 0, few == 0)
    paid = few > 0
    assert np.abs(table[::100][paid] / few[paid] - 1).max() < 5e-3


def test_free_tokens_and_worthless_answers():
    assert optimal_tokens(SIMPLE, 1.0, 0.0, max_tokens=5000) == pytest.approx(5000)
    assert optimal_tokens(SIMPLE, 0.0, 1e-5) == 0.0
    peak = optimal_tokens(FULL, 1.0, 0.0, forced=True)
    assert FULL.accuracy(peak, True) > max(FULL.accuracy([peak * 0.9, peak * 1.1], True))


def test_shapes_broadcast():
    found = optimal_tokens(SIMPLE, [[0.1], [1.0]], [1e-5, 1e-4, 1e-3])
    assert found.shape == (2, 3)
    assert found[1, 0] == optimal_tokens(SIMPLE, 1.0, 1e-5)


def test_nonsense():
    for value, price, most in ((-1, 1e-5, 10), (1, -1e-5, 10), (1, 1e-5, 0)):
        with pytest.raises(ValueError, match="must not be negative"):
            optimal_tokens(SIMPLE, value, price, max_tokens=most)
