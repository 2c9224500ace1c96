"""Studies of the articles' claims that simulate: directions on a fixed seed, closed forms met."""

from dataclasses import replace

import pytest

from simulator.studies.articles import compute_optimal, serving
from simulator.studies.articles.kv_runs import most_undisturbed, preemptions
from simulator.studies.articles.query_cost import usd_per_query
from simulator.studies.articles.semantic_cache import with_cache
from simulator.studies.articles.serving import (
    ARTICLE,
    CONFIGURATIONS,
    Figures,
    at_common_load,
    served,
)
from simulator.studies.articles.verification import AIME, DOMINANT_SHARE, fitted_rho
from simulator.studies.articles.verification_runs import outcome

MEASURES = [name for name in CONFIGURATIONS if name != "standard"]


def test_a_burst_that_fits_is_not_preempted():
    assert most_undisturbed(1_500) == 130
    assert preemptions(51_500, 3) == 0
    assert preemptions(51_500, 4) > 0


def test_gpu_time_grows_faster_than_tokens():
    short, long = usd_per_query(0, 2_000), usd_per_query(10_000, 200)
    assert long / short > 1.5 * (10_500 / 500)


def test_a_simulated_vote_agrees_with_the_closed_form():
    from simulator.quality import majority

    rho = round(fitted_rho(AIME), 4)
    accuracy, tokens = outcome("{kind: majority_vote, samples: 4}", rho)
    alone, single_tokens = outcome("single", rho)
    assert alone == pytest.approx(AIME.single, abs=0.02)
    expected = float(majority(4, AIME.single, rho, DOMINANT_SHARE))
    assert accuracy == pytest.approx(expected, abs=0.015)
    assert tokens / single_tokens == pytest.approx(4.0, rel=0.02)


def test_a_cache_saves_what_it_hits():
    alone, accuracy = with_cache(None)
    cached, cached_accuracy = with_cache(0.75)
    assert alone / cached == pytest.approx(1 / (1 - 0.75 * 0.92), rel=0.1)
    assert cached_accuracy == pytest.approx(accuracy, abs=0.02)


def test_the_medium_model_is_best_at_medium_value():
    found = {choice.name: choice for choice in compute_optimal.choices()}
    assert len(found) == 9

    def best(value_usd):
        return max(found.values(), key=lambda choice: choice.net_benefit_usd(value_usd)).name

    assert [best(value) for value in (0.01, 0.1, 1.0)] == ["7B, 8K", "32B, 8K", "32B, no cap"]
    assert all(found[f"70B, {budget}"].dominated_by for budget in compute_optimal.BUDGETS)
    assert found["70B, no cap"].overloaded


@pytest.mark.parametrize("name", MEASURES)
def test_each_measure_shortens_answers(name):
    """The article's directions, but for the mean under KV compression, which it has 7 % longer."""
    standard, here = at_common_load("standard"), at_common_load(name)
    assert standard.verdict == here.verdict == "OK"
    assert here.mean_tta_s < 0.85 * standard.mean_tta_s
    assert here.p99_tta_s < 0.9 * standard.p99_tta_s
    assert ARTICLE[name].p99_tta_s < ARTICLE["standard"].p99_tta_s


def test_all_together_halve_the_slowest():
    standard = at_common_load("standard")
    together = at_common_load("all")
    assert together.p99_tta_s < 0.5 * standard.p99_tta_s
    for name in ("KV compression", "routing", "streaming verification"):
        assert together.mean_tta_s < at_common_load(name).mean_tta_s


def test_accuracy_is_lost_by_routing_alone():
    accuracy = {name: at_common_load(name).accuracy for name in CONFIGURATIONS}
    assert accuracy["KV compression"] == accuracy["standard"]
    assert accuracy["streaming verification"] == pytest.approx(accuracy["standard"], abs=0.01)
    assert accuracy["standard"] - 0.1 < accuracy["routing"] < accuracy["standard"] - 0.03


def test_a_load_is_sustained_if_queues_do_not_grow_and_answers_keep_up():
    figures = Figures("OK", 0.98, 1e4, 50.0, 200.0, 0.5, 30.0, 0.9)
    assert figures.sustained
    assert not replace(figures, answered_share=0.96).sustained
    assert not replace(figures, verdict="OVERLOADED").sustained
    assert replace(figures, verdict="UNKNOWN").sustained


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_measure_carries_what_drowns_the_standard(name):
    figures = served(name, 2.5, serving._LONG)
    assert figures.sustained == (name != "standard")
