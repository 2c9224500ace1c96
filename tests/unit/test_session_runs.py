"""Sessions and mixes in whole runs: who waits for whom, what a query's answer takes."""

import numpy as np
import pandas as pd
import pytest

from simulator import load_experiment, run
from simulator.cluster.cluster import Cluster
from simulator.config.resolve import resolve_pool
from simulator.labels import Labels, first_request_of_query
from simulator.metrics.latency import query_table
from simulator.runner import plan_of, serve
from workloads.batch import RequestBatch

POOL = {"model": "llama-3.1-8b", "gpu": "h100-sxm", "engine": {"max_num_seqs": 64}}
AGENT = {
    "arrivals": {"kind": "poisson", "rate_rps": 0.4},
    "shared_prefix_tokens": 300,
    "prompt_tokens": {"kind": "uniform", "min": 20, "max": 900},
    "thinking_tokens": {"kind": "uniform", "min": 0, "max": 300},
    "answer_tokens": {"kind": "uniform", "min": 1, "max": 100},
    "session": {
        "turns": {"kind": "geometric", "mean": 2.0},
        "requests_per_turn": {"kind": "geometric", "mean": 3.0},
        "tool_result_tokens": {"kind": "uniform", "min": 1, "max": 400},
        "user_pause_s": {"kind": "exponential", "mean_s": 10.0},
        "tool_pause_s": {"kind": "lognormal", "mu": 0.0, "sigma": 1.0},
        "thinking_retention": "keep_within_tool_loop",
    },
}
CHAT = {"preset": "chat", "arrivals": {"kind": "poisson", "rate_rps": 2.0}}


def experiment(pool=None, measure=None, classes=None, **changes):
    return load_experiment(
        {
            "name": "sessions",
            "pools": {"p": {**POOL, **(pool or {})}},
            "workload": {"kind": "mix", "classes": classes or {"agent": AGENT, "chat": CHAT}},
            "measure": measure or {"warmup_s": 30, "window_s": 120},
            **changes,
        }
    )


@pytest.fixture(scope="module")
def result():
    return run(experiment(), check_integrity=True)


def test_a_turn_comes_a_pause_after_the_answer_before_it(result):
    requests = result.requests
    inside = requests[requests["session_id"] >= 0].sort_values(["session_id", "turn"])
    before = inside.groupby("session_id")["finish_s"].shift()
    waited = (inside["arrival_s"] - before)[inside["turn"] > 0].dropna()
    assert len(waited) > 50
    assert (waited > 0).all()
    assert (inside["turn"] == inside.groupby("session_id").cumcount()).all()
    # The pauses are the drawn ones: the batch says which.
    outcome = serve_alone(experiment())
    batch = outcome[1]
    times, rows = outcome[0].requests, outcome[0].rows
    finish = np.full(len(batch), np.nan)
    arrival = np.full(len(batch), np.nan)
    finish[rows], arrival[rows] = times["finish_s"], times["arrival_s"]
    waits = batch.sessions.after >= 0
    due = finish[batch.sessions.after[waits]] + batch.sessions.pause_s[waits]
    assert np.allclose(arrival[waits], due, rtol=1e-12)


def serve_alone(experiment, pool=None):
    pool = resolve_pool(*experiment.one_pool())
    batch = experiment.workload.generate(0, duration_s=120.0)
    return serve([plan_of(pool)], batch, check_integrity=True), batch


def test_tta_of_a_query_spans_its_tool_calls(result):
    requests, queries = result.requests, result.queries
    assert (queries["requests"] > 1).any()
    for query_id, own in requests.groupby("query_id"):
        query = queries[queries["query_id"] == query_id].iloc[0]
        assert query["requests"] == len(own)
        assert own["request_id"].min() == query_id
        complete = len(own) == own["query_requests"].iloc[0]
        if complete and (own["status"] == "completed").all():
            expected = own["finish_s"].iloc[-1] - own["arrival_s"].iloc[0]
            assert query["tta_s"] == pytest.approx(expected, rel=1e-12)
        else:
            assert np.isnan(query["tta_s"])
            assert complete or query["status"] == "unfinished"


