import itertools
import math

import numpy as np
import pytest
from scipy import stats

from simulator.quality import (
    NOBODY,
    AccuracyCurve,
    AttemptLuck,
    QualityModel,
    converges_to,
    decided,
    majority,
    pass_at_k,
    pass_at_k_from_counts,
    plurality,
    right_pmf,
    vote_odds,
)


def enumerated(n, p, share, ties):
    """A vote's accuracy from all 3^n outcomes."""
    total = 0.0
    for outcome in itertools.product("rds", repeat=n):
        weight = math.prod(
            {"r": p, "d": (1 - p) * share, "s": (1 - p) * (1 - share)}[o] for o in outcome
        )
        right, dominant, rest = (outcome.count(o) for o in "rds")
        votes = [right, dominant] + [1] * rest
        tied = votes.count(max(votes))
        if right == max(votes) and (tied == 1 or ties == "split"):
            total += weight / tied
    return total


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("share", [0.0, 0.35, 1.0])
@pytest.mark.parametrize("ties", ["split", "lose"])
def test_votes_against_all_outcomes(n, share, ties):
    for p in (0.0, 0.2, 0.55, 1.0):
        assert majority(n, p, 0.0, share, ties) == pytest.approx(enumerated(n, p, share, ties))


def test_the_figures_of_the_article():
    assert majority(5, 0.6) == pytest.approx(0.683, abs=5e-4)
    assert majority(64, 0.6, ties="lose") == pytest.approx(0.933, abs=5e-4)
    assert majority(64, 0.6, ties="split") == pytest.approx(0.946, abs=5e-4)


def test_numbers_of_right_answers():
    x = np.arange(65)
    assert right_pmf(64, 0.37) == pytest.approx(stats.binom.pmf(x, 64, 0.37), abs=1e-12)
    size = 0.35 / 0.65
    expected = stats.betabinom.pmf(x, 64, 0.37 * size, 0.63 * size)
    assert right_pmf(64, 0.37, 0.65) == pytest.approx(expected, abs=1e-12)
    assert right_pmf(8, [0.0, 1.0], 0.5)[[0, 1], [0, 8]] == pytest.approx([1.0, 1.0], abs=1e-9)


def test_drawn_votes_agree_with_the_formula():
    model = QualityModel(AccuracyCurve.flat(0.55), 0.65, 0.4)
    rows = np.arange(30_000)
    difficulty = (rows + 0.5) / len(rows)
    luck = AttemptLuck(9)(rows[:, None], np.arange(16))
    answers = model.answers(difficulty[:, None], luck, np.arange(16), 0)
    ties = AttemptLuck(9, stream="tie")(rows, 0)[:, 0]
    for n in (1, 2, 3, 8, 16):
        won = (plurality(answers[:, :n], ties) == 0).mean()
        assert won == pytest.approx(float(majority(n, 0.55, 0.65, 0.4)), abs=0.009)


def test_many_votes_converge():
    for share in (0.2, 0.6):
        limit = converges_to(share, 0.5, 0.65)
        assert majority(4096, 0.5, 0.65, share) == pytest.approx(float(limit), abs=2e-3)
    assert converges_to(0.5, [0.3, 1 / 3, 0.4], 0.0).tolist() == [0.0, 0.5, 1.0]
    assert majority(999, 0.4, 0.0, 0.5) > 0.99
    assert majority(999, 0.3, 0.0, 0.5) < 0.1


def test_plurality_by_hand():
    answers = [[0, 1, 0, 5], [1, 1, 0, 0], [1, 1, 0, 0], [2, 0, 1, 5], [NOBODY, NOBODY, 4, NOBODY]]
    assert plurality(answers, [0.5, 0.1, 0.9, 0.99, 0.5]).tolist() == [0, 0, 1, 5, 4]
    assert plurality([[NOBODY, NOBODY]], [0.5]).tolist() == [NOBODY]
    weights = [[0.2, 0.9, 0.3, 0.1]]
    assert plurality([[0, 1, 0, 5]], [0.5], weights).tolist() == [1]


def test_ties_are_broken_evenly():
    rows = 4000
    answers = np.tile([0, 1, 2, 3], (rows, 1))
    winners = plurality(answers, (np.arange(rows) + 0.5) / rows)
    assert np.bincount(winners).tolist() == [1000] * 4


def test_decided():
    so_far = [[0, 0, 0, 1], [0, 0, 0, 1], [2, 3, 4, 5], [0, 0, 7, NOBODY], [NOBODY] * 4]
    assert decided(so_far, [1, 2, 0, 0, 0]).tolist() == [True, False, False, True, False]


@pytest.mark.parametrize("n", [3, 5, 6])
def test_decided_is_never_wrong_and_never_late(n):
    for outcome in itertools.product([0, 1, 9], repeat=n):
        answers = [a if a < 2 else 2 + i for i, a in enumerate(outcome)]
        for seen in range(1, n + 1):
            rest = n - seen
            part = answers[:seen] + [NOBODY] * rest
            worlds = {
                frozenset(leaders(answers[:seen] + [other] * rest))
                for other in (0, 1, 99, *answers[:seen])
            }
            settled = len(worlds) == 1 and len(next(iter(worlds))) == 1
            assert bool(decided([part], [rest])[0]) == settled, (part, worlds)


def leaders(answers):
    most = max(answers.count(a) for a in answers)
    return [a for a in set(answers) if answers.count(a) == most]


def test_coverage():
    assert pass_at_k(4, 0.3) == pytest.approx(1 - 0.7**4)
    size = 0.4 / 0.6
    grid = stats.beta.ppf((np.arange(200_000) + 0.5) / 200_000, 0.3 * size, 0.7 * size)
    assert pass_at_k(10, 0.3, 0.6) == pytest.approx((1 - (1 - grid) ** 10).mean(), abs=1e-4)
    assert pass_at_k(1, [0.1, 0.9], 0.6) == pytest.approx([0.1, 0.9])


def test_coverage_from_counts():
    counts = pass_at_k_from_counts([0, 1, 3, 7, 10], 10, 3)
    expected = [1 - math.comb(10 - c, 3) / math.comb(10, 3) for c in (0, 1, 3, 7, 10)]
    assert counts == pytest.approx(expected)


def test_nobody_votes():
    with pytest.raises(ValueError, match="at least one"):
        vote_odds(0)
    with pytest.raises(ValueError, match="at least 1"):
        pass_at_k(0, 0.5)
    with pytest.raises(ValueError, match="k attempts"):
        pass_at_k_from_counts([1], [2], 3)
