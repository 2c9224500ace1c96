"""The strategy `routed`: easy queries are answered at once elsewhere, hard ones after thinking."""

import pytest

from simulator import load_experiment, run
from simulator.errors import InputError
from simulator.spending import spending_plan
from simulator.traffic import generate

BASE = {
    "name": "routed",
    "pools": {
        name: {
            "model": "llama-3.1-8b",
            "gpu": "h100-sxm",
            "engine": {"preset": "vllm-0.33", "max_num_seqs": 64},
            "quality": quality,
        }
        for name, quality in (
            ("standard", {"accuracy": 0.5, "rho": 0.6}),
            ("thinking", "r1-distill-llama-8b/math500"),
        )
    },
    "workload": {
        "kind": "synthetic",
        "num_requests": 300,
        "arrivals": {"kind": "poisson", "rate_rps": 2.0},
        "prompt_tokens": {"kind": "constant", "tokens": 100},
        "thinking_tokens": {"kind": "constant", "tokens": 700},
        "answer_tokens": {"kind": "constant", "tokens": 40},
        "difficulty": {"a": 1.0, "b": 1.0},
    },
}
PERFECT = {"kind": "routed", "easy_called_hard": 0.0, "hard_called_easy": 0.0}


def simulated(strategy, **changes):
    return run(load_experiment({**BASE, "strategy": strategy, **changes}))


def test_easy_ones_answer_at_once_and_hard_ones_think():
    result = simulated({**PERFECT, "hard_above": 0.6})
    difficulty = result.queries.set_index("query_id")["difficulty"]
    requests = result.requests
    hard = difficulty.loc[requests["query_id"]].to_numpy() > 0.6
    assert 90 < hard.sum() < 150
    assert (requests["pool"].astype(str).to_numpy()[hard] == "thinking").all()
    assert (requests["pool"].astype(str).to_numpy()[~hard] == "standard").all()
    assert (requests["thinking_tokens"].to_numpy() == hard * 700).all()
    assert (result.queries["requests"] == 1).all()
    assert (result.queries["status"] == "completed").all()


def test_hard_ones_may_have_a_strategy_of_their_own():
    exiting = {"kind": "early_exit", "probe_every_tokens": 100}
    result = simulated({**PERFECT, "hard": exiting})
    hard = result.queries["difficulty"].to_numpy() > 0.5
    requests = result.queries["requests"].to_numpy()
    assert (requests[~hard] == 1).all()
    assert (requests[hard] > 2).mean() > 0.5
    pools = result.requests.groupby("query_id")["pool"].agg(lambda pool: set(pool.astype(str)))
    assert all(pools[hard] == {"thinking"})
    plain = simulated(PERFECT).queries
    spared = plain["generated_tokens"].to_numpy() - result.queries["generated_tokens"].to_numpy()
    assert spared[~hard].sum() == 0
    assert spared[hard].mean() > 100


def test_nothing_is_planned_that_is_never_sent():
    experiment = load_experiment({**BASE, "strategy": PERFECT})
    plan = spending_plan(experiment, generate(experiment, 1.0))
    assert plan is not None
    assert len(plan.requests) == len(plan.queries) == 300


def test_each_error_of_the_classifier_is_its_own():
    everybody = simulated({**PERFECT, "easy_called_hard": 1.0})
    assert (everybody.requests["thinking_tokens"] > 0).all()
    nobody = simulated({**PERFECT, "hard_called_easy": 1.0})
    assert (nobody.requests["thinking_tokens"] == 0).all()


def test_who_answers_at_once_is_as_good_as_without_thinking():
    """The curve of a reasoning model starts at zero, which says nothing of answering at once."""
    thinker = BASE["pools"]["thinking"]
    pools = {**BASE["pools"], "standard": thinker}
    with pytest.raises(InputError, match="without thinking its model solves nothing"):
        simulated({**PERFECT, "hard_above": 1.0}, pools=pools)
    said = {"preset": thinker["quality"], "without_thinking": 0.4}
    pools["standard"] = {**thinker, "quality": said}
    result = simulated({**PERFECT, "hard_above": 1.0}, pools=pools)
    assert result.summary["accuracy"] == pytest.approx(0.4, abs=0.08)


def test_a_classifier_that_errs_sends_both_kinds_the_wrong_way():
    result = simulated({"kind": "routed", "easy_called_hard": 1.0, "hard_called_easy": 1.0})
    thought = result.requests["thinking_tokens"].to_numpy() > 0
    order = result.requests["query_id"].to_numpy()
    hard = result.queries["difficulty"].to_numpy()[order] > 0.5
    assert (thought == ~hard).all()


def test_the_pool_that_answers_decides_how_often_it_is_right():
    at_once = simulated({**PERFECT, "hard_above": 1.0}).summary["accuracy"]
    assert at_once == pytest.approx(0.5, abs=0.08)
    thinking = simulated({**PERFECT, "hard_above": 0.0}).summary["accuracy"]
    assert thinking == pytest.approx(0.891, abs=0.06)


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        ({"kind": "routed", "easy_pool": "nowhere"}, "easy_pool: there is no pool 'nowhere'"),
        ({"kind": "routed", "pool": "nowhere"}, "pool: there is no pool 'nowhere'"),
        ({"kind": "routed", "hard": "telepathy"}, "unknown strategy 'telepathy'"),
        ({"kind": "routed", "hard": {"kind": "majority_vote", "samples": 0}}, "samples"),
    ],
)
def test_bad_parameters_are_named(strategy, words):
    with pytest.raises(InputError, match=words):
        simulated(strategy)


def test_one_pool_is_too_few():
    pools = {"thinking": BASE["pools"]["thinking"]}
    with pytest.raises(InputError, match="needs two pools"):
        simulated(PERFECT, pools=pools)


def test_difficulty_must_be_known():
    workload = {key: value for key, value in BASE["workload"].items() if key != "difficulty"}
    with pytest.raises(InputError, match="difficult"):
        simulated(PERFECT, workload=workload)
