from collections.abc import Callable
from pathlib import Path

import pytest

from simulator.cli.main import main

from .support import GOOD, Outcome


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with a good experiment, good.yaml."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.yaml").write_text(GOOD)
    return tmp_path


@pytest.fixture
def ponder(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run `ponder ARGS` in this process."""

    def call(*args: str) -> Outcome:
        with pytest.raises(SystemExit) as exit_:
            main(list(args))
        captured = capsys.readouterr()
        assert isinstance(exit_.value.code, int)
        return Outcome(exit_.value.code, captured.out, captured.err)

    return call
