"""The engine reproduces what vLLM's real scheduler decided, step by step, in both steppings."""

import json
import subprocess
import sys
from functools import lru_cache

import numpy as np
import pytest

from simulator import testing

from . import recordings

STEPPINGS = ("span", "iteration")


@lru_cache(maxsize=2)
def replayed(name, stepping):
    return testing.replay(recordings.load(name), stepping=stepping)


@pytest.mark.parametrize("stepping", STEPPINGS)
@recordings.parametrize_all()
def test_every_step_is_decided_as_vllm_did(name, stepping):
    expected = recordings.load(name)["expected"]
    result = replayed(name, stepping)
    ids = result.ids
    lines = []
    for step in result.steps:
        scheduled = {ids[i]: n for i, n in step.scheduled}
        lines.append(
            recordings.step_line(
                scheduled,
                [ids[i] for i in step.preempted],
                [ids[i] for i in step.finished],
                step.free_blocks,
                step.num_running,
                step.num_waiting,
            )
        )
    for number, (step, want) in enumerate(zip(result.steps, expected.get("steps", []))):  # noqa: B905
        assert lines[number] == recordings.step_line(
            want["scheduled"],
            want["preempted"],
            want["finished"],
            want["free_blocks"],
            want["num_running"],
            want["num_waiting"],
        ), f"step {number}"
        assert [ids[i] for i in step.admitted] == list(want["admitted"]), f"step {number}"
        np.testing.assert_allclose(
            [step.t_s, step.dt_s], [want["t_s"], want["dt_s"]], rtol=1e-9, atol=1e-12
        )
    assert len(result.steps) == expected["num_steps"]
    assert recordings.steps_sha256(lines) == expected["steps_sha256"]


@pytest.mark.parametrize("stepping", STEPPINGS)
@recordings.parametrize_all()
def test_every_request_is_timed_as_vllm_did(name, stepping):
    expected = recordings.load(name)["expected"]
    got = replayed(name, stepping).to_dict()
    assert got["num_preemptions"] == expected["num_preemptions"]
    assert got["makespan_s"] == pytest.approx(expected["makespan_s"], rel=1e-9)
    assert [row["id"] for row in got["per_request"]] == [r["id"] for r in expected["per_request"]]
    fields = ("first_scheduled_s", "first_token_s", "finish_s", "num_preemptions")
    for field in (*fields, "num_cached_tokens"):
        np.testing.assert_allclose(
            [row[field] for row in got["per_request"]],
            [row[field] for row in expected["per_request"]],
            rtol=1e-9,
            err_msg=field,
        )


@recordings.needs_recordings
def test_all_recordings_are_found():
    assert len(recordings.all_names()) == 63


@recordings.needs_recordings
def test_replay_command():
    command = [sys.executable, "-m", "simulator.testing", "replay"]
    path = str(recordings.path_of("s04_preempt"))
    run = subprocess.run([*command, path], capture_output=True, text=True, check=True)
    got = json.loads(run.stdout)
    assert got["num_preemptions"] == 27
    assert got["num_steps"] == 1114
    assert set(got["per_request"][0]) == {
        "id",
        "first_scheduled_s",
        "first_token_s",
        "finish_s",
        "num_preemptions",
        "num_cached_tokens",
    }


def test_replay_command_on_a_missing_file(tmp_path):
    command = [sys.executable, "-m", "simulator.testing", "replay", str(tmp_path / "no.json.gz")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "no.json.gz" in run.stderr
    assert "Traceback" not in run.stderr
