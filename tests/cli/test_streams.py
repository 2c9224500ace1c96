"""Full disks, closed streams and Ctrl-C: one line at most, the right code, never a traceback."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .support import Outcome

Ponder = Callable[..., Outcome]

ENTRY = [sys.executable, "-c", "from simulator.cli.main import entry; entry()"]


def _refuse(code: int) -> Callable[..., None]:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code), "results/.small-seed0.partial")

    return refuse


@pytest.mark.parametrize(("reason", "code"), [(errno.ENOSPC, 1), (errno.ENAMETOOLONG, 2)])
def test_what_the_disk_objects_to(
    workdir: Path, ponder: Ponder, monkeypatch: pytest.MonkeyPatch, reason: int, code: int
) -> None:
    monkeypatch.setattr("simulator.runner.simulate", _refuse(reason))
    outcome = ponder("run", "good.yaml")
    assert outcome.code == code
    assert outcome.err == f"error: results/.small-seed0.partial: {os.strerror(reason)}\n"


@pytest.mark.parametrize(
    ("out", "words"),
    [
        (300 * "x", "the name is too long"),
        (245 * "x", "the name is too long"),  # there is room for it, but not while it is written
        (f"{300 * 'x'}/y", "cannot be used: File name too long"),
        ("/proc/x/y", "/proc/x/y: cannot be made in /proc"),
        ("good.yaml/x", "good.yaml/x: cannot be made in"),
    ],
)
def test_an_impossible_result_directory_is_said_before_the_run(
    workdir: Path, ponder: Ponder, monkeypatch: pytest.MonkeyPatch, out: str, words: str
) -> None:
    monkeypatch.setattr("simulator.runner.simulate", _refuse(errno.EIO))
    outcome = ponder("run", "good.yaml", "--out", out)
    assert outcome.code == 2
    [line] = outcome.errors
    assert words in line
    assert [path.name for path in workdir.iterdir()] == ["good.yaml"]


@pytest.mark.parametrize("command", [["models"], ["schema"], ["--help"]])
@pytest.mark.parametrize("start", [ENTRY, [sys.executable, "-m", "simulator.cli.main"]])
def test_full_and_closed_streams(start: list[str], command: list[str]) -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [*start, *command], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (ended.returncode, ended.stderr) == (1, "error: No space left on device\n")
    for closed in (">&-", "<&- >&-", ">&- 2>&-"):
        ended = subprocess.run(
            ["sh", "-c", f'exec "$@" {closed}', "sh", *start, *command],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (0, "")


def test_a_run_without_streams_writes_its_result(workdir: Path) -> None:
    ended = subprocess.run(
        ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *ENTRY, "run", "good.yaml"], check=False
    )
    assert ended.returncode == 0
    assert (workdir / "results" / "small-seed0" / "summary.json").exists()


@pytest.mark.parametrize("wait_s", [0.1, 0.3, 0.6, 1.2, 3.0])
def test_ctrl_c_ends_the_process_whenever_it_comes(workdir: Path, wait_s: float) -> None:
    code = "from simulator.cli.main import entry; print('ready', flush=True); entry()"
    long = ["--set", "workload.num_requests=1000000", "--set", "pools.reasoning.replicas=64"]
    with subprocess.Popen(
        [sys.executable, "-c", code, "run", "good.yaml", *long],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(wait_s)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err.strip()) in ((-signal.SIGINT, ""), (130, "interrupted"))
    assert not (workdir / "results").exists()


def test_ctrl_c_is_not_left_to_modules_that_swallow_it() -> None:
    code = (
        "import signal, os\n"
        "from simulator.cli import main\n"
        "main._exit_code = lambda _: print(signal.getsignal(signal.SIGINT).name) or 0\n"
        "main.entry()\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "SIG_DFL\n"


def test_the_engine_needs_numbas_compiler(
    workdir: Path, ponder: Ponder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    outcome = ponder("run", "good.yaml")
    assert outcome.code == 2
    assert outcome.err == ("error: NUMBA_DISABLE_JIT is set: the engine needs Numba's compiler\n")


def test_quiet_leaves_the_notes_out(workdir: Path, ponder: Ponder) -> None:
    loud, quiet = ponder("run", "good.yaml"), ponder("run", "good.yaml", "--quiet")
    assert "\nnote " in loud.out
    assert "\nnote " not in quiet.out
