"""`python -m simulator.conformance`: verdicts on a policy of one's own, and bad input."""

import pytest

from simulator.conformance import router_verdicts, scheduler_verdicts
from simulator.conformance.__main__ import main
from simulator.routers.round_robin import RoundRobin
from simulator.schedulers.fcfs import Fcfs

MINE = '''
from dataclasses import dataclass

from simulator.routers import Router
from simulator.schedulers import Scheduler


@dataclass(eq=False)
class LongPromptsLast(Scheduler):
    """The shortest prompt first."""

    weight: int = 1
    """Of a token."""

    def rank(self, view, now_s):
        return self.weight * view.prompt_tokens


@dataclass(eq=False)
class Cheat(LongPromptsLast):
    """Knows too much."""

    def rank(self, view, now_s):
        return view.thinking_tokens


@dataclass(eq=False, kw_only=True)
class Emptiest(Router):
    """Where the least KV is in use."""

    def choose(self, request, replicas):
        return int(replicas.kv_used_frac.argmin())
'''


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    path = tmp_path_factory.mktemp("mine") / "mine.py"
    path.write_text(MINE)
    return path


def test_the_suite_runs_on_a_scheduler_of_ones_own(mine, capsys):
    assert main(["scheduler", f"{mine}:LongPromptsLast", "--set", "weight=3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1) for line in lines] == [
        ["passed", verdict.name] for verdict in scheduler_verdicts(Fcfs)
    ]


def test_the_suite_runs_on_a_router_of_ones_own(mine, capsys):
    assert main(["router", f"{mine}:Emptiest", "--set", "snapshot_delay_s=1.5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1) for line in lines] == [
        ["passed", verdict.name] for verdict in router_verdicts(RoundRobin)
    ]


def test_the_suite_says_what_is_wrong(mine, capsys):
    assert main(["scheduler", f"{mine}:Cheat"]) == 1
    lines = capsys.readouterr().out.splitlines()
    complaint = "failed  blind to the future: ample: a scheduler cannot know 'thinking_tokens'"
    assert [line for line in lines if line.startswith(complaint)] == lines[-1:]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["scheduler", "shortest"], "unknown scheduler 'shortest'; known: "),
        (["router", "fcfs"], "unknown router 'fcfs'; known: "),
        (["scheduler", "./absent.py:Mine"], "no such file: absent.py"),
        (["scheduler", "fcfs", "--set", "speed"], "--set speed: not NAME=VALUE"),
        (["scheduler", "fcfs", "--set", "speed=3"], "speed: no such parameter; known: none"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, complaint, capsys):
    assert main(arguments) == 2
    assert complaint in capsys.readouterr().err


def test_bad_parameters_are_all_named(mine, capsys):
    assert main(["scheduler", f"{mine}:Cheat", "--set", "weight=much", "--set", "color=1"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("error: weight: ")
    assert second == "error: color: no such parameter; known: weight"
