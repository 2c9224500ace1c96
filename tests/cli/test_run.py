"""`ponder run` from the YAML to the result directory."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from simulator.cli.run import _clock, _progress
from simulator.config.loader import load_experiment
from simulator.errors import InputError, Problem

from .support import Outcome

Ponder = Callable[..., Outcome]


def _files(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_a_run_prints_its_table_and_says_where_the_result_is(workdir: Path, ponder: Ponder) -> None:
    outcome = ponder("run", "good.yaml")
    assert outcome.code == 0, outcome.err
    for word in ("ttft", "ttfo", "tpot", "e2el", "p99"):
        assert word in outcome.out.lower()
    assert outcome.out.rstrip().endswith("result: results/small-seed0")
    result = workdir / "results" / "small-seed0"
    assert {"experiment.yaml", "summary.json", "requests.parquet"} <= _files(result)
    assert json.loads((result / "summary.json").read_text())["completed"] == 40
    # Not a terminal: nothing but results and, at most, notes.
    assert "\x1b" not in outcome.out + outcome.err


def test_seed_overrides_and_out_are_in_the_result(workdir: Path, ponder: Ponder) -> None:
    change = "workload.num_requests=7"
    outcome = ponder("run", "good.yaml", "--seed", "3", "--set", change, "--out", "here/it/is")
    assert outcome.code == 0, outcome.err
    result = workdir / "here" / "it" / "is"
    assert json.loads((result / "summary.json").read_text())["completed"] == 7
    saved = yaml.safe_load((result / "experiment.yaml").read_text())
    assert (saved["seed"], saved["workload"]["num_requests"]) == (3, 7)
    assert not (workdir / "results").exists()


def test_the_saved_experiment_runs_again_to_the_same_numbers(workdir: Path, ponder: Ponder) -> None:
    assert ponder("run", "good.yaml", "--out", "first").code == 0
    assert ponder("run", "first/experiment.yaml", "--out", "second").code == 0
    assert load_experiment("first/experiment.yaml") == load_experiment("good.yaml")
    for name in ("experiment.yaml", "summary.json", "requests.parquet", "timeline.parquet"):
        assert (workdir / "first" / name).read_bytes() == (workdir / "second" / name).read_bytes()


def test_a_second_run_replaces_the_result(workdir: Path, ponder: Ponder) -> None:
    assert ponder("run", "good.yaml").code == 0
    assert ponder("run", "good.yaml", "--set", "workload.num_requests=5").code == 0
    summary = workdir / "results" / "small-seed0" / "summary.json"
    assert json.loads(summary.read_text())["completed"] == 5
    assert _files(workdir / "results") == {"small-seed0"}


def test_an_interrupted_run_leaves_nothing(
    workdir: Path, ponder: Ponder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("simulator.runner.simulate", interrupt)
    outcome = ponder("run", "good.yaml")
    assert outcome.code == 130
    assert "Traceback" not in outcome.err
    assert not (workdir / "results").exists()


def test_problems_found_while_running_name_the_line(
    workdir: Path, ponder: Ponder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise InputError(Problem("too many", field="workload.num_requests"))

    monkeypatch.setattr("simulator.runner.simulate", refuse)
    outcome = ponder("run", "good.yaml")
    assert outcome.code == 2
    assert outcome.errors == ["error: good.yaml:20: workload.num_requests: too many"]
    assert not (workdir / "results").exists()


def test_progress_shows_clock_requests_and_eta(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes the captured stderr for a terminal
    monkeypatch.setenv("COLUMNS", "100")
    with _progress(shown=True) as update:
        assert update is not None
        update(4000.0, 12, 50)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "66 min" in captured.err
    assert "12/50" in captured.err
    assert "ETA" in captured.err
    with _progress(shown=False) as update:
        assert update is None
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (83.2, "83 s"), (4000, "66 min"), (7500, "2 h 05 min")]
)
def test_clock(seconds: float, text: str) -> None:
    assert _clock(seconds) == text
