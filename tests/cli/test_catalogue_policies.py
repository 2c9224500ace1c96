"""`ponder schedulers`, `routers`, `predictors`, `admissions`: what exists, and how it is set."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import pytest

from simulator.admission import ADMISSIONS
from simulator.cli.policies import show_policies
from simulator.policy import Policy
from simulator.predictors import PREDICTORS
from simulator.registry import Registry
from simulator.routers import ROUTERS
from simulator.schedulers import SCHEDULERS

from .support import Outcome

Ponder = Callable[..., Outcome]

LISTS = {
    "schedulers": SCHEDULERS,
    "routers": ROUTERS,
    "predictors": PREDICTORS,
    "admissions": ADMISSIONS,
}


@pytest.mark.parametrize("name", list(LISTS))
def test_everything_registered_is_listed(ponder: Ponder, name: str) -> None:
    table, data = ponder(name), ponder(name, "--json")
    assert table.code == data.code == 0
    listed = json.loads(data.out)
    assert [each["name"] for each in listed] == list(LISTS[name])
    for each in listed:
        assert each["name"] in table.out
        assert each["summary"].endswith((".", ":")), each
        assert each["description"].startswith(each["summary"])
        for parameter in each["parameters"]:
            assert f"{parameter['name']} =" in table.out
            assert parameter["description"].endswith("."), each["name"]


def test_parameters_defaults_and_source(ponder: Ponder) -> None:
    (noisy,) = (
        each for each in json.loads(ponder("predictors", "--json").out) if each["name"] == "noisy"
    )
    assert "arXiv:2404.08509" in noisy["source"]
    (sigma,) = noisy["parameters"]
    assert (sigma["name"], sigma["default"]) == ("sigma", 0.5)
    assert sigma["description"].startswith("Standard deviation of the logarithm")
    table = " ".join(ponder("predictors").out.split())
    assert "sigma = 0.5:" in table
    assert "burst = null:" in " ".join(ponder("admissions").out.split())


THINGS: Registry[type[Policy]] = Registry("thing")


@THINGS.register("marked_up")
@dataclass(eq=False)
class MarkedUp(Policy):
    """Text [bold]in brackets[/bold] is text.

    More of it.
    """

    source: ClassVar[str] = "Somebody [1]"

    mode: str = "a[b]"
    """One of [red] and [/]."""


@THINGS.register("bare")
@dataclass(eq=False)
class Bare(Policy):
    """Nothing to set."""


def test_brackets_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    show_policies(THINGS, as_json=False)
    printed = " ".join(capsys.readouterr().out.split())
    for text in ("Text [bold]in brackets[/bold] is text.", '"a[b]"', "[red] and [/].", "[1]"):
        assert text in printed
    assert "More of it" not in printed
    show_policies(THINGS, as_json=True)
    bare, marked = json.loads(capsys.readouterr().out)
    assert bare["source"] is None
    assert bare["parameters"] == []
    assert marked["description"].endswith("\n\nMore of it.")


@pytest.mark.parametrize("name", list(LISTS))
def test_a_list_needs_no_engine(name: str) -> None:
    """Compiled kernels would make it wait."""
    code = (
        "import sys\n"
        "from simulator.cli.main import main\n"
        f"try:\n    main([{name!r}, '--json'])\n"
        "except SystemExit:\n"
        "    print('LOADED', [m for m in ('numba', 'pandas', 'scipy') if m in sys.modules])\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "LOADED []"
