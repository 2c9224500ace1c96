"""`ponder trace generate`: requests of a workload as a file."""

import gzip
import json

import numpy as np
import pytest

from workloads.traces import read_trace, rows_to_batch

MIX = """\
workload:
  kind: mix
  arrivals: {kind: poisson, rate_rps: 2.0}
  classes:
    chat: {preset: chat, share: 3}
    agent:
      preset: agentic_coding
      share: 1
      session: {turns: {kind: constant, count: 2}}
"""


@pytest.fixture
def mix(workdir):
    (workdir / "mix.yaml").write_text(MIX)
    return workdir / "mix.yaml"


def generated(path):
    return rows_to_batch(read_trace(path)[0])


def test_the_workload_of_an_experiment(ponder, workdir):
    outcome = ponder("trace", "generate", "good.yaml", "-o", "trace.jsonl")
    assert outcome.code == 0, outcome.err
    assert "wrote  trace.jsonl (jsonl): 40 requests" in outcome.out
    assert "mean tokens  prompt " in outcome.out
    batch = generated(workdir / "trace.jsonl")
    assert len(batch) == 40
    assert batch.thinking_tokens.min() >= 1


@pytest.mark.parametrize("suffix", ["jsonl", "csv.gz", "parquet"])
def test_every_own_format_holds_the_same(ponder, mix, workdir, suffix):
    options = ["--num-requests", "200", "--seed", "3"]
    assert ponder("trace", "generate", "mix.yaml", "-o", "a.jsonl", *options).code == 0
    assert ponder("trace", "generate", "mix.yaml", "-o", f"b.{suffix}", *options).code == 0
    a, b = generated(workdir / "a.jsonl"), generated(workdir / f"b.{suffix}")
    assert len(a) == len(b) > 200  # sessions that have begun go on
    assert np.array_equal(a.arrival_s, b.arrival_s)
    assert np.array_equal(a.sessions.after, b.sessions.after)
    assert np.array_equal(a.segments.tokens, b.segments.tokens)


def test_the_seed_alone_decides_the_bytes(ponder, mix, workdir):
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        done = ponder(
            "trace", "generate", "mix.yaml", "-o", f"{name}.jsonl.gz", "--duration-s", "60",
            "--seed", seed,
        )  # fmt: skip
        assert done.code == 0, done.err
    files = [(workdir / f"{name}.jsonl.gz").read_bytes() for name in "abc"]
    assert files[0] == files[1] != files[2]


def test_mooncake_for_other_tools(ponder, mix, workdir):
    options = ["--to", "mooncake", "--duration-s", "100"]
    assert ponder("trace", "generate", "mix.yaml", "-o", "m.jsonl.gz", *options).code == 0
    with gzip.open(workdir / "m.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    assert set(rows[0]) == {"timestamp", "input_length", "output_length", "hash_ids"}
    agents = [row for row in rows if row["input_length"] > 15_000]
    assert len({row["hash_ids"][0] for row in agents}) == 1  # the class's shared prefix
    assert len({row["hash_ids"][28] for row in agents}) == 1
    assert len({row["hash_ids"][-1] for row in agents}) > 1


def test_turns_wait_for_an_assumed_time(ponder, mix, workdir):
    options = ["--num-requests", "100", "--assumed-tpot-ms", "20"]
    assert ponder("trace", "generate", "mix.yaml", "-o", "a.jsonl", *options).code == 0
    batch = generated(workdir / "a.jsonl")
    after, sessions = batch.sessions.after, batch.sessions
    rows = np.flatnonzero(after >= 0)
    assert len(rows) > 10
    output = batch.thinking_tokens + batch.answer_tokens
    waited = batch.arrival_s[rows] - batch.arrival_s[after[rows]] - sessions.pause_s[rows]
    assert np.allclose(waited, 0.02 * output[after[rows]])


def test_an_option_replaces_the_end_of_the_file(ponder, workdir):
    options = ["-o", "a.csv", "--num-requests", "60", "--set", "workload.duration_s=1"]
    assert ponder("trace", "generate", "good.yaml", *options).code == 0
    assert len(generated(workdir / "a.csv")) == 60
    assert ponder("trace", "generate", "good.yaml", "-o", "b.csv", "--duration-s", "30").code == 0
    assert 80 < len(generated(workdir / "b.csv")) < 160


def test_an_experiment_is_checked_whole(ponder, workdir):
    outcome = ponder("trace", "generate", "good.yaml", "-o", "a.csv", "--set", "nope=3")
    assert outcome.code == 2
    assert "nope: unknown key" in outcome.err
    for bad in (["--duration-s", "nan"], ["--duration-s", "inf"], ["--seed", "9" * 20]):
        assert ponder("trace", "generate", "good.yaml", "-o", "a.csv", *bad).code == 2


def test_one_value_may_be_changed(ponder, workdir):
    change = ["--set", "workload.num_requests=7"]
    assert ponder("trace", "generate", "good.yaml", "-o", "a.csv", *change).code == 0
    assert len(generated(workdir / "a.csv")) == 7


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        (MIX, [], "bad.yaml: workload: must say how much: give --num-requests or --duration-s"),
        (MIX.replace("chat:", "chat: &x", 1).replace("rate_rps: 2", "rate_rps: -2"), [],
         "bad.yaml:3: workload.arrivals.rate_rps: must be greater than 0"),
        (MIX.replace("preset: chat", "preset: chta"), [],
         "bad.yaml:5: workload.classes.chat: unknown preset 'chta'; known: agentic_coding"),
        (MIX.replace("share: 3", "shares: 3"), [],
         "bad.yaml:5: workload.classes.chat.shares: unknown key"),
        ("name: nothing\n", [], "workload: is required"),
        (MIX, ["--to", "xml", "--num-requests", "3"], "unknown format 'xml' to write"),
        ("workload: {kind: trace, path: nowhere.csv}\n", [],
         "bad.yaml:1: workload.path: no such file"),
        ("workload:\n  kind: synthetic\n  arrivals: {kind: closed_loop, concurrency: 3}\n"
         "  prompt_tokens: {kind: constant, tokens: 3}\n"
         "  answer_tokens: {kind: constant, tokens: 3}\n", ["--num-requests", "9"],
         "workload.arrivals: a closed loop has no times"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_and_nothing_is_written(ponder, workdir, text, options, expected):
    (workdir / "bad.yaml").write_text(text)
    outcome = ponder("trace", "generate", "bad.yaml", "-o", "out.jsonl", *options)
    assert outcome.code == 2
    assert expected in outcome.err
    assert "Traceback" not in outcome.err
    assert not (workdir / "out.jsonl").exists()


def test_nothing_is_written_over_what_it_is_made_from(ponder, workdir):
    assert ponder("trace", "generate", "good.yaml", "-o", "t.jsonl").code == 0
    before = (workdir / "t.jsonl").read_bytes()
    (workdir / "replay.yaml").write_text("workload: {kind: trace, path: t.jsonl}\n")
    for args in (
        ("generate", "replay.yaml", "-o", "t.jsonl"),
        ("convert", "t.jsonl", "-o", "t.jsonl"),
        ("fit", "t.jsonl", "-o", "t.jsonl"),
    ):
        outcome = ponder("trace", *args)
        assert outcome.code == 2
        assert "t.jsonl: would overwrite what it is made from" in outcome.err
    assert (workdir / "t.jsonl").read_bytes() == before
