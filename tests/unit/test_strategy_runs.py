"""Queries in the run: when things are sent, what is shared, what a cancel leaves behind."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.config.experiment import Experiment
from simulator.engine.request import CANCELLED
from simulator.quality import NOBODY
from simulator.runner import simulate
from simulator.spending import judge_of
from simulator.strategies import Strategy
from simulator.strategies.plan import plan_requests
from simulator.strategies.tally import is_decided, most_votes
from tests.strategy_runs import EXAMPLES, LARGE, experiment, served

ONE_POOL = {"pool": "first"}


@given(st.lists(st.integers(0, 4), max_size=9))
def test_most_votes_win_and_the_first_of_equals(given_answers):
    counts = Counter(given_answers)
    winner = most_votes(given_answers)
    if not given_answers:
        assert winner == NOBODY
        return
    best = max(counts.values())
    tied = [answer for answer in given_answers if counts[answer] == best]
    assert winner == tied[0]


@given(st.lists(st.integers(0, 3), max_size=6), st.lists(st.integers(0, 3), max_size=4))
def test_a_decided_vote_stays_decided(so_far, to_come):
    if is_decided(so_far, len(to_come)):
        assert most_votes(so_far + to_come) == most_votes(so_far)


def test_a_vote_of_one_is_decided_only_when_it_is_there():
    assert not is_decided([], 1)
    assert is_decided([0], 0)
    assert not is_decided([0, 1], 1)
    assert is_decided([0, 0, 1, 0], 1)


def test_attempts_at_one_problem_share_its_prompt():
    """Whole blocks of the prompt are computed once and found again by the other attempts."""
    simulation = served("majority_vote", {**ONE_POOL, "samples": 4}, replicas=1, rate_rps=0.2)
    table = simulation.outcome.requests
    rows = simulation.outcome.replies.plan.query[simulation.outcome.rows]
    block = simulation.outcome.configs[0].block_size
    for query in np.unique(rows):
        own = table[rows == query]
        whole = (own["prompt_tokens"][0] - 1) // block * block  # the last token is always computed
        assert sorted(own["cached_tokens"].tolist()) == [0, *[whole] * 3]


def test_the_next_stretch_finds_all_of_the_last_one():
    """A chain in stretches computes each token once: prompts of whole blocks are all hits."""
    simulation = served("early_exit", {"probe_every_tokens": 64}, replicas=1, rate_rps=0.1)
    outcome = simulation.outcome
    table, plan = outcome.requests, outcome.replies.plan
    queries = plan.query[outcome.rows]
    block = outcome.configs[0].block_size
    for query in np.unique(queries):
        own = table[queries == query]  # in order of arrival
        # The last token of a stretch is not computed before the next begins with it.
        known = own["prompt_tokens"][1:] - (own["prompt_tokens"][1:] - own["prompt_tokens"][0]) % 64
        assert (own["cached_tokens"][1:] >= known - 64 - block).all()
        assert (own["cached_tokens"][1:] > own["prompt_tokens"][0] // 2).all()


def test_what_follows_an_answer_is_sent_when_it_comes():
    """The verdict's request arrives at the very time of the attempt's last token."""
    simulation = served("best_of_n", {"samples": 2, "verifier_pool": "second"}, rate_rps=0.5)
    outcome = simulation.outcome
    plan, table = outcome.replies.plan, outcome.requests
    turn = plan.requests.sessions.turn[outcome.rows]  # attempt, verdict, attempt, verdict
    queries = plan.query[outcome.rows]
    for query in np.unique(queries):
        row = {int(turn[k]): table[k] for k in np.flatnonzero(queries == query)}
        assert row[1]["arrival_s"] == row[0]["finish_s"]
        assert row[3]["arrival_s"] == row[2]["finish_s"]
    result = simulation.result()
    last = result.requests.groupby("query_id")["finish_s"].max()
    np.testing.assert_array_equal(result.queries["finish_s"], last)


def test_an_agent_waits_for_its_tools():
    simulation = served("agent", {"searches": 2, "tool_s": 3.0, "tool_sigma": 0.0}, rate_rps=0.3)
    requests = simulation.result().requests
    for _, own in requests.groupby("query_id"):
        gaps = own["arrival_s"].to_numpy()[1:] - own["finish_s"].to_numpy()[:-1]
        assert gaps == pytest.approx([3.0, 3.0], rel=1e-9)
        kept = own["prompt_tokens"].to_numpy()
        grown = own["generated_tokens"].to_numpy()[:-1] + 1000
        np.testing.assert_array_equal(np.diff(kept), grown)


def test_memoryless_thinking_bounds_what_a_request_holds():
    parameters = {"round_tokens": 100, "carried_tokens": 20}
    requests = served("memoryless", parameters).result().requests
    first = requests.groupby("query_id")["prompt_tokens"].transform("first")
    assert (requests["prompt_tokens"] <= first + 20).all()
    assert (requests["generated_tokens"] <= 100 + 40).all()
    single = served("single").result().queries
    again = served("memoryless", parameters).result().queries
    rounds = again["requests"].to_numpy()
    spent = single["generated_tokens"].to_numpy() + 20 * (rounds - 1)
    np.testing.assert_array_equal(again["generated_tokens"], spent)


def test_cancelled_attempts_leave_no_block_behind():
    """Some 20,000 of them, in a cache that is short, with preemptions."""
    options = {"num_gpu_blocks": 2000, "max_model_len": 8192}
    simulation = served(
        "majority_vote",
        {**ONE_POOL, "samples": 12, "stop_when_decided": True},
        num_requests=5000,
        rate_rps=12.0,
        engine=options,
        quality=LARGE,
    )
    outcome = simulation.outcome
    assert (outcome.requests["status"] == CANCELLED).sum() > 15_000
    assert outcome.requests["preemptions"].sum() > 100
    usable = np.array([config.usable_blocks for config in outcome.configs])[outcome.pool_id]
    np.testing.assert_array_equal(outcome.states["free_blocks"], usable)


def test_a_cancelled_attempt_has_left_within_an_iteration():
    simulation = served(
        "majority_vote", {**ONE_POOL, "samples": 5, "stop_when_decided": True}, quality=LARGE
    )
    result = simulation.result()
    requests = result.requests.merge(
        result.queries[["query_id", "finish_s"]], on="query_id", suffixes=("", "_query")
    )
    gone = requests[requests["status"] == "cancelled"]
    late = gone["finish_s"] - gone["finish_s_query"]
    assert len(gone) > 20
    assert (late >= -1e-9).all()
    assert (late < 0.1).all()


def test_the_run_ends_with_the_last_measured_query():
    """Queries that arrive later are under way, and have no answer."""
    simulation = simulate(
        experiment(
            "majority_vote",
            {**ONE_POOL, "samples": 3},
            num_requests=400,
            measure={"warmup_s": 10.0, "window_s": 30.0},
        )
    )
    queries = simulation.result().queries
    measured = queries[queries["measured"]]
    assert len(measured) > 60
    assert (measured["status"] == "completed").all()
    assert measured["finish_s"].max() == pytest.approx(simulation.outcome.end_s, rel=1e-9)
    assert (queries["status"] == "unfinished").any()
    assert queries.loc[queries["status"] == "unfinished", "answer"].isna().all()


def test_requests_go_to_the_pool_they_were_planned_for():
    simulation = served("cascade", {"pool": "second", "second_pool": "first", "samples": 3})
    outcome = simulation.outcome
    turn = outcome.replies.plan.requests.sessions.turn[outcome.rows]
    pool = outcome.pool_id[outcome.requests["replica"]]
    assert (pool[turn < 3] == 1).all()
    assert (pool[turn == 3] == 0).all()
    assert (turn == 3).any()


def test_rejected_queries_have_no_answer():
    """Their prompts are too long for any replica: rejected, and counted as wrong."""
    simulation = served(
        "majority_vote", {**ONE_POOL, "samples": 3}, engine={"max_model_len": 150}, num_requests=80
    )
    result = simulation.result()
    refused = result.queries[result.queries["status"] == "rejected"]
    assert len(refused) > 5
    assert (refused["answer"] == "none").all()
    assert refused["tta_s"].isna().all()
    wrong = (result.queries["answer"] != "right").sum()
    assert result.summary["accuracy"] == pytest.approx(1 - wrong / len(result.queries))


def test_classes_with_strategies_of_their_own():
    """A strategy of one request beside a process: each class is served by its own."""
    base = experiment("majority_vote", {**ONE_POOL, "samples": 3}, num_requests=80).to_dict()
    lengths = {
        key: base["workload"][key] for key in ("prompt_tokens", "thinking_tokens", "answer_tokens")
    }
    base["workload"] = {
        "kind": "mix",
        "num_requests": 80,
        "arrivals": {"kind": "poisson", "rate_rps": 4.0},
        "classes": {"easy": lengths, "hard": lengths, "other": lengths},
    }
    base["strategies"] = {"easy": {"kind": "single"}, "other": {"kind": "agent", "searches": 1}}
    queries = simulate(Experiment.model_validate(base)).result().queries
    sent = queries.groupby("class", observed=True)["requests"].agg(["min", "max"])
    assert sent.loc["easy"].tolist() == [1, 1]
    assert sent.loc["hard"].tolist() == [3, 3]
    assert sent.loc["other"].tolist() == [2, 2]
    assert (queries["status"] == "completed").all()


def test_probes_within_the_request_stop_where_others_do():
    """One request a query: the same thinking and answers, and the tokens of its probes."""
    apart, inline = (
        served("early_exit", {"probe_every_tokens": 64, "inline": inline})
        for inline in (False, True)
    )
    one, other = (run.result().queries for run in (apart, inline))
    assert (other["requests"] == 1).all()
    assert one["answer"].tolist() == other["answer"].tolist()
    np.testing.assert_array_equal(one["generated_tokens"], other["generated_tokens"])
    stop = (one["requests"] - 1) // 2 * 64  # stretches and probes by turns, then the answer
    single = served("single").result().queries["generated_tokens"] - 40
    assert (stop <= single + 64).all()
    assert (one["generated_tokens"] < single).any()


@pytest.mark.parametrize("kind", ["majority_vote", "single"])
def test_clients_of_a_closed_loop_wait_for_the_answer_of_their_query(kind):
    """Three clients: never more than three queries at once, the next when one is answered."""
    base = experiment(kind, {"majority_vote": {"samples": 4}}.get(kind, {}), num_requests=30)
    changed = base.to_dict()
    changed["workload"]["arrivals"] = {"kind": "closed_loop", "concurrency": 3}
    queries = simulate(Experiment.model_validate(changed)).result().queries
    assert len(queries) == 30
    assert (queries["status"] == "completed").all()
    came, gone = queries["arrival_s"].to_numpy(), queries["finish_s"].to_numpy()
    assert (came[:3] == 0).all()
    np.testing.assert_allclose(came[3:], np.sort(gone)[:27], rtol=1e-9)
    under_way = [((came <= t) & (gone > t)).sum() for t in came[3:] + 1e-6]
    assert set(under_way) == {3}


def test_a_search_that_ends_has_sent_its_steps():
    """However early it ends: nobody answers with the accuracy of steps that were never taken."""
    parameters = {"expansions": 30, "branches": 2, "step_tokens": 64}
    simulation = served("tree_search", parameters)
    single = served("single").result().queries
    queries = simulation.result().queries
    natural = single["generated_tokens"] - 40
    assert (queries["generated_tokens"] >= natural).all()
    assert (queries["requests"] > np.ceil(natural / 64)).all()


def test_branches_wait_for_their_own_verdicts_only():
    """Verdicts of one second each: a chain of k looks is late by k seconds, not by all of them."""
    parameters = {"samples": 4, "enough": 4, "check_every_tokens": 100, "prune_below": -9.0}
    quick, slow = (
        served("sart", {**parameters, "verifier_s": seconds}, rate_rps=0.1).result().queries
        for seconds in (0.0, 1.0)
    )
    looks = quick["requests"].max() / 4 * 3  # more than any chain has
    late = slow["tta_s"] - quick["tta_s"]
    assert (late >= 0.99).all()
    assert (late <= looks).all()


@pytest.mark.parametrize("kind", ["best_of_n", "sart", "beam_search", "tree_search"])
def test_verdicts_that_were_not_given_decide_nothing(kind):
    """A verifier that can read nothing is as good as none: the first attempt, or no answer."""
    base = {"verifier_pool": "second", **EXAMPLES[kind], "pool": "first"}
    base.pop("verifier_s", None)
    blind = experiment(kind, base, num_requests=300, rate_rps=10.0, mean_log_thinking=3.5)
    pools = blind.to_dict()
    pools["pools"]["second"]["engine"]["max_model_len"] = 64
    queries = simulate(Experiment.model_validate(pools)).result().queries
    single = (
        served("single", {"pool": "first"}, num_requests=300, rate_rps=10.0, mean_log_thinking=3.5)
        .result()
        .queries
    )
    chance = (single["answer"] == "right").mean()
    assert (queries["answer"] == "right").mean() < chance + 0.1
    if kind.endswith("search"):
        assert (queries["answer"] == "none").mean() > 0.9


def test_hits_are_answered_and_counted_though_nothing_is_sent():
    everything = {"equivalent": 1.0, "threshold": -1.0, "otherwise": {"kind": "single"}}
    simulation = served("semantic_cache", everything)
    result = simulation.result()
    assert len(result.queries) == 60
    assert (result.queries["requests"] == 0).all()
    assert result.queries["tta_s"].to_numpy() == pytest.approx(0.02)
    assert result.summary["accuracy"] is not None
    assert simulation.outcome.end_s == pytest.approx(result.queries["finish_s"].max())


def test_queries_that_hit_after_the_last_request_count():
    result = served("semantic_cache", {"equivalent": 0.9}, num_requests=300, rate_rps=3.0).result()
    assert len(result.queries) == 300
    assert (result.queries["status"] == "completed").all()


@pytest.mark.parametrize("kind", ["agent", "memoryless", "early_exit", "sart"])
def test_phase_aware_serves_thinking_that_has_no_answer(kind):
    queries = served(kind, engine={"scheduler": "phase_aware", "max_num_seqs": 4}).result().queries
    assert (queries["status"] == "completed").all()


def test_a_cascade_counts_attempts_without_an_answer_as_disagreeing():
    """A cap cuts most attempts off: the large model is asked, though the few that answer agree."""
    base = experiment("cascade", {"samples": 4, "pool": "first"}, num_requests=200).to_dict()
    base["workload"]["max_tokens"] = 200
    queries = simulate(Experiment.model_validate(base)).result().queries
    unsure = queries["requests"] == 5
    requests = simulate(Experiment.model_validate(base)).result().requests
    whole = requests[requests["finish_reason"] == "stop"].groupby("query_id").size()
    few = whole.reindex(queries["query_id"], fill_value=0).to_numpy() - unsure.to_numpy() < 3
    assert few.sum() > 30
    assert unsure[few].all()


def test_pauses_of_no_time_cost_none():
    steps = served(
        "agent", {"searches": 2, "tool_s": 0.0}, rate_rps=0.2, engine={"async_scheduling": False}
    )
    requests = steps.result().requests
    follows = requests.groupby("query_id").cumcount() > 0
    assert (requests.loc[follows, "queue_s"] < 1e-6).all()


@pytest.mark.parametrize(
    "look",
    [
        lambda plan, request: int(plan.answers.open()[0, 0]),
        lambda plan, request: int(plan.thinking_tokens[0]),
        lambda plan, request: int(request.call.answer_tokens[0]),
    ],
)
def test_nothing_is_known_before_its_time(look):
    @dataclass(eq=False, kw_only=True)
    class Peeks(Strategy):
        def plan(self, draft):
            return draft.ask(draft.own, *draft.lengths(0), answers=draft.answers(0))

        def answer(self, query, plan):
            request = query.send(plan)
            said = look(plan, request)
            yield request
            return said

    settings = experiment("single", num_requests=20)
    batch = settings.workload.generate(0)
    plan = plan_requests(
        batch,
        {},
        Peeks(),
        lambda k: settings.workload.attempt(0, batch, k),
        ("first", "second"),
        judge=judge_of(settings, batch),
    )
    query = SimpleNamespace(send=lambda call: SimpleNamespace(call=call))
    with pytest.raises((AttributeError, ValueError)):
        next(Peeks().answer(query, plan.groups[0].plan))
