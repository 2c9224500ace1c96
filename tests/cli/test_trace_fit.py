"""`ponder trace fit`: a trace becomes a workload, which generates a trace like it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from simulator.config.loader import load_experiment

from .support import GOOD, Outcome

Ponder = Callable[..., Outcome]

CLUMPED = """
workload:
  kind: synthetic
  arrivals: {kind: gamma, rate_rps: 5, cv: 3}
  num_requests: 2000
  prompt_tokens: {kind: lognormal, mu: 5, sigma: 1}
  answer_tokens: {kind: lognormal, mu: 5, sigma: 1}
"""


@pytest.fixture
def trace(workdir: Path) -> Path:
    """An Azure trace of 1,500 requests."""
    rng = np.random.default_rng(0)
    seconds = np.cumsum(rng.exponential(1.2, 1_500))
    prompt = np.rint(rng.lognormal(6, 1, 1_500)).astype(int) + 1
    answer = np.rint(rng.lognormal(5, 0.7, 1_500)).astype(int) + 1
    lines = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
    for second, context, generated in zip(seconds, prompt, answer, strict=True):
        minutes, rest = divmod(second, 60)
        lines.append(f"2023-11-16 18:{int(minutes):02d}:{rest:010.7f},{context},{generated}")
    lines.append("2023-11-16 18:00:00.0000000,5,0")
    path = workdir / "azure.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_fit_then_generate_gives_a_trace_like_it(ponder: Ponder, trace: Path) -> None:
    outcome = ponder("trace", "fit", "azure.csv", "-o", "workload.yaml")
    assert outcome.code == 0, outcome.err
    assert outcome.out == ""
    assert "wrote workload.yaml" in outcome.err
    generated = ponder("trace", "generate", "workload.yaml", "-o", "made.jsonl", "--seed", "1")
    assert generated.code == 0, generated.err
    old = json.loads(ponder("trace", "describe", "azure.csv", "--json").out)
    new = json.loads(ponder("trace", "describe", "made.jsonl", "--json").out)
    assert new["requests"] == pytest.approx(old["requests"], rel=0.1)
    assert new["arrivals"]["gap_cv"] == pytest.approx(old["arrivals"]["gap_cv"], rel=0.1)
    for column in ("prompt", "answer"):
        theirs, ours = (each["lengths"][column]["percentiles"] for each in (old, new))
        assert ours["p50"] == pytest.approx(theirs["p50"], rel=0.1)
        assert ours["p90"] == pytest.approx(theirs["p90"], rel=0.15)


def test_the_section_fits_into_an_experiment(ponder: Ponder, trace: Path) -> None:
    printed = ponder("trace", "fit", "azure.csv").out
    document = yaml.safe_load(GOOD) | yaml.safe_load(printed)
    Path("experiment.yaml").write_text(yaml.safe_dump(document))
    loaded = load_experiment("experiment.yaml")
    assert loaded.workload.kind == "synthetic"


def test_printed_and_written_are_the_same(ponder: Ponder, trace: Path) -> None:
    printed = ponder("trace", "fit", "azure.csv").out
    ponder("trace", "fit", "azure.csv", "-o", "workload.yaml")
    assert Path("workload.yaml").read_text() == printed
    for words in (
        "# Fitted by `ponder trace fit` to azure.csv (Azure LLM CSV):",
        "# 1,500 requests in",
        "# Left out of the trace: 1 rows (GeneratedTokens is 0).",
        "thinking: none is recorded",
        "log-normal: KS",
    ):
        assert words in printed


def test_where_it_cannot_be_written(ponder: Ponder, trace: Path) -> None:
    outcome = ponder("trace", "fit", "azure.csv", "-o", "no/such/folder/workload.yaml")
    assert outcome.code == 2
    assert outcome.errors[0].startswith("error: no/such/folder/workload.yaml: can't be written")


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_clumped_traffic_is_fitted_from_every_container(
    ponder: Ponder, workdir: Path, suffix: str
) -> None:
    (workdir / "clumped.yaml").write_text(CLUMPED)
    ponder("trace", "generate", "clumped.yaml", "-o", f"clumped.{suffix}")
    outcome = ponder("trace", "fit", f"clumped.{suffix}")
    assert outcome.code == 0, outcome.err
    assert yaml.safe_load(outcome.out)["workload"]["arrivals"]["kind"] == "piecewise"
    described = json.loads(ponder("trace", "describe", f"clumped.{suffix}", "--json").out)
    assert described["arrivals"]["tie_share"] == 0
    assert described["arrivals"]["tick_s"] is None
    assert "clock" not in ponder("trace", "describe", f"clumped.{suffix}").out
