"""Rank correlations, and the normal scores that a copula needs to reproduce them."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from workloads.fitting.dependence import correlations, normal_score, possible, spearman
from workloads.laws.copula import Correlation


def test_spearman_is_that_of_scipy_ties_included() -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(0, 20, 500)
    second = first + rng.integers(0, 30, 500)
    assert spearman(first, second) == pytest.approx(spearmanr(first, second)[0], abs=1e-12)
    assert spearman(first, first**3) == pytest.approx(1)
    assert spearman(first, np.full(500, 3)) == 0


@pytest.mark.parametrize("score", [-0.8, -0.3, 0.0, 0.5, 0.9])
def test_a_copula_of_these_scores_has_the_rank_correlation(score: float) -> None:
    luck = np.random.default_rng(1).random((100_000, 3))
    drawn = Correlation(prompt_answer=score).correlate(luck)
    ranks = spearman(drawn[:, 0], drawn[:, 2])
    assert normal_score(ranks) == pytest.approx(score, abs=0.012)


def test_pairs_are_named_in_order() -> None:
    rng = np.random.default_rng(2)
    shared = rng.normal(size=5_000)
    columns = {
        name: np.rint(np.exp(6 + shared + rng.normal(size=5_000))).astype(np.int64)
        for name in ("prompt", "thinking", "answer")
    }
    found = correlations(columns)
    assert list(found) == ["prompt_thinking", "prompt_answer", "thinking_answer"]
    for each in found.values():
        assert each["normal_score"] == pytest.approx(0.5, abs=0.04)
        assert each["normal_score"] == pytest.approx(normal_score(each["spearman"]))


def test_an_impossible_matrix_is_shrunk_until_a_copula_takes_it() -> None:
    matrix = np.array([[1, 0.9, 0.9], [0.9, 1, -0.9], [0.9, -0.9, 1]])
    shrunk = possible(matrix)
    assert np.linalg.eigvalsh(shrunk)[0] == pytest.approx(1e-3)
    assert (np.diag(shrunk) == 1).all()
    np.testing.assert_allclose(shrunk[0, 1], -shrunk[1, 2])
    Correlation(
        prompt_thinking=shrunk[0, 1], prompt_answer=shrunk[0, 2], thinking_answer=shrunk[1, 2]
    )
    fine = np.array([[1, 0.3], [0.3, 1]])
    assert possible(fine) is fine


def test_equal_columns_stay_drawable() -> None:
    values = np.arange(100)
    (only,) = correlations({"prompt": values, "answer": values}).values()
    assert only["spearman"] == pytest.approx(1)
    assert only["normal_score"] == pytest.approx(0.99)
