"""The experiments in experiments/: they load, run, and show what their comments say."""

from pathlib import Path

import pytest

from simulator import load_experiment, run
from simulator.studies.frontier import frontier

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_experiment_says_what_to_look_at(path):
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert "# What to look at: " in text
    assert f"ponder run experiments/{path.name}" in text or path.stem == "quickstart"


def summary(name, *overrides):
    return run(load_experiment(EXPERIMENTS / f"{name}.yaml", overrides)).summary


def test_thinking_makes_an_hour_of_chat_wait():
    shown = summary("azure_conv_with_thinking")
    parts = {name: shown[f"mean_{name}_s"] for name in ("queue", "prefill", "thinking", "answer")}
    assert 0.8 < parts["thinking"] / sum(parts.values()) < 0.87
    assert shown["median_ttfo_ms"] > 5_000
    without = summary(
        "azure_conv_with_thinking",
        "workload.thinking_tokens={kind: constant, tokens: 0}",
        "pools.reasoning.replicas=1",
    )
    assert without["median_ttfo_ms"] < 50
    assert 0.2 < without["offered_load"] < 0.3


def test_a_day_is_not_its_mean():
    shown = summary("deepseek_r1_day")
    assert shown["verdict"] == "OK"
    assert shown["offered_load"] < 0.75
    assert shown["slo_attainment"] < 0.5
    assert 420_000 < shown["p90_ttft_ms"] < 510_000
    thinking = {
        name: each["total_thinking_tokens"] / each["completed"]
        for name, each in shown["classes"].items()
    }
    assert max(thinking, key=thinking.get) == "client_35"
    assert summary("deepseek_r1_day", "pools.r1.replicas=2")["slo_attainment"] > 0.99


def test_agents_wait_for_turns_not_for_requests():
    shown = summary("agentic_coding")
    assert 2.0 < shown["median_tta_ms"] / shown["median_e2el_ms"] < 4.0
    assert 35_000 < shown["median_tta_ms"] < 55_000
    assert shown["verdict"] == "OK"
    assert 0.2 < shown["offered_load"] < 0.35  # half of what it would be without the prefix cache
    assert not any("sessions bring" in note for note in shown["notes"])
    ratio = shown["total_input_tokens"] / shown["total_output_tokens"]
    assert 55 < ratio < 75
    assert any("beginning of an earlier request" in note for note in shown["notes"])


def test_agents_live_off_the_prefix_cache():
    usual, affine, without = (
        summary("agentic_coding", *overrides)
        for overrides in (
            (),
            ("router=session_affinity",),
            ("pools.agents.engine.enable_prefix_caching=false",),
        )
    )
    assert 0.7 < usual["prefix_hit_ratio"] < 0.85
    assert affine["prefix_hit_ratio"] > 0.94
    ttft_ms = [each["median_ttft_ms"] for each in (affine, usual, without)]
    assert ttft_ms[0] < 0.3 * ttft_ms[1]
    assert ttft_ms[1] < 0.2 * ttft_ms[2]


def test_hard_questions_make_easy_ones_wait():
    calm, usual, busy = (
        summary("mixed_difficulty", f"workload.arrivals.rate_rps={rate}")["classes"]
        for rate in (0.55, 0.65, 0.75)
    )
    tails = [each["chat"]["p99_tta_ms"] for each in (calm, usual, busy)]
    assert tails[0] < 25_000
    assert tails[1] > 100_000
    assert tails[2] > 300_000
    assert usual["chat"]["p50_tta_ms"] < 11_000
    hard = ("competition_math", "complex_proof")
    tokens = {n: e["total_thinking_tokens"] + e["total_answer_tokens"] for n, e in usual.items()}
    assert sum(tokens[name] for name in hard) > 0.5 * sum(tokens.values())
    assert sum(usual[name]["num_queries"] for name in hard) < 0.11 * sum(
        each["num_queries"] for each in usual.values()
    )


def test_maths_votes():
    ways = (
        "strategy=[single, {kind: early_exit, probe_every_tokens: 1024},"
        " {kind: majority_vote, samples: 8},"
        " {kind: majority_vote, samples: 8, stop_when_decided: true}]"
    )
    single, early, vote, stopped = frontier(EXPERIMENTS / "maths_votes.yaml", [ways])
    assert single.accuracy == pytest.approx(0.58, abs=0.005)
    assert vote.accuracy == pytest.approx(0.715, abs=0.005)
    cost = [each.cost_usd_per_query_at_capacity for each in (single, early, vote)]
    assert cost[2] / cost[0] == pytest.approx(8, rel=0.05)
    assert cost[1] / cost[0] == pytest.approx(0.4, abs=0.03)
    assert vote.mean_tta_s > 2 * single.mean_tta_s
    assert early.accuracy == pytest.approx(single.accuracy, abs=0.01)
    assert stopped.accuracy == vote.accuracy
    assert stopped.mean_tta_s < 0.85 * vote.mean_tta_s
    assert vote.dominated_by == stopped.label
