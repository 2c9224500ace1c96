"""`ponder trace describe`: tables, JSON and plots of a trace, and refusals."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from .support import Outcome

Ponder = Callable[..., Outcome]
HEADER = "arrival_s,prompt_tokens,thinking_tokens,answer_tokens,class,client"


@pytest.fixture
def trace(workdir: Path) -> Path:
    """A trace in our format: 800 requests at whole seconds, two classes, three clients."""
    rng = np.random.default_rng(0)
    n = 800
    columns = (
        np.floor(np.cumsum(rng.exponential(0.4, n))),
        np.rint(rng.lognormal(6, 1, n)).astype(int) + 1,
        np.rint(rng.lognormal(7, 1, n)).astype(int) * (rng.random(n) < 0.8),
        np.rint(rng.lognormal(5, 0.7, n)).astype(int) + 1,
        rng.choice(["chat", "code"], n),
        rng.choice(["a", "b", "c"], n, p=[0.7, 0.2, 0.1]),
    )
    lines = [",".join(map(str, row)) for row in zip(*columns, strict=True)]
    path = workdir / "trace.csv"
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return path


def test_tables_say_what_is_in_the_trace(ponder: Ponder, trace: Path) -> None:
    outcome = ponder("trace", "describe", "trace.csv")
    assert outcome.code == 0
    assert outcome.err == ""
    for words in (
        "trace.csv",
        "thinking",
        "output",
        "Hill",
        "GPD",
        "CV of gaps",
        "dispersion, 10 s",
        "prompt / thinking",
        "Spearman",
        "Clients",
        "Gini",
        "Rate over time",
        "Laws of thinking tokens",
        "log-normal mixture of 3",
        "a clock that ticks every 1 s",
        "of thinking lengths are 0",
    ):
        assert words in outcome.out
    assert all(len(line) <= 120 for line in outcome.out.splitlines())


def test_json_has_the_same_numbers(ponder: Ponder, trace: Path) -> None:
    outcome = ponder("trace", "describe", "trace.csv", "--json")
    assert outcome.code == 0
    found = json.loads(outcome.out)
    rows = [line.split(",") for line in trace.read_text().splitlines()[1:]]
    assert found["requests"] == len(rows)
    prompt = np.array([int(row[1]) for row in rows])
    assert found["lengths"]["prompt"]["mean"] == pytest.approx(prompt.mean())
    assert found["lengths"]["prompt"]["max"] == prompt.max()
    times = np.array([float(row[0]) for row in rows])
    assert found["arrivals"]["gap_cv"] == pytest.approx(
        np.diff(times).std() / np.diff(times).mean()
    )
    assert found["arrivals"]["tie_share"] == pytest.approx((np.diff(times) == 0).mean())
    busiest = [row[5] for row in rows].count("a") / len(rows)
    assert found["clients"]["busiest"]["a"] == pytest.approx(busiest)
    assert ponder("trace", "describe", "trace.csv", "--json").out == outcome.out


def test_plots_are_written(ponder: Ponder, trace: Path) -> None:
    outcome = ponder("trace", "describe", "trace.csv", "--plots", "shown/here")
    assert outcome.code == 0
    assert "plots in" in outcome.err
    written = sorted(Path("shown/here").iterdir())
    assert [path.name for path in written] == ["gaps.png", "lengths.png", "rate.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)


def test_a_plot_for_every_trace(ponder: Ponder, workdir: Path) -> None:
    (workdir / "one.csv").write_text("arrival_s,prompt_tokens,answer_tokens\n0,5,5\n")
    outcome = ponder("trace", "describe", "one.csv", "--plots", "plots")
    assert outcome.code == 0
    assert len(list(Path("plots").iterdir())) == 3


def test_plots_need_a_folder(ponder: Ponder, trace: Path) -> None:
    outcome = ponder("trace", "describe", "trace.csv", "--plots", "trace.csv/plots")
    assert outcome.code == 2
    assert "can't be written" in outcome.err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"nonsense\n", "not a known trace"),
        (b"arrival_s,prompt_tokens,answer_tokens\n0,x,5\n", "prompt_tokens"),
        (b"arrival_s,prompt_tokens,answer_tokens\n", ""),
    ],
)
@pytest.mark.parametrize("verb", ["describe", "fit"])
def test_bad_traces_are_refused(
    ponder: Ponder, workdir: Path, content: bytes, message: str, verb: str
) -> None:
    (workdir / "bad.csv").write_bytes(content)
    outcome = ponder("trace", verb, "bad.csv")
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.errors[0].startswith("error: bad.csv")
    assert message in outcome.err


@pytest.mark.parametrize("verb", ["describe", "fit"])
def test_no_such_file_and_no_such_format(ponder: Ponder, trace: Path, verb: str) -> None:
    assert "no such file" in ponder("trace", verb, "absent.csv").err
    outcome = ponder("trace", verb, "trace.csv", "--format", "psychic")
    assert outcome.code == 2
    assert "psychic" in outcome.err
