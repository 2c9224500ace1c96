import numpy as np
import pytest
from scipy import integrate, stats

from simulator.errors import InputError
from simulator.quality import (
    NOBODY,
    AccuracyCurve,
    AttemptLuck,
    CheckingVerifier,
    OutcomeVerifier,
    ProcessVerifier,
    QualityModel,
    accepted_odds,
    best_odds,
    best_scored,
    fit_d_prime,
    selected_accuracy,
    step_probability,
)

ROWS = 30_000
MODEL = QualityModel(AccuracyCurve.flat(0.6), 0.5, 0.5)
DIFFICULTY = (np.arange(ROWS) + 0.5)[:, None] / ROWS
LUCK = AttemptLuck(21)(np.arange(ROWS)[:, None], np.arange(16))
ANSWERS = MODEL.answers(DIFFICULTY, LUCK, np.arange(16), 0)


def test_one_right_of_two_is_the_auc():
    for d in (0.0, 0.7, 2.5):
        assert best_odds(2, d)[1] == pytest.approx(OutcomeVerifier(d).auc, abs=1e-9)
    assert best_odds(1, 3.0) == pytest.approx([0.0, 1.0])


def test_a_blind_verifier_chooses_at_random():
    assert best_odds(9, 0.0) == pytest.approx(np.arange(10) / 9, abs=1e-9)
    assert selected_accuracy(best_odds(9, 0.0), 0.37, 0.6) == pytest.approx(0.37)


@pytest.mark.parametrize("n", [2, 8, 64])
def test_order_statistics_over_independent_attempts(n):
    # density of the best of n from a mixture of right (p) and wrong attempts, and who it belongs to
    p, d = 0.3, 1.4

    def density(z):
        both = p * stats.norm.cdf(z - d) + (1 - p) * stats.norm.cdf(z)
        return n * p * stats.norm.pdf(z - d) * both ** (n - 1)

    direct, _ = integrate.quad(density, -10, 14, epsabs=1e-10, limit=200)
    assert selected_accuracy(best_odds(n, d), p) == pytest.approx(direct, abs=1e-7)


@pytest.mark.parametrize("lured", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("n", [1, 4, 16])
def test_drawn_scores_agree_with_the_odds(n, lured):
    verifier = OutcomeVerifier(1.8, lured)
    fooled = verifier.is_lured(21, "", ROWS)[:, None]
    scores = verifier.scores(ANSWERS, LUCK, fooled)[:, :n]
    won = (best_scored(ANSWERS[:, :n], scores) == 0).mean()
    exact = selected_accuracy(verifier.odds(n, MODEL.dominant_share), 0.6, MODEL.rho)
    assert won == pytest.approx(float(exact), abs=0.009)


def test_lures_keep_many_samples_from_perfection():
    few, many = (selected_accuracy(OutcomeVerifier(2.0, 0.5).odds(n, 0.9), 0.6) for n in (16, 512))
    assert many < 0.95
    assert selected_accuracy(OutcomeVerifier(2.0).odds(512), 0.6) > 0.998
    assert many < few + 0.05


@pytest.mark.parametrize("n", [1, 3, 8])
def test_drawn_checks_agree_with_the_odds(n):
    verifier = CheckingVerifier(0.9, 0.7)
    yes = verifier.accepts(ANSWERS, LUCK)[:, :n]
    among = np.where(yes.any(axis=1, keepdims=True), yes, True)
    chance = (among & (ANSWERS[:, :n] == 0)).sum(1) / among.sum(1)
    exact = selected_accuracy(verifier.odds(n), 0.6, MODEL.rho)
    assert chance.mean() == pytest.approx(float(exact), abs=0.009)


def test_checks_at_the_ends():
    assert accepted_odds(5, 1.0, 1.0) == pytest.approx([0, 1, 1, 1, 1, 1])
    assert accepted_odds(4, 0.5, 0.5) == pytest.approx(np.arange(5) / 4)


def test_process_scores_gain_with_what_is_seen():
    verifier = ProcessVerifier(2.0)
    one = ANSWERS[:, 0]
    luck = LUCK[:, 0]
    final = verifier.partial_scores(one, luck, 1.0)
    assert final == pytest.approx(verifier.scores(one, luck))
    aucs = []
    for fraction in (0.0, 0.25, 0.64):
        scores = verifier.partial_scores(one, luck, fraction)
        right, wrong = scores[one == 0], scores[one != 0]
        assert right.std() == pytest.approx(1.0, abs=0.02)
        noise = np.corrcoef(wrong, final[one != 0])[0, 1]
        assert noise == pytest.approx(np.sqrt(fraction), abs=0.02)
        aucs.append((right[:9000, None] > wrong[None, :200]).mean())
        expected = stats.norm.cdf(2.0 * np.sqrt(fraction) / np.sqrt(2))
        assert aucs[-1] == pytest.approx(expected, abs=0.04)
    assert aucs == sorted(aucs)


def test_steps():
    assert step_probability(0.5, 4) ** 4 == pytest.approx(0.5)
    scores = ProcessVerifier(1.5).step_scores(np.array([True, False]), LUCK[0, [0, 0]])
    assert scores[0] - scores[1] == pytest.approx(1.5)


def test_fitted_to_a_figure():
    d = fit_d_prime(0.8, 8, 0.6, 0.5, 0.0)
    assert selected_accuracy(best_odds(8, d), 0.6, 0.5) == pytest.approx(0.8, abs=1e-5)
    assert fit_d_prime(0.5, 8, 0.6, 0.5, 0.0) == 0.0
    assert fit_d_prime(0.99, 8, 0.6, 0.5, 0.0) == np.inf


def test_auc_and_back():
    assert OutcomeVerifier.from_auc(0.85).auc == pytest.approx(0.85)
    assert OutcomeVerifier.from_auc(0.5).d_prime == 0.0


def test_nobody_is_not_chosen():
    assert best_scored([[NOBODY, 4], [NOBODY, NOBODY]], [[9.0, 1.0], [1.0, 2.0]]).tolist() == [
        4,
        -1,
    ]


def test_bad_verifiers():
    for make, fields in (
        (lambda: OutcomeVerifier(-1.0, 2.0), ["d_prime", "lured"]),
        (lambda: OutcomeVerifier.from_auc(1.0), ["auc"]),
        (lambda: CheckingVerifier(1.5, -0.1), ["sensitivity", "specificity"]),
    ):
        with pytest.raises(InputError) as caught:
            make()
        assert [problem.field for problem in caught.value.problems] == fields
    for odds in (lambda: best_odds(0, 1.0), lambda: accepted_odds(0, 0.5, 0.5)):
        with pytest.raises(ValueError, match="at least one attempt"):
            odds()
