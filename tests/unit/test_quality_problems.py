import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import InputError
from simulator.quality import (
    CORRECT,
    WRONG,
    AccuracyCurve,
    AttemptLuck,
    QualityModel,
    difficulty_quantile,
    independent,
    solve_probability,
    solves,
)
from simulator.rng import uniforms

MIDDLES = (np.arange(40_000) + 0.5) / 40_000
MODEL = QualityModel(AccuracyCurve(0.0, 0.8, 2760.0, 0.92, 500.0, 60_000.0), 0.65, 0.4, 8000.0)


@pytest.mark.parametrize("mean", [0.01, 0.3, 0.726, 0.98])
@pytest.mark.parametrize("rho", [0.05, 0.65, 0.9])
def test_mean_and_correlation_over_problems(mean, rho):
    p = solve_probability(mean, rho, MIDDLES)
    assert p.mean() == pytest.approx(mean, abs=2e-4)
    assert p.var() == pytest.approx(rho * mean * (1 - mean), abs=3e-4)


@given(st.floats(0.001, 0.97), st.floats(0.0, 0.02), st.floats(0.0, 0.95), st.floats(0.001, 0.999))
def test_more_accuracy_never_hurts_a_problem(mean, more, rho, u):
    low, high = solve_probability([mean, mean + more], rho, u)
    assert 0.0 <= low <= high <= 1.0


@given(st.floats(0.001, 0.999), st.floats(0.0, 0.95), st.floats(0.001, 0.999))
def test_harder_is_less_probable(mean, rho, u):
    assert solve_probability(mean, rho, u) >= solve_probability(mean, rho, u + 1e-4)


@given(st.floats(0, 1), st.floats(0.0, 0.95), st.floats(0.001, 0.999), st.floats(0.001, 0.999))
def test_solves_is_luck_below_the_probability(mean, rho, u, v):
    p = float(solve_probability(mean, rho, u))
    if abs(p - v) > 1e-9:
        assert bool(solves(mean, rho, u, v)) == (v < p)


def test_certain_and_impossible():
    assert solve_probability([0.0, 1.0], 0.6, 0.5).tolist() == [0.0, 1.0]
    assert solves([0.0, 1.0], 0.6, 0.5, 0.5).tolist() == [False, True]


def test_equal_problems():
    assert solve_probability(0.7, 0.0, [0.1, 0.9]).tolist() == [0.7, 0.7]
    assert independent(0.7).solve_probability([0.1, 0.9], 5000).tolist() == [0.7, 0.7]


def test_a_right_attempt_stays_right_with_more_thinking():
    queries = np.arange(300)
    luck = AttemptLuck(3)(queries, 0)
    right = MODEL.correct(MIDDLES[::133][:300], luck, np.geomspace(600, 30_000, 20)[:, None])
    assert np.all(right[1:] >= right[:-1])
    assert right[-1].sum() > right[0].sum() + 50


def test_forced_over_length_loses_some():
    luck = AttemptLuck(3)(np.arange(2000), 0)
    own = MODEL.correct(0.4, luck, 30_000)
    forced = MODEL.correct(0.4, luck, 30_000, forced=True)
    assert np.all(own >= forced)
    assert own.sum() > forced.sum()


def test_frequencies_are_the_accuracy():
    queries = np.arange(40_000)
    luck = AttemptLuck(5)(queries, 2)
    right = MODEL.correct(MIDDLES, luck, 5000)
    assert right.mean() == pytest.approx(float(MODEL.accuracy(5000)), abs=0.008)
    answers = MODEL.answers(MIDDLES, luck, 2, 5000)
    wrong = answers[~right]
    assert set(np.unique(answers)) == {0, 1, 4}
    assert (wrong == 1).mean() == pytest.approx(0.4, abs=0.01)


def test_luck_depends_on_query_and_sample_only():
    together = AttemptLuck(11, "math")(np.arange(3000)[:, None], [0, 5])
    luck = AttemptLuck(11, "math")
    assert np.array_equal(luck(2999, 5), together[2999, 1])
    assert np.array_equal(luck([7, 2500, 7], [5, 0, 0]), together[[7, 2500, 7], [1, 0, 0]])
    assert np.array_equal(luck(1030, 5), uniforms(11, "correct", "math", 1, 1030, sample=5)[0])
    assert not np.array_equal(AttemptLuck(11, "code")(7, 5), luck(7, 5))
    assert luck(7, 5)[CORRECT] != luck(7, 5)[WRONG]


def test_luck_survives_its_cache():
    luck = AttemptLuck(2)
    first = luck(np.arange(0, 3_000_000, 1024), 0)
    assert len(luck._blocks) <= 512
    assert np.array_equal(luck(0, 0), first[0])


def test_luck_counts_from_zero():
    with pytest.raises(ValueError, match="counted from 0"):
        AttemptLuck(1)(-1, 0)
    assert AttemptLuck(1)([], []).shape == (0, 4)


def test_effective_tokens():
    assert MODEL.effective_tokens([2000, 4000, 500], [4000, 4000, 0]).tolist() == [4000, 8000, 500]
    assert independent(0.5).effective_tokens(123, 456) == 123


def test_quantile_of_difficulty():
    given = np.array([0.2, np.nan, 0.9])
    plain = difficulty_quantile(given, seed=4)
    assert plain[[0, 2]].tolist() == [0.2, 0.9]
    assert 0 < plain[1] < 1
    assert plain[1] == difficulty_quantile(np.full(5, np.nan), seed=4)[1]
    lawful = difficulty_quantile(np.random.default_rng(0).beta(0.74, 0.6, 20_000), (0.74, 0.6))
    assert np.quantile(lawful, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.02)
    assert difficulty_quantile([0.0, 1.0]).min() > 0
    assert difficulty_quantile([0.0, 1.0]).max() < 1


def test_lossy_cache():
    assert MODEL.lossy(0.9).accuracy(5000) == pytest.approx(0.9 * MODEL.accuracy(5000))


def test_bad_models():
    with pytest.raises(InputError) as caught:
        QualityModel(AccuracyCurve.flat(0.5), 1.0, 1.5, -1.0)
    fields = [problem.field for problem in caught.value.problems]
    assert fields == ["rho", "dominant_share", "reference_tokens"]