def test_a_query_is_measured_whole_or_not_at_all(result):
    requests = result.requests
    measured = requests.groupby("query_id")["measured"].nunique()
    assert (measured == 1).all()
    first = requests[requests["query_id"] == requests["request_id"]]
    start, end = result.record.window_s
    inside = (first["arrival_s"] >= start) & (first["arrival_s"] < end)
    assert (inside == first["measured"]).all()
    assert (requests[requests["measured"]]["status"] == "completed").all()
    assert (requests[requests["measured"]]["arrival_s"] >= end).any()


def test_spans_and_single_iterations_agree():
    runs = [
        run(experiment(pool={"engine": {"max_num_seqs": 8, "num_gpu_blocks": 900,
                                        "max_model_len": 8192, "stepping": stepping}}))
        for stepping in ("span", "iteration")
    ]  # fmt: skip
    spans, iterations = (each.requests for each in runs)
    assert len(spans) == len(iterations)
    for column in ("arrival_s", "first_token_s", "first_answer_s", "finish_s"):
        assert np.allclose(spans[column], iterations[column], rtol=1e-9, equal_nan=True), column
    assert spans["preemptions"].equals(iterations["preemptions"])


def test_the_same_seed_gives_the_same_run(result):
    again = run(experiment())
    pd.testing.assert_frame_equal(again.requests, result.requests)
    assert again.summary == result.summary


def test_a_refused_turn_ends_its_session():
    limited = experiment(pool={"engine": {"max_num_seqs": 64, "max_model_len": 1500}})
    outcome, batch = serve_alone(limited)
    refused = outcome.rows[list(outcome.refused)]
    assert len(refused) > 3
    arrived = np.zeros(len(batch), dtype=bool)
    arrived[outcome.rows] = True
    sessions = batch.sessions
    for row in refused:
        later = (sessions.session_id == sessions.session_id[row]) & (
            sessions.turn > sessions.turn[row]
        )
        assert sessions.session_id[row] < 0 or not arrived[later].any()
    waits = sessions.after >= 0
    gone = ~arrived[sessions.after] | np.isin(sessions.after, refused)
    assert (arrived[waits] == ~gone[waits]).all()
    result = run(limited)
    assert result.summary["rejected"] > 0
    assert any("never sent" in note for note in result.record.notes)
    failed = result.queries["status"] != "completed"
    assert result.queries["tta_s"][failed].isna().all()
    final = result.requests.groupby("query_id").tail(1).set_index("query_id")["first_answer_s"]
    unanswered = failed.to_numpy() | final.loc[result.queries["query_id"]].isna().to_numpy()
    assert (result.queries["tta_s"].isna() == unanswered).all()


STEADY = {
    **AGENT,
    "arrivals": {"kind": "poisson", "rate_rps": 0.5},
    "session": {
        "requests_per_turn": {"kind": "constant", "count": 10},
        "tool_result_tokens": {"kind": "constant", "tokens": 20},
        "tool_pause_s": {"kind": "constant", "seconds": 20.0},
    },
}


@pytest.mark.parametrize(
    "measure",
    [
        {"warmup_s": 300, "window_s": 30},
        {"warmup_s": 300, "window_s": 150},
        {"warmup_requests": 600, "window_requests": 100},
    ],
)
def test_queries_are_whole_and_take_as_long_however_short_the_window(measure):
    result = run(experiment(classes={"agent": STEADY}, measure=measure))
    queries = result.queries[result.queries["measured"]]
    assert len(queries) > 4
    assert (queries["requests"] == 10).all()
    assert (queries["tta_s"] > 180).all()  # nine tools of 20 s each
    assert queries["tta_s"].mean() < 260


@pytest.mark.parametrize("end", [{"num_requests": 100}, {"duration_s": 60.0}])
def test_queries_are_whole_where_the_workload_ends(end):
    workload = {"kind": "mix", "classes": {"agent": STEADY}, **end}
    result = run(experiment(measure={"warmup_s": 0}, workload=workload))
    assert (result.queries["requests"] == 10).all()
    assert (result.queries["tta_s"] > 180).all()


