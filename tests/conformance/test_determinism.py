"""Same seed, same bytes, whatever PYTHONHASHSEED; another seed, other bytes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.support import GOOD

ROOT = Path(__file__).parents[2]
TABLES = ("requests.parquet", "queries.parquet", "timeline.parquet")
FILES = (*TABLES, "summary.json", "experiment.yaml", "report.html")


def run(directory: Path, name: str, hash_seed: str, *options: str) -> Path:
    """Run the experiment in a process of its own; returns the result directory."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "simulator.cli.main", "run", "good.yaml", "--out", name]
    done = subprocess.run(
        [*command, *options], cwd=directory, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return directory / name


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("determinism")
    # Two replicas, classes of lengths, some queueing: everything a hash could put in disorder.
    text = GOOD.replace("replicas: 1", "replicas: 2").replace("rate_rps: 4.0", "rate_rps: 40.0")
    assert text.count("replicas: 2") == text.count("40.0") == 1
    (directory / "good.yaml").write_text(text)
    return directory


@pytest.fixture(scope="module")
def first(workdir: Path) -> Path:
    return run(workdir, "first", "1")


def files(directory: Path) -> dict[str, bytes]:
    plots = {f"plots/{path.name}": path.read_bytes() for path in (directory / "plots").iterdir()}
    return {name: (directory / name).read_bytes() for name in FILES} | plots


def test_two_hash_seeds_write_the_same_bytes(workdir: Path, first: Path) -> None:
    ours, theirs = files(first), files(run(workdir, "second", "4242"))
    assert len(ours) > len(FILES), "plots too"
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []


def test_another_seed_writes_other_bytes(workdir: Path, first: Path) -> None:
    ours, theirs = files(first), files(run(workdir, "third", "1", "--seed", "1"))
    same = [name for name in FILES if ours[name] == theirs[name]]
    assert same == []


MIX = """\
name: mix
pools: {p: {model: llama-3.1-8b, gpu: h100-sxm, replicas: 2, engine: {max_num_seqs: 32}}}
workload:
  kind: mix
  arrivals: {kind: gamma, rate_rps: 4.0, cv: 2.0}
  classes:
    chat: {preset: chat, share: 20, client: b}
    coding: {preset: coding, share: 5, client: a}
    agents: {preset: agentic_coding, share: 1, session: {max_context_tokens: 60000}}
measure: {warmup_s: 20, window_s: 40}
"""


def test_mixes_and_sessions_have_the_same_bytes_too(workdir: Path) -> None:
    (workdir / "good.yaml").rename(workdir / "plain.yaml")
    (workdir / "good.yaml").write_text(MIX)
    try:
        one, other = (run(workdir, f"mix{seed}", seed) for seed in ("1", "2"))
    finally:
        (workdir / "plain.yaml").rename(workdir / "good.yaml")
    for name in FILES:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
