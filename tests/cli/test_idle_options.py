"""Options that would change nothing: mistakes are errors, what is merely redundant is a note."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from .support import GOOD, Outcome

Ponder = Callable[..., Outcome]

MIX = """\
name: mix
pools: {reasoning: {model: llama-3.1-8b, gpu: h100-sxm}}
workload:
  kind: mix
  num_requests: 20
  classes:
    urgent: {preset: chat, arrivals: {kind: poisson, rate_rps: 2.0}}
    other: {preset: chat, arrivals: {kind: poisson, rate_rps: 2.0}}
"""
SCHEDULER = "pools.reasoning.engine.scheduler"


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        (
            f"{SCHEDULER}={{kind: round_robin_chunked, kv: offload}}",
            "pools.reasoning.engine.host_kv_gib: round_robin_chunked offloads KV to host memory:"
            " give it some",
        ),
        (
            f"{SCHEDULER}={{kind: phase_aware, back_s: 9.0, ahead_s: 8.0}}",
            f"{SCHEDULER}.back_s: 9.0 must be below ahead_s, 8.0",
        ),
        (
            f"{SCHEDULER}=edf",
            f"{SCHEDULER}: edf goes by deadlines, and no request has one: give slo.e2el_s",
        ),
        (
            f"{SCHEDULER}=priority",
            f"{SCHEDULER}: priority goes by the priority of classes, and all requests have",
        ),
        (
            "admission=queue_cap",
            "admission: queue_cap has no limit: give max_num_queued_reqs or max_num_queued_tokens"
            " or max_waiting_per_replica",
        ),
    ],
)
def test_a_policy_that_could_do_nothing(
    workdir: Path, ponder: Ponder, option: str, expected: str
) -> None:
    outcome = ponder("run", "good.yaml", "--set", option)
    assert outcome.code == 2
    [line] = outcome.errors
    assert expected in line
    assert "good.yaml:" in line or f"--set {option}" in line


def test_all_of_them_at_once_where_they_stand(workdir: Path, ponder: Ponder) -> None:
    engine = "      max_model_len: 16384\n"
    idle = GOOD.replace(engine, f"{engine}      scheduler: llf\n      preemption: swap\n")
    (workdir / "bad.yaml").write_text(f"{idle}admission: {{kind: queue_cap}}\n")
    outcome = ponder("run", "bad.yaml")
    assert outcome.code == 2
    beginnings = [line.split(": ")[1:3] for line in outcome.errors]
    assert beginnings == [
        ["bad.yaml:9", "pools.reasoning.engine.host_kv_gib"],
        ["bad.yaml:14", SCHEDULER],  # no predictor
        ["bad.yaml:14", SCHEDULER],  # no deadline
        ["bad.yaml:24", "admission"],
    ]


def notes(ponder: Ponder, name: str, *options: str) -> list[str]:
    sets = [word for option in options for word in ("--set", option)]
    outcome = ponder("run", name, "--out", "there", *sets)
    assert outcome.code == 0, outcome.err
    return list(json.loads(Path("there/summary.json").read_text())["notes"])


def test_deadlines_and_priorities_of_some_are_enough(workdir: Path, ponder: Ponder) -> None:
    (workdir / "mix.yaml").write_text(MIX)
    urgent = "workload.classes.urgent"
    for scheduler, given in (
        ("edf", f"{urgent}.slo={{e2el_s: 9.0}}"),
        ("edf", "slo={e2el_s: 9.0}"),
        ("priority", f"{urgent}.priority=-1"),
    ):
        option = f"{SCHEDULER}={scheduler}"
        assert ponder("run", "mix.yaml", "--set", option).code == 2
        notes(ponder, "mix.yaml", option, given)
    both = (f"{urgent}.priority=3", "workload.classes.other.priority=3")
    sets = [word for each in (f"{SCHEDULER}=priority", *both) for word in ("--set", each)]
    assert ponder("run", "mix.yaml", *sets).code == 2


def test_what_is_merely_redundant_is_noted(workdir: Path, ponder: Ponder) -> None:
    engine = "pools.reasoning.engine"
    memory, chunks = f"{engine}.host_kv_gib=16.0", f"{engine}.checkpoint_tokens=64"

    def idle(*options: str) -> list[str]:
        return [note for note in notes(ponder, "good.yaml", *options) if "not used" in note]

    assert idle() == []
    [about_memory, about_chunks] = idle(memory, chunks)
    assert about_memory.startswith("host_kv_gib is not used: preemption is recompute")
    assert about_chunks == "checkpoint_tokens is not used: preemption is recompute"
    assert idle(memory, chunks, f"{engine}.preemption=checkpoint") == []
    assert idle(memory, f"{engine}.preemption=swap") == []
    assert idle(memory, f"{SCHEDULER}={{kind: round_robin_chunked, kv: offload}}") == []
    assert len(idle(memory, f"{SCHEDULER}=round_robin_chunked")) == 1
    # A resolved experiment, with every default written out, has the same notes.
    Path("again.yaml").write_text(Path("there/experiment.yaml").read_text())
    again = notes(ponder, "again.yaml")
    assert any("host_kv_gib is not used" in note for note in again)
    assert not any("checkpoint_tokens" in note for note in again)