def test_queries_cut_off_by_the_end_of_the_run_have_no_answer():
    measure = {"warmup_s": 300, "window_s": 150, "drain_s": 60}
    result = run(experiment(classes={"agent": STEADY}, measure=measure))
    queries = result.queries[result.queries["measured"]]
    cut = queries["requests"] < 10
    assert cut.any()
    assert not cut.all()
    assert (queries["status"][cut] == "unfinished").all()
    assert queries["tta_s"][cut].isna().all()
    assert (queries["tta_s"].dropna() > 180).all()
    assert any("had requests to come" in note for note in result.summary["notes"])
    # and the cost of a query is not that of its fragments
    whole = run(experiment(classes={"agent": STEADY}, measure={**measure, "drain_s": None}))
    costs = [each.summary["cost_usd_per_completed_query"] for each in (result, whole)]
    assert costs[0] == pytest.approx(costs[1], rel=0.15)


def test_labels_stay_with_their_requests_when_traffic_runs_dry():
    classes = {
        "agent": {**AGENT, "arrivals": {"kind": "piecewise", "rates_rps": [0.5, 0],
                                        "times_s": [0, 100]}},
    }  # fmt: skip
    result = run(experiment(classes=classes, measure={"window_s": 900}))
    requests = result.requests
    opens = requests["turn"] == 0
    assert opens.sum() == requests["session_id"].nunique()
    assert (requests[opens]["prompt_tokens"] < 1201).all()
    by_turn = requests.sort_values(["session_id", "turn"]).groupby("session_id")
    assert (by_turn["arrival_s"].diff().dropna() > 0).all()
    assert any("stop arriving" in note for note in result.summary["notes"])


LONG = {  # thirty requests a session
    **STEADY,
    "session": {
        **STEADY["session"],
        "turns": {"kind": "constant", "count": 3},
        "user_pause_s": {"kind": "constant", "seconds": 200.0},
    },
}


def test_sessions_overload_without_a_queue():
    """The window sees few of their requests, and yet the pool will choke."""
    agent = {
        **LONG,
        "arrivals": {"kind": "poisson", "rate_rps": 1.5},
        "thinking_tokens": {"kind": "constant", "tokens": 900},
    }
    pool = {"engine": {"max_num_seqs": 8}}
    measure = {"warmup_s": 10, "window_s": 40}
    shown = run(experiment(pool=pool, classes={"agent": agent}, measure=measure)).summary
    assert shown["offered_rps"] == pytest.approx(1.5 * 30, rel=0.3)
    assert shown["offered_load"] > 1
    assert shown["verdict"] == "OVERLOADED"
    assert any("sessions bring" in note for note in shown["notes"])


def test_demand_is_that_of_the_window_where_rates_change():
    arrivals = {"kind": "piecewise", "rates_rps": [0.1, 5.0], "step_s": 500}
    classes = {"agent": {**LONG, "arrivals": arrivals}}
    shown = run(experiment(classes=classes, measure={"warmup_s": 100, "window_s": 400})).summary
    assert shown["offered_rps"] == pytest.approx(0.1 * 30, rel=0.5)
    assert shown["verdict"] == "OK"


def test_sessions_that_no_longer_start_are_no_demand():
    workload = {"kind": "mix", "classes": {"agent": LONG}, "duration_s": 10.0}
    shown = run(experiment(workload=workload, measure={"warmup_s": 300, "window_s": 400})).summary
    assert shown["offered_load"] < 0.5
    assert not any("stop arriving" in note for note in shown["notes"])
    assert any("no session begins after" in note for note in shown["notes"])


def test_sessions_are_counted_as_far_as_they_are_accepted():
    pool = {"engine": {"max_num_seqs": 64, "max_model_len": 1300}}
    classes = {"agent": {**LONG, "arrivals": {"kind": "poisson", "rate_rps": 0.5}}}
    result = run(experiment(pool, classes=classes, measure={"warmup_s": 100, "window_s": 300}))
    accepted = (result.requests["status"] != "rejected").sum()
    sessions = result.requests["session_id"].nunique()
    assert accepted / sessions < 15
    assert result.summary["offered_rps"] == pytest.approx(0.5 * accepted / sessions, rel=0.4)


def test_few_sessions_among_single_queries_do_not_change_how_these_are_judged():
    chat = {"preset": "chat", "arrivals": {"kind": "poisson", "rate_rps": 4.0}}
    rare = {**STEADY, "arrivals": {"kind": "poisson", "rate_rps": 0.01}}
    result = run(experiment(classes={"chat": chat, "agent": rare}))
    inside = (result.requests["arrival_s"] >= 30) & (result.requests["arrival_s"] < 150)
    assert result.summary["offered_rps"] == pytest.approx(inside.sum() / 120)


