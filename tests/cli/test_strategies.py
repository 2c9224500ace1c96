"""Strategies on the command line: what is wrong is said at once, by file and field."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from .support import Outcome

Ponder = Callable[..., Outcome]

QUALITY = "pools.reasoning.quality={accuracy: 0.6, rho: 0.5, dominant_share: 0.3}"
CURVE = (
    "pools.reasoning.quality={curve: {floor: 0.0, ceiling: 0.8, half_tokens: 90, steepness: 1.0}}"
)
VOTE = "strategy={kind: majority_vote, samples: 3}"


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        (["strategy={kind: majority_vote, samples: 0}"], "strategy.samples", "at least 1"),
        (["strategy={kind: vote}"], "strategy.kind", "unknown strategy 'vote'"),
        ([VOTE], "strategy", "nobody knows here"),
        (["pools.reasoning.quality={accuracy: 1.2}"], "quality.accuracy", "at most 1"),
        (["pools.reasoning.quality=r1-distil-qwen-7b/aime24"], "quality", "did you mean"),
        (
            [QUALITY, "strategy={kind: best_of_n, verifier_pool: judge}"],
            "strategy.verifier_pool",
            "there is no pool 'judge'; known: reasoning",
        ),
        ([QUALITY, "strategy={kind: cascade}"], "strategy.second_pool", "needs a second pool"),
        ([QUALITY, "strategy={kind: sart, samples: 2, enough: 3}"], "strategy.enough", "is more"),
        (
            [QUALITY, "strategy={kind: budget, min_thinking_tokens: 10000000000000}"],
            "strategy.min_thinking_tokens",
            "at most 2147483647",
        ),
        (["strategy={kind: agent, result_tokens: 2000000000}"], "strategy", "is the most"),
        (["strategy={kind: semantic_cache, otherwise: sart}"], "strategy", "no pool says how good"),
        (
            [CURVE, "strategy=hybrid", "workload.difficulty={}"],
            "pools.reasoning.quality",
            "without thinking its model solves nothing",
        ),
        (
            [QUALITY, "strategies={default: {kind: best_of_n, verifier_pool: judge}}"],
            "strategies.default.verifier_pool",
            "there is no pool 'judge'",
        ),
        (["strategies={default: majority_vote}"], "strategies.default", "nobody knows here"),
        ([QUALITY, "strategies={chat: single}"], "strategies", "there is no class 'chat'"),
        ([QUALITY, "strategy=hybrid"], "workload", "does not say how difficult"),
        (
            [QUALITY, "strategy={kind: budget, min_thinking_tokens: 9000}"],
            "strategy.min_thinking_tokens",
            "above max_thinking_tokens",
        ),
        (["strategy=budget", "workload.max_tokens=3"], "max_tokens", "no budget for thinking"),
        (
            [QUALITY, VOTE, "workload.session={turns: {kind: constant, count: 2}}"],
            "strategy",
            "this workload has sessions",
        ),
        (
            [
                "strategy={kind: semantic_cache, otherwise: {kind: majority_vote, sample: 3}}",
                QUALITY,
            ],
            "strategy.otherwise",
            "sample",
        ),
        (
            [QUALITY, "strategy={kind: budget, max_thinking_tokens: {chat: 100}}"],
            "strategy.max_thinking_tokens",
            "there is no class 'chat'",
        ),
    ],
)
def test_bad_input_is_one_clear_error(
    workdir: Path, ponder: Ponder, changes: list[str], field: str, message: str
) -> None:
    sets = [part for change in changes for part in ("--set", change)]
    outcome = ponder("run", "good.yaml", *sets)
    assert outcome.code == 2
    assert outcome.errors
    assert any(field in line and message in line for line in outcome.errors), outcome.err
    assert "Traceback" not in outcome.err
    assert not (workdir / "results").exists()


PLAN = "        return 0\n    def plan(self, draft): return draft.ask({})\n"
HEAD = """\
import sys
from dataclasses import dataclass
from simulator.strategies import Strategy

@dataclass(eq=False, kw_only=True)
class Mine(Strategy):
    def plan(self, draft):
        return draft.ask(draft.own, *draft.lengths(0), answers=draft.answers(0))

    def answer(self, query, plan):
        request = query.send(plan)
        yield request
