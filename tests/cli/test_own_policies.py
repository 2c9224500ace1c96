"""Policies in a user's files that fail: one clear message, an exit code, no traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .support import Outcome

Ponder = Callable[..., Outcome]

HEAD = """\
import sys
from dataclasses import dataclass
import numpy as np
from simulator.admission import Admission
from simulator.predictors import Predictor
from simulator.routers import Router
from simulator.schedulers import Scheduler

"""
SCHEDULER = "pools.reasoning.engine.scheduler"


@pytest.mark.parametrize(
    ("key", "base", "method", "code", "message"),
    [
        (SCHEDULER, "Scheduler", "rank(self, view, now_s): return [[1.0]]", 3, "shape (1, 1)"),
        (SCHEDULER, "Scheduler", "rank(self, view, now_s): sys.exit(0)", 3, "SystemExit: 0"),
        (SCHEDULER, "Scheduler", "start(self, facts, config): 1 / 0", 3, "ZeroDivisionError"),
        (SCHEDULER, "Scheduler", "rnak(self, view, now_s): return 0", 2, "did you mean rank?"),
        ("router", "Router", "choose(self, request, replicas): 1 / 0", 3, "ZeroDivisionError"),
        ("router", "Router", "choose(self, request, replicas): return 9", 3, "chose replica 9 of"),
        ("admission", "Admission", "refusal(self, *_): 1 / 0", 3, "ZeroDivisionError"),
        ("admission", "Admission", "refusal(self, *_): return 5", 3, "a reason or None, not 5"),
        ("admission", "Admission", "start(self, facts): 1 / 0", 3, "ZeroDivisionError"),
    ],
)
def test_what_goes_wrong_in_a_policy(
    workdir: Path, ponder: Ponder, key: str, base: str, method: str, code: int, message: str
) -> None:
    body = f"@dataclass(eq=False, kw_only=True)\nclass Mine({base}):\n    def {method}\n"
    (workdir / "mine.py").write_text(HEAD + body)
    replicas = "pools.reasoning.replicas=2"
    outcome = ponder("run", "good.yaml", "--set", f"{key}=mine.py:Mine", "--set", replicas)
    assert outcome.code == code
    [line] = outcome.err.splitlines()
    assert message in line
    assert "mine.py:Mine" in line or "Mine in " in line
    assert not (workdir / "results").exists()


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("total_tokens(self, rows, generated): return np.full(len(rows), np.nan)", "not np.float"),
        ("total_tokens(self, rows, generated): return 5", "one guess for each of"),
        ("total_tokens(self, rows, generated): 1 / 0", "ZeroDivisionError"),
        ("start(self, truth, seed): 1 / 0", "ZeroDivisionError"),
    ],
)
def test_what_goes_wrong_in_a_predictor(
    workdir: Path, ponder: Ponder, method: str, message: str
) -> None:
    start = "" if "start" in method else "    def start(self, truth, seed): pass\n"
    body = f"@dataclass(eq=False)\nclass Mine(Predictor):\n{start}    def {method}\n"
    (workdir / "mine.py").write_text(HEAD + body)
    outcome = ponder(
        "run", "good.yaml", "--set", f"{SCHEDULER}=sjf", "--set", "predictor=mine.py:Mine"
    )
    assert outcome.code == 3
    [line] = outcome.err.splitlines()
    assert "predictor mine.py:Mine" in line
    assert message in line


def test_a_policy_that_goes_by_predictions_is_called_by_its_kind(
    workdir: Path, ponder: Ponder
) -> None:
    outcome = ponder("run", "good.yaml", "--set", f"{SCHEDULER}=sjf")
    assert outcome.code == 2
    assert f"{SCHEDULER}: sjf goes by predicted lengths" in outcome.err


def test_a_file_that_leaves_does_not_end_in_silence(workdir: Path, ponder: Ponder) -> None:
    (workdir / "mine.py").write_text("import sys\nsys.exit(0)\n")
    outcome = ponder("run", "good.yaml", "--set", "router=mine.py:Mine")
    assert outcome.code == 2
    assert "mine.py cannot be loaded: SystemExit: 0" in outcome.err
