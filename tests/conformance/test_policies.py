"""Every policy that is registered conforms; and a policy that does not is found out."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulator.conformance import (
    ConformanceError,
    check_router,
    check_scheduler,
    checks,
    router_verdicts,
    scheduler_cases,
    scheduler_verdicts,
    schedulers,
)
from simulator.engine.request import REQUEST
from simulator.policy import build, parameters_of
from simulator.routers import ROUTERS
from simulator.schedulers import SCHEDULERS
from tests.conformance import broken_routers, broken_schedulers

ROOT = Path(__file__).parents[2]
CASES = {case.name: case for case in scheduler_cases()}
THREE = [CASES[name] for name in ("few seats", "little KV", "shared prompts")]


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


@pytest.mark.parametrize("delay_s", [0.0, 1.375])
@pytest.mark.parametrize("kind", ROUTERS)
def test_every_router_conforms(kind, delay_s):
    check_router(lambda: build(ROUTERS[kind], {"snapshot_delay_s": delay_s}))


def failed(verdicts):
    return {verdict.name for verdict in verdicts if verdict.status == "failed"}


def test_what_the_broken_ones_have_in_common_conforms():
    check_scheduler(broken_schedulers.ByPrompt)
    check_router(broken_routers.Plain)


@pytest.mark.parametrize(
    ("name", "lacks"),
    [
        ("Thrashes", checks.SERVES_ALL),
        ("Raises", checks.SERVES_ALL),
        ("ChangesFacts", checks.SERVES_ALL),
        ("CutsShort", checks.CONSERVES),
        ("CooksTheBooks", checks.CONSERVES),
        ("ReservesAll", schedulers.WORK),
        ("Remembers", checks.SAME_BYTES),
        ("TellsTheTime", checks.SAME_LATER),
        ("SeesStaleColumns", checks.SAME_STEPPING),
        ("Asks", checks.BLIND),
        ("Peeks", checks.BLIND),
        ("PeeksAtThinking", checks.BLIND),
        ("Expects", checks.BLIND),
    ],
)
def test_a_broken_scheduler_is_found_out(name, lacks):
    """By the property that is meant for it, and by no other one."""
    assert failed(scheduler_verdicts(getattr(broken_schedulers, name), THREE)) == {lacks}


@pytest.mark.parametrize(
    ("name", "lacks"),
    [
        ("Overshoots", checks.SERVES_ALL),
        ("Truncates", checks.CONSERVES),
        ("TellsTheTime", checks.SAME_LATER),
        ("SeesStaleColumns", checks.SAME_STEPPING),
        ("Peeks", checks.BLIND),
        ("PeeksAtAll", checks.BLIND),
        ("Expects", checks.BLIND),
    ],
)
def test_a_broken_router_is_found_out(name, lacks):
    assert failed(router_verdicts(getattr(broken_routers, name))) == {lacks}


@pytest.mark.parametrize(
    ("check", "policy"),
    [
        (check_scheduler, broken_schedulers.Dices),
        (check_scheduler, broken_schedulers.RemembersInTheClass),
        (check_router, broken_routers.Dices),
        (check_router, broken_routers.Remembers),
    ],
)
def test_a_policy_that_is_never_the_same_is_found_out(check, policy):
    with pytest.raises(ConformanceError) as raised:
        check(policy)
    reasons = {verdict.name: verdict.reason for verdict in raised.value.verdicts}
    assert "a second run is not the first one again" in reasons[checks.SAME_BYTES]


def test_why_is_said():
    with pytest.raises(ConformanceError, match="Asks does not conform") as raised:
        check_scheduler(broken_schedulers.Asks)
    assert "cannot know 'output_tokens'" in str(raised.value)
    with pytest.raises(AssertionError, match="started again, it remembers the run before"):
        check_scheduler(broken_schedulers.Remembers)
    with pytest.raises(AssertionError, match=r"requests are not served by t = \d+ s"):
        check_scheduler(broken_schedulers.Thrashes, [CASES["little KV"]])
    with pytest.raises(AssertionError, match="Overshoots chose replica 4 of 4"):
        check_router(broken_routers.Overshoots)


def test_what_can_not_be_checked_is_skipped():
    verdicts = scheduler_verdicts(broken_schedulers.Asks, THREE)
    assert {verdict.status for verdict in verdicts} == {"failed", "skipped"}
    assert str(verdicts[1]).endswith("no case was served to its end")


def test_who_does_not_claim_to_conserve_work_need_not():
    class SaysSo(broken_schedulers.ReservesAll):
        work_conserving = False

    verdicts = {verdict.name: verdict for verdict in scheduler_verdicts(SaysSo, THREE)}
    assert verdicts[schedulers.WORK].status == "skipped"
    assert {verdict.status for verdict in verdicts.values()} == {"passed", "skipped"}


FUTURE = ("output_tokens", "thinking_tokens", "target_tokens", "limit_n", "answer_n", "finish_s")


def test_no_view_has_a_column_of_the_future():
    seen = []

    class Looks(broken_schedulers.ByPrompt):
        def rank(self, view, now_s):
            seen.append([name for name in FUTURE if hasattr(view, name)])
            seen.append([name for name in FUTURE if hasattr(view.take([0]), name)])
            return view.prompt_tokens

    assert set(FUTURE) <= set(REQUEST.names)
    assert CASES["ample"].serve(Looks()).served
    assert seen
    assert not any(seen)


DIGEST = """
import hashlib
from simulator.conformance import router_cases, scheduler_cases
from simulator.routers import ROUTERS
from simulator.schedulers import SCHEDULERS

for registry, cases in ((SCHEDULERS, scheduler_cases()[1::3]), (ROUTERS, router_cases())):
    for kind in registry:
        digest = hashlib.sha256()
        for case in cases:
            digest.update(case.serve(registry[kind]()).requests.tobytes())
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
    assert len(ours) == len(SCHEDULERS) + len(ROUTERS)
    assert ours == theirs
