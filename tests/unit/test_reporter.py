"""The reporting process writes and says what this one would, and its death costs nothing."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
import yaml

from simulator.config.loader import load_experiment
from simulator.errors import InputError
from simulator.exports.directory import RESULT_FILES
from simulator.report.reporter import Reporter, report
from simulator.runner import simulate
from simulator.simulation import Simulation
from tests.cli.support import GOOD

WIDTH = 100


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulate(load_experiment(yaml.safe_load(GOOD)))


@pytest.fixture(scope="module")
def here(simulation, tmp_path_factory) -> tuple[Path, str]:
    """The result and the table as made without a second process."""
    directory = tmp_path_factory.mktemp("here") / "result"
    return directory, report(simulation, directory, WIDTH, False)


def contents(directory: Path) -> dict[str, bytes]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def ended(process: subprocess.Popen) -> bool:
    return process.poll() is not None


def test_the_other_process_writes_the_same_files_and_table(simulation, here, tmp_path):
    directory, table = here
    assert {path.name for path in directory.iterdir()} == RESULT_FILES
    with Reporter() as reporter:
        said = reporter.report(simulation, tmp_path / "there", WIDTH, False)
    assert said == table
    assert "ttft" in table
    assert max(map(len, table.splitlines())) <= WIDTH
    theirs, ours = contents(tmp_path / "there"), contents(directory)
    assert theirs.keys() == ours.keys()
    assert [name for name in ours if theirs[name] != ours[name]] == []
    assert ended(reporter._process)


def test_the_table_is_as_wide_and_colourful_as_asked(simulation, here, tmp_path):
    with Reporter() as reporter:
        said = reporter.report(simulation, tmp_path / "there", 140, True)
    assert "\x1b[" in said
    assert "\x1b[" not in here[1]
    assert max(map(len, here[1].splitlines())) < max(map(len, said.splitlines()))


def test_a_reporter_that_was_killed_still_reports(simulation, here, tmp_path):
    directory, table = here
    with Reporter() as reporter:
        os.kill(reporter._process.pid, signal.SIGKILL)
        reporter._process.wait()
        assert reporter.report(simulation, tmp_path / "there", WIDTH, False) == table
    assert contents(tmp_path / "there") == contents(directory)


def test_a_reporter_whose_answer_is_cut_off_still_reports(simulation, here, tmp_path, monkeypatch):
    with Reporter() as reporter:
        communicate = reporter._process.communicate
        monkeypatch.setattr(
            reporter._process,
            "communicate",
            lambda *args: (communicate(*args)[0][:-20], None),
        )
        assert reporter.report(simulation, tmp_path / "there", WIDTH, False) == here[1]
    assert (tmp_path / "there" / "summary.json").exists()


def test_input_errors_travel(simulation, tmp_path):
    """With all that belongs to them: the problems, their file and the exit code."""
    occupied = tmp_path / "occupied"
    occupied.mkdir()
    (occupied / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError) as expected:
        report(simulation, occupied, WIDTH, False)
    with Reporter() as reporter, pytest.raises(InputError) as caught:
        reporter.report(simulation, occupied, WIDTH, False)
    assert caught.value.problems == expected.value.problems
    assert str(caught.value) == str(expected.value)
    assert caught.value.exit_code == 2
    assert [path.name for path in occupied.iterdir()] == ["thesis.tex"]


def test_a_reporter_that_is_not_needed_goes_away():
    with Reporter() as reporter:
        process = reporter._process
        assert not ended(process)
    assert ended(process)


def test_a_reporter_whose_input_ends_goes_away():
    """It must not outlive a process that was killed before it could ask for anything."""
    reporter = Reporter()
    answer, _ = reporter._process.communicate()
    assert answer == b""
    assert reporter._process.returncode == 0


def test_the_simulation_it_is_sent_is_light(simulation):
    """Arrays and settings: no process, generator, replica or module would survive the way."""
    import pickle

    copy = pickle.loads(pickle.dumps(simulation, protocol=5))
    assert json.dumps(copy.result().summary) == json.dumps(simulation.result().summary)
