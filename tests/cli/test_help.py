import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from simulator.cli.main import COMMANDS, cli

from .support import Outcome

Ponder = Callable[..., Outcome]

HEAVY = ["numpy", "pandas", "pydantic", "yaml", "rich", "scipy", "numba", "matplotlib", "pyarrow"]


def test_help_lists_every_command(ponder: Ponder) -> None:
    outcome = ponder("--help")
    assert outcome.code == 0
    for name, (_, text) in COMMANDS.items():
        assert f"  {name} " in outcome.out
        assert text.split(".")[0][:40] in outcome.out


def test_help_imports_nothing_heavy() -> None:
    """What keeps `ponder --help` under half a second."""
    code = (
        "import sys\n"
        "from simulator.cli.main import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit:\n"
        f"    print('LOADED', [m for m in {HEAVY!r} if m in sys.modules])\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "LOADED []"


@pytest.mark.parametrize("name", list(COMMANDS))
def test_each_command_loads_and_explains_itself(ponder: Ponder, name: str) -> None:
    outcome = ponder(name, "--help")
    assert outcome.code == 0
    assert outcome.out.startswith(f"Usage: ponder {name}")
    assert cli.commands == {}  # nothing is registered but by name


def test_version(ponder: Ponder) -> None:
    outcome = ponder("--version")
    assert outcome.code == 0
    assert outcome.out == f"ponder {version('ponder')}\n"


def test_schema_to_stdout_and_file(ponder: Ponder, workdir: Path) -> None:
    printed = ponder("schema")
    assert printed.code == 0
    assert ponder("schema", "--out", "s.json").code == 0
    assert json.loads((workdir / "s.json").read_text()) == json.loads(printed.out)
    assert "pools" in json.loads(printed.out)["properties"]


def test_schema_into_a_directory_that_is_not_there(ponder: Ponder, workdir: Path) -> None:
    outcome = ponder("schema", "--out", "no/s.json")
    assert outcome.code == 1
    assert "Traceback" not in outcome.err
    assert "no/s.json" in outcome.err


@pytest.mark.parametrize("name", ["models", "gpus"])
def test_catalogues(ponder: Ponder, name: str) -> None:
    table = ponder(name)
    assert table.code == 0
    data = json.loads(ponder(name, "--json").out)
    assert data
    for entry in data:
        assert entry["name"] in table.out


def test_interrupted(ponder: Ponder, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "main", interrupt)
    outcome = ponder("models")
    assert outcome.code == 130
    assert outcome.err == "interrupted\n"


def test_a_reader_that_goes_away_is_no_crash() -> None:
    command = [sys.executable, "-m", "simulator.cli.main", "schema"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()  # long before anything is printed
        assert process.stderr.read() == b""
    assert process.returncode == 1
