"""Predictors: what each says, and how wrong it is, in numbers."""

import math

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.stats import kendalltau, kstest

from simulator.policy import Policy, build
from simulator.predictors import PREDICTORS, Reordered, Truth, unanswered
from simulator.predictors.base import standard_normal_errors
from simulator.predictors.quality import quality
from simulator.predictors.rank_only import signal

N = 20_000


def truth(lengths, max_tokens=0, class_id=0, class_names=("default",)):
    """Requests of these output lengths, half of them thinking."""
    lengths = np.asarray(lengths, dtype=np.int64)
    return Truth(
        np.full(len(lengths), 100),
        lengths // 2,
        lengths - lengths // 2,
        np.broadcast_to(np.int64(max_tokens), lengths.shape),
        np.broadcast_to(np.int32(class_id), lengths.shape),
        class_names,
    )


def lengths_of(law, n=N):
    random = np.random.default_rng(1)
    drawn = {
        "lognormal": lambda: np.exp(random.normal(6.0, 1.0, n)),
        "uniform": lambda: random.integers(1, 5000, n),
        "pareto": lambda: 100 * (1 - random.random(n)) ** (-1 / 1.5),
        "bimodal": lambda: np.where(
            random.random(n) < 0.5, random.integers(10, 400, n), random.integers(5000, 30000, n)
        ),
        "short": lambda: random.geometric(0.1, n),
        "two": lambda: np.where(random.random(n) < 0.3, 100, 1000),
    }[law]()
    return np.maximum(drawn.astype(np.int64), 1)


def started(kind, about, seed=0, **parameters):
    predictor = build(PREDICTORS[kind], parameters)
    predictor.start(about, seed)
    return predictor


def says(predictor, n, generated=0):
    return predictor.total_tokens(np.arange(n), np.full(n, generated))


def test_output_is_thinking_and_answer_cut_at_the_cap():
    about = truth([10, 10, 10], max_tokens=[0, 7, 12])
    assert about.output_tokens.tolist() == [10, 7, 10]
    assert about.output_tokens.dtype == np.int64
    assert about.cap_tokens.tolist() == [math.inf, 7, 12]


def test_the_oracle_knows():
    oracle = started("oracle", truth([5, 900, 40], max_tokens=[0, 800, 0]))
    assert says(oracle, 3).tolist() == [5, 800, 40]
    assert oracle.total_tokens(np.array([2, 0]), np.array([3, 4])).tolist() == [40, 5]


@pytest.mark.parametrize("sigma", [0.2, 0.5, 1.0])
def test_noisy_guesses_are_log_normal_about_the_truth(sigma):
    about = truth(np.full(N, 10**6))
    log_error = np.log(says(started("noisy", about, sigma=sigma), N) / 10**6)
    assert kstest(log_error / sigma, "norm").pvalue > 1e-3
    assert np.median(log_error) == pytest.approx(0.0, abs=4 * 1.2533 * sigma / math.sqrt(N))


def test_a_noisy_guess_knows_the_cap():
    guesses = says(started("noisy", truth(np.full(N, 100), max_tokens=120), sigma=1.0), N)
    assert guesses.max() == 120
    assert (guesses < 100).mean() == pytest.approx(0.5, abs=0.02), "the median stays right"


def test_without_noise_it_is_the_oracle():
    about = truth(lengths_of("pareto", 500), max_tokens=2000)
    oracle = says(started("oracle", about), 500)
    for kind, parameters in (("noisy", {"sigma": 0.0}), ("refining", {"sigma": 0.0})):
        np.testing.assert_array_equal(says(started(kind, about, **parameters), 500), oracle)
    in_order = says(started("rank_only", about, tau=1.0), 500)
    np.testing.assert_array_equal(np.floor(in_order), oracle)


def test_class_means():
    about = truth(
        [10, 20, 600, 90, 1000],
        max_tokens=[0, 0, 0, 12, 0],
        class_id=[0, 0, 2, 0, 2],
        class_names=("chat", "nobody", "maths"),
    )
    assert says(started("class_mean", about), 5).tolist() == [14, 14, 800, 12, 800]


@pytest.mark.parametrize("law", ["lognormal", "uniform", "pareto", "bimodal"])
@pytest.mark.parametrize("tau", [0.0, 0.3, 0.5, 0.75, 0.95])
def test_an_order_agrees_with_the_truth_as_stated(law, tau):
    lengths = lengths_of(law)
    guesses = says(started("rank_only", truth(lengths), tau=tau), N)
    assert kendalltau(guesses, lengths).statistic == pytest.approx(tau, abs=0.02)


@pytest.mark.parametrize("law", ["short", "two"])
@pytest.mark.parametrize("tau", [0.2, 0.5, 0.8])
def test_pairs_of_equal_length_do_not_count(law, tau):
    n = 3000
    lengths = lengths_of(law, n)
    measured = []
    for seed in range(8):
        guesses = says(started("rank_only", truth(lengths), seed, tau=tau), n)
        assert len(np.unique(guesses)) == n, "an order: no two alike"
        true_sign = np.sign(lengths[:, None] - lengths[None, :])
        agrees = true_sign * np.sign(guesses[:, None] - guesses[None, :])
        measured.append(agrees[true_sign != 0].mean())
    assert np.mean(measured) == pytest.approx(tau, abs=0.02)


def test_a_perfect_order_has_no_mistakes():
    lengths = lengths_of("lognormal", 200_000)
    guesses = says(started("rank_only", truth(lengths), tau=1.0), len(lengths))
    assert (np.diff(lengths[np.argsort(guesses)]) >= 0).all()