"""


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("        return 1 / 0\n", "ZeroDivisionError"),
        ("        return None\n", "TypeError"),
        ("        sys.exit(0)\n", "SystemExit: 0"),
        ("        yield query.send(plan)\n        return 0\n", "sends a request twice"),
        ("        return 0\n    def plan(self, draft): return 1 / 0\n", "ZeroDivisionError"),
        ("        return 0\n    def plan(self, draft): return None\n", "it plans no request"),
        ("        yield [request]\n        return 0\n", "no event: wait for several"),
        ("        yield\n        return 0\n", "no event"),
        ("        yield query.pause(float('inf'))\n        return 0\n", "pauses for inf s"),
        ("        yield query.some([request], 2)\n        return 0\n", "waits for 2 of 1 events"),
        ("        import simpy\n        yield simpy.Event(query._port.env)\n", "never comes"),
        (PLAN.format("draft.own, 0, 0"), "at least 1 token"),
        (PLAN.format("draft.own, -5, 10"), "at least 1 token"),
        (PLAN.format("draft.own, 1.5, 1"), "tokens: expected int64"),
        (PLAN.format("draft.own, 1, 1, where=draft.own.tokens"), "where: expected bool"),
        (PLAN.format("draft.own, 1, 1, answers=draft.own.tokens"), "answers: expected"),
    ],
)
def test_what_goes_wrong_in_a_strategy_of_ones_own(
    workdir: Path, ponder: Ponder, rest: str, message: str
) -> None:
    (workdir / "mine.py").write_text(HEAD + rest)
    outcome = ponder("run", "good.yaml", "--set", "strategy=mine.py:Mine")
    assert outcome.code == 3
    [line] = outcome.err.splitlines()
    assert message in line
    assert "mine.py:Mine" in line


def test_a_strategy_of_ones_own_runs(workdir: Path, ponder: Ponder) -> None:
    (workdir / "mine.py").write_text(HEAD + "        return request.answer\n")
    changes = ("--set", "strategy=mine.py:Mine", "--set", QUALITY)
    assert ponder("run", "good.yaml", "--out", "out", *changes).code == 0
    found = json.loads((workdir / "out" / "summary.json").read_text())
    assert 0.3 < found["accuracy"] < 0.9
    assert ponder("run", "good.yaml", "--out", "single", "--set", QUALITY).code == 0
    single = json.loads((workdir / "single" / "summary.json").read_text())
    assert found["accuracy"] == single["accuracy"]
    assert found["mean_tta_ms"] == pytest.approx(single["mean_tta_ms"], rel=1e-9)


def test_strategies_are_listed(ponder: Ponder) -> None:
    listed = json.loads(ponder("strategies", "--json").out)
    assert {"single", "majority_vote", "sart"} <= {each["name"] for each in listed}
    assert all(each["source"] and each["summary"] for each in listed)


def test_a_frontier_is_drawn_and_names_what_is_dominated(workdir: Path, ponder: Ponder) -> None:
    ways = (
        "strategy=[single, {kind: majority_vote, samples: 3},"
        " {kind: majority_vote, samples: 3, stop_when_decided: true}]"
    )
    outcome = ponder(
        "frontier", "good.yaml", "--set", QUALITY, "--vary", ways, "--out", "front", "--json"
    )
    assert outcome.code == 0
    rows = json.loads(outcome.out)
    assert [row["label"].partition(" ")[0] for row in rows] == [
        "single",
        "majority_vote",
        "majority_vote",
    ]
    assert rows[0]["requests_per_query"] == 1
    assert rows[1]["requests_per_query"] == 3
    assert rows[1]["accuracy"] == rows[2]["accuracy"]
    assert rows[1]["dominated_by"] == rows[2]["label"]
    assert (workdir / "front" / "frontier.png").read_bytes().startswith(b"\x89PNG")
    assert len((workdir / "front" / "frontier.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ("strategy=single", "must have the form"),
        ("strategy", "must have the form"),
        ("strategy=[single, {kind: vote}]", "unknown strategy 'vote'"),
        ("seed=[" + ",".join(map(str, range(300))) + "]", "are the most"),
    ],
)
def test_a_frontier_of_what_cannot_be(
    workdir: Path, ponder: Ponder, vary: str, message: str
) -> None:
    outcome = ponder("frontier", "good.yaml", "--set", QUALITY, "--vary", vary)
    assert outcome.code == 2
    assert message in outcome.err
    assert "Traceback" not in outcome.err


def test_a_frontier_needs_to_know_what_is_right(workdir: Path, ponder: Ponder) -> None:
    outcome = ponder("frontier", "good.yaml", "--vary", "seed=[0]")
    assert outcome.code == 2
    assert "give pools `quality`" in outcome.err
