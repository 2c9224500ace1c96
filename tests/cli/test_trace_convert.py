"""`ponder trace convert`."""

import gzip
import json

import pytest

from tests.trace_examples import AZURE, BURSTGPT, SHAREGPT
from workloads.traces import read_trace


@pytest.fixture
def folder(workdir):
    (workdir / "azure.csv").write_text(AZURE)
    (workdir / "chats.json").write_text(SHAREGPT)
    return workdir


def test_a_trace_for_a_benchmark_tool(folder, ponder):
    done = ponder("trace", "convert", "azure.csv", "-o", "out.jsonl", "--to", "mooncake")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "read   azure.csv (azure_llm: Azure LLM CSV)",
        "left out  1 rows: ContextTokens is 0",
        "wrote  out.jsonl (mooncake): 2 requests",
    ]
    rows = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    assert rows[1] == {
        "timestamp": 4315,
        "input_length": 396,
        "output_length": 109,
        "hash_ids": [1],
    }


def test_guesses_are_said(folder, ponder):
    done = ponder("trace", "convert", "chats.json", "--out", "out.csv.gz")
    assert done.code == 0
    assert "left out  1 rows: a conversation without an answer" in done.out
    assert "estimated, not in the trace: arrival_s, pause_s, prompt_tokens, answer_tokens" in (
        done.out
    )
    lines = gzip.decompress((folder / "out.csv.gz").read_bytes()).decode().splitlines()
    assert lines[2] == "0.0,4,,1,,0,1,0.0,,0:4,-1 0"
    again = ponder("trace", "convert", "out.csv.gz", "-o", "out.parquet", "--from", "ponder")
    assert (again.code, (folder / "out.parquet").read_bytes()[:4]) == (0, b"PAR1")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["none.csv", "-o", "out.csv"], "none.csv: no such file"),
        (["azure.csv", "-o", "out.txt"], "out.txt: the suffix must be .jsonl, .csv or .parquet"),
        (["azure.csv", "-o", "out.csv", "--from", "moon"], "unknown trace format 'moon'"),
        (["azure.csv", "-o", "out.csv", "--to", "burstgpt"], "unknown format 'burstgpt' to write"),
        (["azure.csv", "-o", "out.csv", "--from", "mooncake"], "azure.csv:1: not a known trace"),
        (["azure.csv", "-o", "out.csv", "--block-size", "16"], "azure_llm has no option"),
        (["chats.json", "-o", "out.csv", "--tokenizer", "t.json"], "tokenizer"),
        (["azure.csv", "-o", "no/out.csv"], "no/out.csv: can't be written"),
    ],
)
def test_bad_input_exits_with_2_and_writes_nothing(folder, ponder, args, message):
    before = sorted(path.name for path in folder.iterdir())
    done = ponder("trace", "convert", *args)
    assert done.code == 2
    assert any(message in line for line in done.errors), done.err
    assert sorted(path.name for path in folder.iterdir()) == before


def test_every_malformed_row_is_named(folder, ponder):
    (folder / "burst.csv").write_text(BURSTGPT + "x,ChatGPT,-1,2,1,API log\n" * 30)
    (folder / "out.csv").write_text("before")
    done = ponder("trace", "convert", "burst.csv", "-o", "out.csv")
    assert done.code == 2
    assert len(done.errors) == 41
    assert done.errors[0] == "error: burst.csv:5: Timestamp: not a number: 'x'"
    assert done.errors[-1] == "error: burst.csv: ... and 10 more malformed rows"
    assert (folder / "out.csv").read_text() == "before"


def test_what_was_not_recorded_stays_so(ponder, workdir):
    (workdir / "azure.csv").write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n"
    )
    for suffix in ("jsonl", "csv", "parquet"):
        assert ponder("trace", "convert", "azure.csv", "-o", f"out.{suffix}").code == 0
        assert read_trace(workdir / f"out.{suffix}")[0].thinking_tokens is None
