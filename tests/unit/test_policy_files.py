"""Policies in files of one's own: what is wrong with the class is said when it is loaded."""

import os

import pytest

from simulator.errors import InputError
from simulator.policy import build, find, kind_of
from simulator.predictors import PREDICTORS, Predictor
from simulator.routers import ROUTERS, Router
from simulator.schedulers import SCHEDULERS, Scheduler
from simulator.schedulers.sjf import Sjf

FILE = """\
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
from simulator.predictors import Predictor
from simulator.routers import Router
from simulator.schedulers import Scheduler
from simulator.schedulers.mlfq import Mlfq

@dataclass(eq=False)
class Mine({base}):
    {body}
"""
RANK = "def rank(self, view, now_s): return 0"


def mine(tmp_path, body, base="Scheduler"):
    """Find the class Mine with this body, in a file of its own."""
    path = tmp_path / "mine.py"
    path.write_text(FILE.format(base=base, body=body))
    families = {"Router": (ROUTERS, Router), "Predictor": (PREDICTORS, Predictor)}
    registry, family = families.get(base, (SCHEDULERS, Scheduler))
    return find(registry, family, f"{path}:Mine")


@pytest.mark.parametrize(
    ("base", "slip", "meant"),
    [
        ("Scheduler", "def review_token(self, view, now_s): return 5", "review_tokens"),
        ("Scheduler", "def on_finished(self, view, now_s): pass", "on_finish"),
        ("Scheduler", "def on_arrive(self, view, now_s): pass", "on_arrival"),
        ("Scheduler", "rank_change = 'running'", "rank_changes"),
        ("Mlfq", "def dispalce(self, candidate, running, now_s): pass", "displace"),
        ("Router", "def chose(self, request, replicas): return 0", "choose"),
        ("Predictor", "def total_token(self, rows, generated): return rows", "total_tokens"),
    ],
)
def test_a_misspelt_name_is_not_left_out_in_silence(tmp_path, base, slip, meant):
    with pytest.raises(InputError, match=f"never asked for; did you mean {meant}[?]"):
        mine(tmp_path, f"{slip}\n    {RANK}", base)


def test_names_of_ones_own_are_let_be(tmp_path):
    own = "\n    ".join(
        [
            RANK,
            "review_token: int = 5",  # a parameter
            "def tokens_of(self, view): return view.generated_tokens",
            "def _review_token(self): pass",
            "COUNT = 3",
        ]
    )
    assert build(mine(tmp_path, own), {}).review_token == 5


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("rank_changes = 'sometimes'", "rank_changes is 'sometimes': Input should be 'never'"),
        ("reviews_on = 'phase_change'", "reviews_on is 'phase_change': Input should be"),
        ("reviews_on = {'phase_changes'}", "reviews_on is .*phase_changes.*'phase_change'"),
        ("when_displaced = 7", "when_displaced is 7: Input should be less than or equal to 3"),
        ("when_displaced = 0", "when_displaced is 0: Input should be greater than"),
        ("needs_prediction = 'yes'", "needs_prediction is 'yes': Input should be a valid boolean"),
        ("rank = 5", "rank must be a method"),
    ],
)
def test_what_a_class_declares_must_be_possible(tmp_path, body, message):
    with pytest.raises(InputError, match=message):
        mine(tmp_path, body)


def test_declarations_that_are_good(tmp_path):
    good = (
        "rank_changes: ClassVar = 'running'\n    reviews_on = {'phase_change'}\n"
        "    when_displaced: ClassVar[int] = 3\n    offloads = True\n"
    )
    assert build(mine(tmp_path, f"{good}    {RANK}"), {}).offloads


def test_all_slips_at_once(tmp_path):
    with pytest.raises(InputError) as told:
        mine(tmp_path, "rank_changes = 'sometimes'\n    def review_token(self): pass")
    assert "did you mean review_tokens" in str(told.value)
    assert "rank_changes is 'sometimes'" in str(told.value)


def test_a_file_that_leaves_is_said_to(tmp_path):
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(0)\n")
    with pytest.raises(InputError, match=r"leaves\.py cannot be loaded: SystemExit: 0"):
        find(SCHEDULERS, Scheduler, f"{tmp_path}/leaves.py:Mine")


def test_a_class_that_cannot_be_made_is_named(tmp_path):
    cls = mine(tmp_path, f"{RANK}\n    def __post_init__(self): raise KeyError('oops')")
    with pytest.raises(InputError, match=r"mine\.py:Mine cannot be made: KeyError: 'oops'"):
        build(cls, {})


def test_policies_are_called_what_users_call_them(tmp_path, monkeypatch):
    assert kind_of(Sjf()) == kind_of(Sjf) == "sjf"
    cls = mine(tmp_path, RANK)
    assert kind_of(cls).endswith(f"{os.sep}mine.py:Mine")
    monkeypatch.chdir(tmp_path)
    assert kind_of(mine(tmp_path, RANK)) == "mine.py:Mine"

    class Nameless(Scheduler):
        pass

    assert kind_of(Nameless) == "Nameless"
