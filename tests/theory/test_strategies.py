"""Simulated strategies against closed forms, within 4 standard errors.

Attempts of a flat curve: how right they are does not hang on how long they think, so what is tested
is the strategy.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from simulator.quality import AccuracyCurve, QualityModel, majority, pass_at_k
from simulator.quality.selection import best_odds, selected_accuracy
from simulator.quality.verifiers import OutcomeVerifier
from tests.strategy_runs import served

QUERIES = 4000
ACCURACY, RHO, SHARE = 0.6, 0.5, 0.3
FLAT = {"accuracy": ACCURACY, "rho": RHO, "dominant_share": SHARE}
# Long enough that attempts differ in length, short enough for thousands of them.
FAST = {"num_requests": QUERIES, "rate_rps": 50.0, "replicas": 4, "mean_log_thinking": 3.0}


def accuracy(kind, parameters, **options):
    simulation = served(
        kind, {"pool": "first", **parameters}, **{**FAST, "quality": FLAT, **options}
    )
    return float((simulation.result().queries["answer"] == "right").mean())


def assert_close(measured, expected, count=QUERIES):
    assert abs(measured - expected) < 4.0 * math.sqrt(expected * (1.0 - expected) / count)


@pytest.mark.parametrize(("samples", "stop"), [(1, False), (5, False), (5, True), (8, True)])
def test_votes_are_beta_binomial(samples, stop):
    measured = accuracy("majority_vote", {"samples": samples, "stop_when_decided": stop})
    assert_close(measured, float(majority(samples, ACCURACY, RHO, SHARE)))


def test_a_vote_that_stops_early_ends_as_the_whole_vote():
    """Every single query: what is left could not have changed it."""
    whole, stopped = (
        served("majority_vote", {"samples": 7, "stop_when_decided": stop}).result()
        for stop in (False, True)
    )
    assert whole.queries["answer"].tolist() == stopped.queries["answer"].tolist()
    assert stopped.queries["cancelled_tokens"].sum() > 0
    assert (stopped.queries["tta_s"] < whole.queries["tta_s"]).mean() > 0.5


def test_equal_problems_vote_as_the_textbook_says():
    """p = 0.6, five votes, all wrong answers the same: 0.683 (binomial)."""
    equal = {"accuracy": 0.6, "rho": 0.0, "dominant_share": 1.0}
    assert_close(accuracy("majority_vote", {"samples": 5}, quality=equal), 0.68256)


def test_best_of_n_is_an_order_statistic():
    measured = accuracy("best_of_n", {"samples": 4, "auc": 0.85})
    odds = best_odds(4, OutcomeVerifier.from_auc(0.85).d_prime)
    assert_close(measured, float(selected_accuracy(odds, ACCURACY, RHO)))


def test_a_perfect_verifier_finds_whatever_is_there():
    measured = accuracy("best_of_n", {"samples": 4, "auc": 0.9999999})
    assert_close(measured, float(pass_at_k(4, ACCURACY, RHO)))


def test_a_search_without_choice_is_a_single_attempt():
    chain = {"width": 1, "branches": 1, "step_tokens": 8}
    assert_close(accuracy("beam_search", chain), ACCURACY)
    assert_close(accuracy("tree_search", {"expansions": 3, "branches": 1, "step_tokens": 8}), 0.6)


def test_searches_help_the_more_the_better_steps_are_told_apart():
    found = [
        accuracy("beam_search", {"width": 2, "branches": 3, "step_tokens": 8, "auc": auc})
        for auc in (0.5, 0.7, 0.95)
    ]
    assert found[1] > found[0] + 0.03
    assert found[2] > found[1] + 0.03
    assert_close(found[0], ACCURACY)  # a blind reward model picks any


def test_a_cap_gives_the_accuracy_of_the_curve():
    """Thinking of one length: the share of it that the cap leaves is known."""
    curve = {"floor": 0.1, "ceiling": 0.8, "half_tokens": 600, "steepness": 1.2}
    quality = {"curve": curve, "rho": RHO, "dominant_share": SHARE, "reference_tokens": 1000}
    model = QualityModel(AccuracyCurve(**curve), RHO, SHARE, 1000)
    natural = round(math.exp(3.0))
    for cap in (5, 10, 20):
        measured = accuracy("budget", {"max_thinking_tokens": cap}, quality=quality, sigma=1e-9)
        assert_close(measured, float(model.accuracy(1000 * cap / natural)))


def test_thinking_beyond_the_natural_length_may_hurt():
    curve = {"floor": 0.1, "ceiling": 0.8, "half_tokens": 600, "steepness": 1.2}
    declining = {**curve, "decline_tokens": 4000, "decline_steepness": 2.0}
    quality = {"curve": declining, "rho": RHO, "dominant_share": SHARE, "reference_tokens": 1000}
    model = QualityModel(AccuracyCurve(**declining), RHO, SHARE, 1000)
    forced = {"max_thinking_tokens": 1000, "min_thinking_tokens": 60}
    measured = accuracy("budget", forced, quality=quality, sigma=1e-9)
    assert_close(measured, float(model.accuracy(1000 * 60 / round(math.exp(3.0)), True)))


def test_the_adaptive_budget_is_where_value_meets_price():
    """One length, floor 0, steepness 1: the best cap is sqrt(V A t0 / lambda) - t0 on the curve."""
    half, top, value, reference = 300.0, 0.9, 0.02, 1000.0
    curve = {"floor": 0.0, "ceiling": top, "half_tokens": half, "steepness": 1.0}
    quality = {"curve": curve, "rho": 0.0, "dominant_share": SHARE, "reference_tokens": reference}
    natural = 2000
    usd_per_token = 5e-6
    scaled = usd_per_token * natural / reference  # of a token on the curve's axis
    best = (math.sqrt(value * top * half / scaled) - half) * natural / reference
    result = served(
        "adaptive_budget",
        {"pool": "first", "value_usd": value, "usd_per_million_tokens": 1e6 * usd_per_token},
        quality=quality,
        num_requests=20,
        mean_log_thinking=math.log(natural),
        sigma=1e-9,
    ).result()
    spent = result.requests["thinking_tokens"].to_numpy()
    assert np.ptp(spent) == 0  # rho = 0: easy and hard ones are the same
    assert spent[0] == pytest.approx(best, rel=0.13)  # caps are 12 % apart


def test_hits_and_misses_of_a_semantic_cache():
    """Right: equivalents that hit, and misses, by the model; a false hit never."""
    from scipy.stats import norm

    parameters = {
        "otherwise": {"kind": "single", "pool": "first"},
        "pool": "first",
        "equivalent": 0.4,
        "threshold": 0.8,
        "similarity": 0.85,
        "similarity_of_others": 0.75,
        "similarity_sigma": 0.05,
    }
    simulation = served("semantic_cache", parameters, **FAST, quality=FLAT)
    queries = simulation.result().queries
    hit, false_hit = 0.4 * norm.sf(-1.0), 0.6 * norm.sf(1.0)
    assert_close(float((queries["requests"] == 0).mean()), hit + false_hit)
    right = float((queries["answer"] == "right").mean())
    assert_close(right, ACCURACY * (1.0 - false_hit))


def test_searching_turns_failures_into_successes():
    parameters = {"searches": 3, "gain": 0.5, "gain_searches": 2.0, "tool_s": 0.1}
    lift = 0.5 * (1.0 - math.exp(-1.5))
    assert_close(accuracy("agent", parameters), ACCURACY + lift * (1.0 - ACCURACY))


def test_a_cascade_asks_the_large_model_when_the_small_one_is_not_sure():
    """Two votes that must agree: P(agree) and what follows, from the Beta law by quadrature."""
    from scipy.stats import beta

    size = (1.0 - RHO) / RHO
    u = (np.arange(20_000) + 0.5) / 20_000
    small = beta.ppf(1.0 - u, ACCURACY * size, (1.0 - ACCURACY) * size)
    large = beta.ppf(1.0 - u, 0.85 * size, 0.15 * size)
    right = small**2
    agree = right + ((1.0 - small) * SHARE) ** 2
    simulation = served("cascade", {"samples": 2, "agreement": 1.0}, **FAST, quality=FLAT)
    queries = simulation.result().queries
    assert_close(float((queries["requests"] == 2).mean()), float(agree.mean()))
    measured = float((queries["answer"] == "right").mean())
    assert_close(measured, float((right + (1.0 - agree) * large).mean()))
