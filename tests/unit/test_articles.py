"""Studies of the articles' claims that are arithmetic: exact figures, and verdicts by rule."""

import pytest

from simulator.cost.catalogue import load_architecture
from simulator.errors import InputError
from simulator.studies.articles import STUDIES, chosen, results
from simulator.studies.articles.attention import all_flops, attention_flops
from simulator.studies.articles.base import close, close_points, graded
from simulator.studies.articles.compute_equivalent import accuracies
from simulator.studies.articles.distillation import accuracy_share
from simulator.studies.articles.kv_memory import POOL_BYTES, fitting, pool_blocks, query_bytes
from simulator.studies.articles.optimal_tokens import best_tokens, by_quantile
from simulator.studies.articles.routing import saving
from simulator.studies.articles.runs import experiment_file
from simulator.studies.articles.scaling import gains
from simulator.studies.articles.verification import (
    AIME,
    MATH,
    MEASURED_RHO,
    best_of,
    coverage,
    fitted_rho,
)

ARITHMETIC = [study for study in STUDIES.values() if not study.simulates]


def rows(name):
    return {row.claim: row for row in STUDIES[name].run()}


@pytest.mark.parametrize("study", ARITHMETIC, ids=lambda study: study.name)
def test_every_row_says_all_there_is_to_say(study):
    found = study.run()
    assert found
    assert len({row.claim for row in found}) == len(found)
    for row in found:
        assert row.claim
        assert row.article
        assert row.ours
        assert row.note or row.verdict == "reproduced"


def test_arithmetic_comes_first():
    simulates = [study.simulates for study in STUDIES.values()]
    assert simulates == sorted(simulates)


def test_verdicts_follow_from_figures():
    assert graded(close(1.09, 1.0)) == "reproduced"
    assert graded(close(1.11, 1.0)) == "direction only"
    assert graded(close(1.11, 1.0), direction=False) == "not reproduced"
    assert close_points(0.881, 0.91)
    assert not close_points(0.879, 0.91)


def test_kv_of_a_query():
    model = load_architecture("llama-3.3-70b")
    assert query_bytes(1_500, model) == 491_520_000
    assert query_bytes(51_500, model) == 16_875_520_000
    assert pool_blocks(POOL_BYTES, model) == 12_207
    fits = [fitting(tokens, POOL_BYTES, model) for tokens in (1_500, 3_500, 11_500, 51_500)]
    assert fits == [129, 55, 16, 3]
    assert [fitting(tokens, 45e9, model) for tokens in (2_200, 22_200)] == [62, 6]


def test_cumulative_attention_is_the_exact_sum():
    model = load_architecture("llama-3.3-70b")
    per_pair = 4 * model.num_attention_heads * model.head_dim * model.num_hidden_layers
    assert attention_flops("llama-3.3-70b", 0, 1_600) == per_pair * 1_600 * 1_601 / 2
    assert attention_flops("llama-3.3-70b", 7, 3) == per_pair * (8 + 9 + 10)
    ratio = attention_flops("llama-3.3-70b", 0, 50_000) / attention_flops("llama-3.3-70b", 0, 1_600)
    assert ratio == pytest.approx(50_000 * 50_001 / (1_600 * 1_601))
    assert all_flops("llama-3.3-70b", 0, 10) > 2 * 69e9 * 10


def test_votes():
    found = rows("voting")
    assert found["vote of 5, each right with p = 0.6"].ours == "68.3 %"
    wrong = found["vote of 64, p = 0.6"]
    assert wrong.verdict == "article wrong"
    assert wrong.ours == "93.3 % strict, 94.6 % with ties split"
    assert "133 votes" in wrong.note
    from simulator.quality import majority

    assert majority(133, 0.6) >= 0.99 > majority(131, 0.6)


