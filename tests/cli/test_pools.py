"""Experiments with several pools on the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from .support import GOOD, Outcome

Ponder = Callable[..., Outcome]

SECOND = """\
  standard:
    model: qwen3-8b
    gpu: a100-sxm-80gb
"""


@pytest.fixture
def two(workdir: Path) -> Path:
    """An experiment with two pools, two.yaml."""
    text = GOOD.replace("pools:\n", f"pools:\n{SECOND}").replace("name: small", "name: two")
    (workdir / "two.yaml").write_text(text)
    return workdir


def test_a_run_prints_its_pools(ponder: Ponder, two: Path) -> None:
    outcome = ponder("run", "two.yaml", "--set", "pools.standard.replicas=2")
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    head = next(k for k, line in enumerate(lines) if line.startswith("Pools"))
    standard, reasoning = lines[head + 2 : head + 4]
    assert standard.split()[:4] == ["standard", "qwen3-8b", "a100-sxm-80gb", "2"]
    assert reasoning.split()[:4] == ["reasoning", "llama-3.1-8b", "h100-sxm", "1"]
    summary = json.loads((two / "results" / "two-seed0" / "summary.json").read_text())
    assert [pool["completed"] for pool in summary["pools"].values()] == [27, 13]


def test_a_problem_in_the_second_pool_has_its_line(ponder: Ponder, two: Path) -> None:
    text = (two / "two.yaml").read_text()
    (two / "two.yaml").write_text(text.replace("gpu: h100-sxm", "gpu: h101"))
    outcome = ponder("run", "two.yaml")
    assert outcome.code == 2
    assert outcome.errors[0].startswith("error: two.yaml:9: pools.reasoning.gpu: unknown GPU")


def test_one_pool_is_explained(ponder: Ponder, two: Path) -> None:
    for name, model in (("standard", "qwen3-8b"), ("reasoning", "llama-3.1-8b")):
        outcome = ponder("explain", "two.yaml", "--pool", name, "--json")
        assert outcome.code == 0, outcome.err
        explained = json.loads(outcome.out)
        assert (explained["pool"], explained["model"]) == (name, model)
    assert ponder("explain", "good.yaml", "--pool", "reasoning").code == 0


@pytest.mark.parametrize("given", [(), ("--pool", "other")])
def test_which_pool_is_explained_must_be_said(
    ponder: Ponder, two: Path, given: tuple[str, ...]
) -> None:
    outcome = ponder("explain", "two.yaml", *given)
    assert outcome.code == 2
    assert outcome.errors == ["error: --pool: must be one of standard, reasoning"]


def test_a_measured_run_is_of_one_pool(ponder: Ponder, two: Path) -> None:
    bench = {
        "request_rate": "inf",
        "max_concurrency": None,
        "input_lens": [10, 20],
        "output_lens": [5, 6],
        "duration": 2.0,
        "mean_ttft_ms": 12.0,
    }
    (two / "bench.json").write_text(json.dumps(bench))
    outcome = ponder("validate", "bench.json", "--experiment", "two.yaml")
    assert outcome.code == 2
    assert outcome.errors == ["error: pools: one pool is needed here, not standard, reasoning"]