def test_a_query_is_over_when_its_last_request_finishes():
    requests = pd.DataFrame(
        {
            "request_id": [0, 1, 2],
            "query_id": [0, 0, 2],
            "query_requests": [2, 2, 1],
            "class": "a",
            "arrival_s": [0.0, 0.0, 1.0],
            "finish_s": [13.0, 0.5, 2.0],
            "first_answer_s": [9.0, 0.4, 1.5],
            "status": "completed",
            "measured": True,
        }
    )
    assert query_table(requests)["tta_s"].tolist() == [13.0, 1.0]


def test_segments_reach_every_replica():
    chosen = experiment(pool={"replicas": 2})
    batch = chosen.workload.generate(0, duration_s=60.0)
    seen = []

    class Spy(Cluster):
        def run(self, **options):
            seen.extend(replica.segments for replica in self.replicas)
            return super().run(**options)

    pool = resolve_pool(*chosen.one_pool())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("simulator.runner.Cluster", Spy)
        serve([plan_of(pool)], batch)
    assert seen == [batch.segments, batch.segments]
    first_agent = int(np.flatnonzero(batch.class_id == 0)[0])
    (shared, tokens), (_, own) = batch.segments.of(first_agent)
    assert tokens == 300
    assert own == batch.prompt_tokens[first_agent] - 300
    assert all(batch.segments.of(i)[0][0] == shared for i in np.flatnonzero(batch.class_id == 0))


def test_labels_follow_the_requests(result):
    requests = result.requests
    assert set(requests["client"]) == {"agent", "chat"}
    assert (requests["client"] == requests["class"].astype(str)).all()
    assert requests[requests["class"] == "chat"]["difficulty"].between(0, 1).all()
    assert requests[requests["class"] == "agent"]["difficulty"].isna().all()
    assert (requests[requests["class"] == "chat"]["session_id"] == -1).all()


def test_classes_are_summed_up_and_judged_by_their_own_targets():
    classes = {
        "agent": {**AGENT, "slo": {"e2el_s": 1.0}},
        "chat": {**CHAT, "slo": {"ttfo_s": 3.0, "ttft_s": 0.5}},
        "free": {
            "preset": "coding",
            "prompt_tokens": {"kind": "uniform", "min": 100, "max": 16000},
            "arrivals": {"kind": "poisson", "rate_rps": 0.4},
        },
    }
    pool = {"engine": {"max_num_seqs": 64, "max_model_len": 8000}}
    result = run(experiment(pool, classes=classes))
    requests = result.requests[result.requests["measured"]]
    shown = result.summary["classes"]
    assert set(shown) == set(classes)
    good = 0
    for name, each in shown.items():
        own = requests[requests["class"] == name]
        assert each["num_prompts"] == len(own)
        assert each["p50_ttft_ms"] == pytest.approx(own["ttft_s"].median() * 1e3)
        met = {
            "agent": own["e2el_s"] <= 1.0,
            "chat": (own["ttfo_s"] <= 3.0) & (own["ttft_s"] <= 0.5),
            "free": own["status"] == "completed",
        }[name]
        good += int(met.sum())
        expected = None if name == "free" else pytest.approx(met.mean())
        assert each["slo_attainment"] == expected
    assert 0 < shown["agent"]["slo_attainment"] < 1
    assert (requests[requests["class"] == "free"]["status"] == "rejected").any()
    assert result.summary["slo_attainment"] == pytest.approx(good / len(requests))
    queries = result.queries[result.queries["measured"] & (result.queries["class"] == "agent")]
    assert shown["agent"]["mean_tta_ms"] == pytest.approx(queries["tta_s"].mean() * 1e3)


def test_first_requests_of_queries():
    batch = RequestBatch(
        arrival_s=np.arange(3.0),
        prompt_tokens=np.ones(3, dtype=np.int64),
        thinking_tokens=np.zeros(3, dtype=np.int64),
        answer_tokens=np.ones(3, dtype=np.int64),
        max_tokens=np.zeros(3, dtype=np.int64),
        class_id=np.zeros(3, dtype=np.int32),
    )
    assert first_request_of_query(batch) is None
    assert Labels.of(batch).query_id is None