def test_verification_is_predicted_from_one_cell():
    rho = fitted_rho(AIME)
    assert rho == pytest.approx(0.353, abs=1e-3)
    found = rows("verification")
    assert found["AIME 2024: majority of 4"].ours == "81.9 %"
    assert found["AIME 2024: best of 8 by PRM"].ours == "89.0 %"
    assert found["MATH-500: best of 64 by PRM"].ours == "94.2 %"
    assert found["MATH-500: majority of 64"].verdict == "direction only"
    assert found["AIME 2024: majority of 8"].verdict == "fitted"


def test_a_perfect_verifier_is_the_limit_of_best_of_n():
    rho = fitted_rho(MATH)
    assert best_of(16, MATH, rho, 40.0) == pytest.approx(coverage(16, 0.74, rho), abs=1e-6)
    # What the article has for a vote of four by a PRM is beyond anybody at the measured rho.
    assert coverage(4, AIME.single, MEASURED_RHO) < AIME.prm[0][1]


def test_flops_are_exact_and_the_order_is_not():
    found = rows("compute_equivalent")
    flops = [found[name].ours for name in ("405B x 1K", "70B x 8K", "7B x 64K", "405B x 16K")]
    assert flops == ["810 TFLOP", "1,120 TFLOP", "896 TFLOP", "12,960 TFLOP"]
    assert found["FLOPs of one token, 70B model"].ours == "139 GFLOP"
    sparse = found["FLOPs of one token, 671B model"]
    assert (sparse.ours, sparse.verdict) == ("73 GFLOP", "article wrong")
    for benchmark in ("math500", "aime24"):
        accuracy = accuracies(benchmark)
        assert accuracy["405B x 16K"] == max(accuracy.values())
        assert accuracy["7B x 64K"] > accuracy["70B x 8K"] > accuracy["405B x 1K"]
        assert found[f"order of accuracy ({benchmark})"].verdict == "not reproduced"


def test_routing_saves_less_than_one_over_the_hard_share():
    assert saving(0.2, 100) == pytest.approx(100 / 20.8)
    assert saving(0.1, 30) == pytest.approx(30 / 3.9)
    assert saving(0.2, 1e9) < 5.0 < saving(0.1, 30)
    assert saving(0.2, 100, 0.1, 0.1) == pytest.approx(100 / (26 + 0.74))
    assert saving(1.0, 100) == 1.0
    found = [row.verdict for row in STUDIES["routing"].run()]
    assert found == ["article wrong", "reproduced"]


def test_optimal_tokens():
    assert best_tokens("", 0.5) == 0
    assert best_tokens("r1-distill-llama-70b/math500", 0.05) == pytest.approx(937, abs=5)
    assert best_tokens("r1-distill-llama-70b/aime24", 0.5) == pytest.approx(8_238, abs=20)
    easy, middling, hard, hopeless = by_quantile("r1-distill-llama-70b/math500", 0.1)
    assert easy < middling < hard
    assert hopeless == 0


def test_presets_say_what_the_articles_quote():
    found = rows("overthinking")
    assert [row.ours for row in found.values()] == ["87.3 %", "70.3 %"]
    early, late = gains("deepseek-r1/math500")
    assert early > 10 * late > 0
    assert accuracy_share("r1-distill-qwen-7b", "aime24") == pytest.approx(0.695, abs=1e-3)
    tokens = rows("token_counts")
    assert all(row.verdict == "fitted" for row in tokens.values())


def test_unknown_names():
    with pytest.raises(InputError, match="unknown study 'nothing'"):
        chosen(["voting", "nothing"])
    with pytest.raises(InputError, match="no such experiment"):
        experiment_file("nothing")
    assert [study.name for study in chosen(["serving", "voting"])] == ["voting", "serving"]


def test_progress_is_told_before_a_study_runs():
    told = []
    for study, found in results(chosen(["voting", "routing"]), lambda s: told.append(s.name)):
        assert told[-1] == study.name
        assert found
    assert told == ["voting", "routing"]