@pytest.mark.parametrize("tau", [0.5, 1.0])
def test_equal_lengths_are_in_no_order_of_arrival(tau):
    guesses = says(started("rank_only", truth(np.full(N, 70)), tau=tau), N)
    assert abs(kendalltau(guesses, np.arange(N)).statistic) < 0.02


def test_what_an_order_hands_out_are_lengths_of_the_workload():
    lengths = lengths_of("bimodal", 1000)
    guesses = says(started("rank_only", truth(lengths), tau=0.1), 1000)
    np.testing.assert_array_equal(np.sort(np.floor(guesses)), np.sort(lengths))


@pytest.mark.parametrize("tau", [0.1, 0.5, 0.9])
def test_the_noise_is_that_of_a_gaussian_copula(tau):
    rho = math.sin(math.pi * tau / 2)
    expected = rho / math.sqrt(1 - rho * rho)
    assert signal(tau, np.arange(1, 5000)) == pytest.approx(expected, rel=0.02)


def test_orders_of_few_requests():
    assert signal(0.5, np.array([], dtype=np.int64)) == 0.0
    assert signal(0.5, np.array([7])) == signal(0.5, np.array([7, 7])) == 0.0
    assert signal(1.0, np.array([7])) == math.inf
    assert says(started("rank_only", truth([7])), 1).tolist() == [7]
    assert says(started("rank_only", truth([])), 0).tolist() == []


@pytest.mark.parametrize("generated", [0, 100, 900, 4500])
def test_errors_of_what_is_left_shrink_as_tokens_are_seen(generated):
    sigma, halved = 0.8, 300.0
    predictor = started("refining", truth(np.full(N, 10**6)), sigma=sigma)
    left = (says(predictor, N, generated) - generated) / (10**6 - generated)
    expected = sigma / math.sqrt(1 + 3 * generated / halved)
    assert np.log(left).std() == pytest.approx(expected, rel=0.03)
    assert np.median(left) == pytest.approx(1.0, abs=0.03)
    if generated == halved:
        assert expected == sigma / 2


def test_a_refining_predictor_starts_as_a_noisy_one():
    about = truth(lengths_of("uniform"), max_tokens=4000)
    noisy, refining = (says(started(kind, about, 3), N) for kind in ("noisy", "refining"))
    np.testing.assert_allclose(refining, noisy, rtol=1e-12)


def test_a_request_that_should_be_over_is_about_to_end():
    about = truth(np.full(50, 40))
    assert (says(started("refining", about), 50, 60) < 70).all()
    for kind in ("oracle", "noisy", "class_mean", "rank_only"):
        assert (says(started(kind, about), 50, 500) == 501).all()


def test_no_prediction():
    nothing = started("none", truth([5, 6]))
    assert np.isnan(says(nothing, 2)).all()
    assert not nothing.answers


class Guessing(Policy):
    needs_prediction = True


def test_policies_that_need_a_guess_are_refused_without_one():
    policies = {"scheduler": Guessing(), "router": Policy()}
    assert unanswered(PREDICTORS["oracle"](), policies) == []
    (problem,) = unanswered(PREDICTORS["none"](), policies)
    assert str(problem).startswith("scheduler: Guessing goes by predicted lengths")


def test_errors_belong_to_a_class():
    """Whatever else is in the mix, the j-th request of a class is misjudged in the same way."""
    alone = standard_normal_errors(truth(np.ones(4), class_names=("maths",)), 5)
    names = ("chat", "maths")
    mixed = standard_normal_errors(
        truth(np.ones(7), class_id=[1, 0, 0, 1, 1, 0, 1], class_names=names), 5
    )
    np.testing.assert_array_equal(mixed[[0, 3, 4, 6]], alone)
    assert not np.isin(mixed[[1, 2, 5]], alone).any()
    longer = standard_normal_errors(truth(np.ones(9), class_names=("maths",)), 5)
    np.testing.assert_array_equal(longer[:4], alone)


def test_errors_follow_a_request_to_another_row():
    about, moved = truth([5, 900, 40]), np.array([2, 0])
    predictor = started("noisy", about)
    there = Reordered(predictor, moved).total_tokens(np.array([0, 1]), np.array([0, 6]))
    assert there.tolist() == predictor.total_tokens(moved, np.array([0, 6])).tolist()


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("noisy", {"sigma": -0.1}),
        ("noisy", {"mu": 0.0}),
        ("rank_only", {"tau": 1.1}),
        ("rank_only", {"tau": -0.5}),
        ("refining", {"halved_after_tokens": 0.0}),
    ],
)
def test_bad_parameters(kind, wrong):
    with pytest.raises(ValidationError):
        build(PREDICTORS[kind], wrong)


def test_quality():
    about = truth(lengths_of("lognormal", 50_000))
    best = quality(started("oracle", about), about)
    assert best.kendall_tau == pytest.approx(1.0)
    assert best.mean_absolute_relative_error == best.relative_error_p90 == 0.0
    noisy = quality(started("noisy", about, sigma=0.5), about)
    spread = math.exp(0.5 * 1.2816)
    assert noisy.relative_error_p10 == pytest.approx(1 / spread - 1, abs=0.02)
    assert noisy.relative_error_p50 == pytest.approx(0.0, abs=0.02)
    assert noisy.relative_error_p90 == pytest.approx(spread - 1, abs=0.05)
    order = quality(started("rank_only", about, tau=0.6), about)
    assert order.kendall_tau == pytest.approx(0.6, abs=0.02)
    refined = started("refining", about, sigma=0.5)
    late, early = (quality(refined, about, g).mean_absolute_relative_error for g in (500, 0))
    assert late < early / 2
    assert math.isnan(quality(started("none", about), about).kendall_tau)
    with pytest.raises(ValueError, match="no request has more"):
        quality(refined, about, int(about.output_tokens.max()))
