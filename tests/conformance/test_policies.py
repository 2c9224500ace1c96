"""Every policy that is registered conforms; and a policy that does not is found out."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from simulator.conformance import (
    ConformanceError,
    accounts,
    check_scheduler,
    scheduler_cases,
    scheduler_verdicts,
)
from simulator.conformance import schedulers as names
from simulator.conformance.__main__ import main
from simulator.conformance.serving import serve
from simulator.engine.request import REQUEST
from simulator.policy import build, parameters_of
from simulator.schedulers import SCHEDULERS
from simulator.schedulers.fcfs import Fcfs
from tests.conformance import broken_schedulers as broken

ROOT = Path(__file__).parents[2]
CASES = {case.name: case for case in scheduler_cases()}


def hurried(cls):
    """Parameters with which the small cases see quanta end and waits grow too long."""
    found = {}
    for parameter in parameters_of(cls):
        if type(parameter.default) in (int, float):
            if parameter.name.endswith("_tokens"):
                found[parameter.name] = max(parameter.default // 64, 1)
            elif parameter.name.endswith("_s"):
                found[parameter.name] = parameter.default / 10
    return found


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_every_scheduler_conforms(kind):
    check_scheduler(SCHEDULERS[kind])


@pytest.mark.parametrize("kind", [kind for kind in SCHEDULERS if hurried(SCHEDULERS[kind])])
def test_every_scheduler_conforms_in_a_hurry(kind):
    cls = SCHEDULERS[kind]
    check_scheduler(lambda: build(cls, hurried(cls)))


def failed(make):
    return {verdict.name for verdict in scheduler_verdicts(make) if verdict.status == "failed"}


def test_what_the_broken_schedulers_have_in_common_conforms():
    check_scheduler(broken.ByPrompt)


@pytest.mark.parametrize(
    ("scheduler", "lacks"),
    [
        (broken.Thrashes, names.SERVES_ALL),
        (broken.Raises, names.SERVES_ALL),
        (broken.ChangesFacts, names.SERVES_ALL),
        (broken.CutsShort, names.CONSERVES),
        (broken.CooksTheBooks, names.CONSERVES),
        (broken.ReservesAll, names.WORK),
        (broken.Remembers, names.SAME_BYTES),
        (broken.TellsTheTime, names.SAME_LATER),
        (broken.SeesStaleColumns, names.SAME_STEPPING),
        (broken.Asks, names.BLIND),
        (broken.Peeks, names.BLIND),
        (broken.PeeksAtThinking, names.BLIND),
        (broken.Expects, names.BLIND),
    ],
)
def test_a_broken_scheduler_is_found_out(scheduler, lacks):
    """By the property that is meant for it, and by no other one."""
    assert failed(scheduler) == {lacks}


@pytest.mark.parametrize("scheduler", [broken.Dices, broken.RemembersInTheClass])
def test_a_scheduler_that_is_never_the_same_is_found_out(scheduler):
    assert names.SAME_BYTES in failed(scheduler)
    with pytest.raises(ConformanceError, match="a second run is not the first one again"):
        check_scheduler(scheduler)


def test_why_is_said():
    with pytest.raises(ConformanceError, match="Asks does not conform") as raised:
        check_scheduler(broken.Asks)
    assert "cannot know 'output_tokens'" in str(raised.value)
    with pytest.raises(AssertionError, match="started again, it remembers the run before"):
        check_scheduler(broken.Remembers)
    with pytest.raises(AssertionError, match=r"requests are not served by t = \d+ s"):
        check_scheduler(broken.Thrashes, [CASES["little KV"]])


def test_who_does_not_claim_to_conserve_work_need_not():
    class SaysSo(broken.ReservesAll):
        work_conserving = False

    verdicts = {verdict.name: verdict for verdict in scheduler_verdicts(SaysSo)}
    assert verdicts[names.WORK].status == "skipped"
    assert {verdict.status for verdict in verdicts.values()} == {"passed", "skipped"}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_cases_press_where_they_should(case):
    """Shortage of seats or KV, preemptions, and several of whatever policies go by."""
    run = serve(case, Fcfs())
    assert run.served
    assert not [problem for check in ACCOUNTS for problem in check(run)]
    preempted = run.requests["preemptions"].sum()
    assert (preempted >= 5) == (case.name in PREEMPTS)
    if case.name != "ample":
        assert sum(step.num_waiting > 3 for step in run.steps) > 50
    for column in ("class_id", "client_id", "priority"):
        assert len(np.unique(getattr(case.facts, column))) == 3
    assert (case.facts.session_id >= 0).any()
    assert np.isfinite(case.facts.due_s).any()


ACCOUNTS = (accounts.unserved, accounts.lost, accounts.leaked, accounts.overspent)
PREEMPTS = ("little KV", "little KV, async", "swapping", "checkpoints, async", "whole prompts")


@pytest.fixture(scope="module")
def run():
    return serve(CASES["little KV"], Fcfs())


def step_changed(run, **changes):
    steps = list(run.steps)
    place = len(steps) // 2
    steps[place] = dataclasses.replace(steps[place], **changes)
    return dataclasses.replace(run, steps=steps)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"scheduled": tuple((i, 9) for i in range(3))}, "computes 27 tokens, not 24 at most"),
        ({"num_running": 9}, "9 requests run .* for 8 seats"),
        ({"scheduled": ((29, 1), (29, 1))}, "computes a request twice"),
        ({"scheduled": ((29, 0),)}, "or no token of it"),
        ({"t_s": 0.0}, "which is not there"),
        ({"t_s": 1e6}, "which is not there"),
    ],
)
def test_an_overspent_budget_is_found_out(run, changes, complaint):
    with pytest.raises(AssertionError, match=complaint):
        assert not next(accounts.overspent(step_changed(run, **changes)), "")


@pytest.mark.parametrize(("free", "complaint"), [(-1, "-1 of 123 blocks"), (124, "124 of 123")])
def test_blocks_that_do_not_exist_are_found_out(run, free, complaint):
    assert complaint in next(accounts.leaked(step_changed(run, free_blocks=free)))


@pytest.mark.parametrize(
    "counter", ["free_blocks", "parked_blocks", "reserved_blocks", "host_tokens_left"]
)
def test_a_leak_is_found_out(run, counter):
    state = run.state.copy()
    state[counter] += 1
    assert counter in next(accounts.leaked(dataclasses.replace(run, state=state)))


@pytest.mark.parametrize(
    ("column", "complaint"),
    [
        ("generated_tokens", "output tokens of"),
        ("recomputed_tokens", "tokens of request 7 were computed"),
        ("first_token_s", "times in disorder"),
        ("output_tokens", "has been changed"),
    ],
)
def test_a_lost_token_is_found_out(run, column, complaint):
    table = run.requests.copy()
    table[column][7] -= 1
    found = list(accounts.lost(dataclasses.replace(run, requests=table)))
    assert len(found) == 1
    assert complaint in found[0]


def test_a_lost_request_is_found_out(run):
    last = max(place for place, step in enumerate(run.steps) if step.finished)
    without = dataclasses.replace(run, steps=run.steps[:last])
    assert any("finished 0 times" in problem for problem in accounts.lost(without))


FUTURE = ("output_tokens", "thinking_tokens", "target_tokens", "limit_n", "answer_n", "finish_s")


def test_no_view_has_a_column_of_the_future():
    seen = []

    class Looks(broken.ByPrompt):
        def rank(self, view, now_s):
            seen.append([name for name in FUTURE if hasattr(view, name)])
            seen.append([name for name in FUTURE if hasattr(view.take([0]), name)])
            return view.prompt_tokens

    assert set(FUTURE) <= set(REQUEST.names)
    assert serve(CASES["ample"], Looks()).served
    assert seen
    assert not any(seen)


MINE = '''
from dataclasses import dataclass

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


def test_the_suite_says_what_is_wrong(mine, capsys):
    assert main(["scheduler", f"{mine}:Cheat"]) == 1
    lines = capsys.readouterr().out.splitlines()
    complaint = "failed  blind to the future: ample: a scheduler cannot know 'thinking_tokens'"
    assert [line for line in lines if line.startswith(complaint)] == lines[-1:]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["shortest"], "unknown scheduler 'shortest'; known: "),
        (["./absent.py:Mine"], "no such file: absent.py"),
        (["fcfs", "--set", "speed"], "--set speed: not NAME=VALUE"),
        (["fcfs", "--set", "speed=3"], "speed: no such parameter; known: none"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, complaint, capsys):
    assert main(["scheduler", *arguments]) == 2
    assert complaint in capsys.readouterr().err


def test_bad_parameters_are_all_named(mine, capsys):
    assert main(["scheduler", f"{mine}:Cheat", "--set", "weight=much", "--set", "color=1"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("error: weight: ")
    assert second == "error: color: no such parameter; known: weight"


DIGEST = """
import hashlib
from simulator.conformance import scheduler_cases
from simulator.conformance.serving import serve
from simulator.schedulers import SCHEDULERS

for kind in SCHEDULERS:
    digest = hashlib.sha256()
    for case in scheduler_cases()[1::3]:
        digest.update(serve(case, SCHEDULERS[kind]()).requests.tobytes())
    print(kind, digest.hexdigest())
"""


def test_hash_seeds_change_no_byte():
    def digests(hash_seed):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", DIGEST]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    ours, theirs = digests("1"), digests("4242")
    assert len(ours) == len(SCHEDULERS)
    assert ours == theirs
