"""Traces that ponder writes: whole or not at all, the same bytes each time, blocks as shared."""

import gzip
import json

import numpy as np
import pytest

from simulator.errors import InputError
from simulator.prefix import PromptSegments
from workloads.batch import RequestBatch, Sessions
from workloads.traces import read_trace, rows_to_batch
from workloads.traces.writers import WRITERS, format_of, write_trace
from workloads.traces.writers.mooncake import block_hashes


def batch(n=3, **more):
    columns = {
        "arrival_s": np.arange(n) * 0.1,
        "prompt_tokens": np.arange(n) + 600,
        "thinking_tokens": np.arange(n) * 7,
        "answer_tokens": np.arange(n) + 1,
        "max_tokens": np.zeros(n, dtype=np.int64),
        "class_id": np.zeros(n, dtype=np.int32),
    }
    return RequestBatch(**(columns | more))


def test_json_lines_as_they_are_written(tmp_path):
    path = tmp_path / "trace.jsonl"
    sessions = Sessions(
        session_id=np.array([4, 4, -1]),
        turn=np.array([0, 1, 0], dtype=np.int32),
        after=np.array([-1, 0, -1]),
        pause_s=np.array([0.0, 1.5, 0.0]),
    )
    more = {
        "class_id": np.array([1, 1, 0], dtype=np.int32),
        "class_names": ("chat", "maths, é"),
        "max_tokens": np.array([0, 9, 0]),
        "segments": PromptSegments.from_lists(
            [[(3, 600)], [(3, 600), (5, 1)], [(6, 602)]], np.array([[-1, -1], [7, 8], [-1, -1]])
        ),
    }
    assert write_trace(batch(sessions=sessions, **more), path) == 3
    assert path.read_text() == (
        '{"arrival_s": 0.0, "prompt_tokens": 600, "thinking_tokens": 0, "answer_tokens": 1, '
        '"class": "maths, é", "session_id": 4, "turn": 0, "segments": [[3, 600]]}\n'
        '{"arrival_s": 0.1, "prompt_tokens": 601, "thinking_tokens": 7, "answer_tokens": 2, '
        '"max_tokens": 9, "class": "maths, é", "session_id": 4, "turn": 1, "pause_s": 1.5, '
        '"segments": [[3, 600], [5, 1]], "output_ids": [7, 8]}\n'
        '{"arrival_s": 0.2, "prompt_tokens": 602, "thinking_tokens": 14, "answer_tokens": 3, '
        '"class": "chat", "segments": [[6, 602]]}\n'
    )
    csv = tmp_path / "trace.csv"
    write_trace(batch(sessions=sessions, **more), csv)
    assert csv.read_text().splitlines()[:3] == [
        "arrival_s,prompt_tokens,thinking_tokens,answer_tokens,max_tokens,class,session_id,turn,"
        "pause_s,after,segments,output_ids",
        '0.0,600,0,1,,"maths, é",4,0,,,3:600,',
        '0.1,601,7,2,9,"maths, é",4,1,1.5,,3:600 5:1,7 8',
    ]


@pytest.mark.parametrize("name", ["t.jsonl", "t.csv", "t.parquet", "t.jsonl.gz", "t.csv.gz"])
def test_the_same_requests_are_the_same_bytes(tmp_path, name):
    first, second = tmp_path / name, tmp_path / "again" / name
    second.parent.mkdir()
    write_trace(batch(100), first)
    write_trace((batch(100) for _ in range(1)), second)
    assert first.read_bytes() == second.read_bytes()
    assert [path.name for path in second.parent.iterdir()] == [name]
    if name.endswith(".gz"):
        assert first.read_bytes()[4:8] == b"\0\0\0\0", "no time in it"
    assert read_trace(first)[0].prompt_tokens.tolist() == batch(100).prompt_tokens.tolist()


@pytest.mark.parametrize("format", WRITERS)
def test_pieces_are_written_one_after_the_other(tmp_path, monkeypatch, format):
    from workloads.traces.writers import cells, mooncake

    monkeypatch.setattr(cells, "CHUNK_ROWS", 7)
    monkeypatch.setattr(mooncake, "CHUNK_ROWS", 7)
    whole = batch(40)
    cut = [slice(0, 5), slice(5, 5), slice(5, 30), slice(30, 40)]
    names = ("arrival_s", "prompt_tokens", "thinking_tokens", "answer_tokens", "max_tokens")
    pieces = [
        RequestBatch(
            **{name: getattr(whole, name)[rows] for name in names}, class_id=whole.class_id[rows]
        )
        for rows in cut
    ]
    assert write_trace(iter(pieces), tmp_path / "pieces", format) == 40
    write_trace(whole, tmp_path / "whole", format)
    a, b = (read_trace(tmp_path / name)[0] for name in ("pieces", "whole"))
    assert a.arrival_s.tolist() == b.arrival_s.tolist()
    assert a.answer_tokens.tolist() == b.answer_tokens.tolist()
    if format != "parquet":
        assert (tmp_path / "pieces").read_bytes() == (tmp_path / "whole").read_bytes()
    with pytest.raises(ValueError, match="pieces differ"):
        write_trace([whole, batch(class_names=("a",))], tmp_path / "x.jsonl")
    assert not (tmp_path / "x.jsonl").exists()


def test_waiting_for_another_than_the_turn_before(tmp_path):
    """A fan-out and a join, in two pieces: rows of the file are named."""
    sessions = Sessions(
        session_id=np.array([1, 1, 1, 1, -1]),
        turn=np.array([0, 1, 1, 2, 0], dtype=np.int32),
        after=np.array([-1, 0, 0, 1, 2]),
        pause_s=np.array([0.0, 1.0, 2.0, 3.0, 4.0]),
        query_id=np.array([5, 5, 5, 5, 6]),
    )
    one = batch(5, arrival_s=np.zeros(5), sessions=sessions)
    for name in ("t.jsonl", "t.csv", "t.parquet"):
        write_trace([one, one], tmp_path / name)
        read = read_trace(tmp_path / name)[0].sessions
        assert read.after.tolist() == [-1, 0, 0, 1, 2, -1, 5, 5, 6, 7], name
        assert read.pause_s.tolist() == sessions.pause_s.tolist() * 2
        assert read.query_id.tolist() == [5, 5, 5, 5, 6] * 2


def test_what_was_there_stays_if_writing_fails(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text("before")

    def broken():
        yield batch()
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError):
        write_trace(broken(), path)
    assert path.read_text() == "before"
    with pytest.raises(InputError, match="no requests to write"):
        write_trace([], path)
    assert [p.name for p in tmp_path.iterdir()] == ["t.jsonl"]
    with pytest.raises(InputError, match="can't be written: No such file"):
        write_trace(batch(), tmp_path / "none" / "t.csv")


@pytest.mark.parametrize(
    ("name", "format", "message"),
    [
        ("t.txt", "auto", "the suffix must be .jsonl, .csv or .parquet"),
        ("jsonl", "auto", "the suffix must be"),
        ("t.mooncake", "auto", "the suffix must be"),
        ("t.jsonl", "azure_llm", "unknown format 'azure_llm' to write; known: csv, jsonl, moon"),
        ("t.parquet.gz", "auto", "Parquet compresses its columns itself"),
        ("t.gz", "parquet", "Parquet compresses its columns itself"),
    ],
)
def test_formats_that_are_none(tmp_path, name, format, message):
    with pytest.raises(InputError, match=message):
        format_of(tmp_path / name, format)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "empty, with a NUL"),
        ("a\x00", "empty, with a NUL"),
        ("\ud800", "not possible in UTF-8"),
        ("a\nb", "a line end, which CSV"),
    ],
)
def test_names_that_have_no_place(tmp_path, name, message):
    with pytest.raises(InputError, match=message):
        write_trace(batch(class_names=(name,)), tmp_path / "t.csv")


def test_mooncake_of_unknown_prompts(tmp_path):
    path = tmp_path / "t.jsonl.gz"
    times = np.array([0.0, 0.0004, 86399.9996])
    assert write_trace(batch(arrival_s=times), path, "mooncake") == 3
    rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    assert [row["timestamp"] for row in rows] == [0, 0, 86_400_000]
    assert [row["output_length"] for row in rows] == [1, 9, 17], "thinking and answer"
    assert [row["hash_ids"] for row in rows] == [[0, 1], [2, 3], [4, 5]]


def test_blocks_are_equal_where_all_tokens_up_to_their_end_are():
    a, b, c = 1, 2, 3
    prompts = [
        [(a, 512)],
        [(a, 513)],
        [(a, 300), (b, 300)],
        [(a, 300), (b, 212)],
        [(a, 300), (b, 213)],
        [(a, 100), (a, 200), (b, 300)],
        [(b, 300), (a, 300)],
        [(c, 100), (a, 412)],
        [(a, 1024), (c, 10)],
    ]
    segments = PromptSegments.from_lists(prompts)
    ids = block_hashes(segments).tolist()
    blocks = [-(-tokens // 512) for tokens in segments.prompt_tokens().tolist()]
    split = [[ids.pop(0) for _ in range(count)] for count in blocks]
    tokens = [[(s, at) for s, length in prompt for at in range(length)] for prompt in prompts]
    seen = {}
    for prompt, hashes in zip(tokens, split, strict=True):
        for k, hash_ in enumerate(hashes):
            known = seen.setdefault(hash_, prompt[: 512 * (k + 1)])
            assert known == prompt[: 512 * (k + 1)]
    starts = {tuple(p[: end + 512]) for p in tokens for end in range(0, len(p), 512)}
    assert len(seen) == len(starts)
    assert all(0 <= hash_ < 2**63 for hash_ in seen)


def test_hashes_do_not_depend_on_the_file():
    """Frozen: a file written elsewhere must go together with one written here."""
    segments = PromptSegments.from_lists([[(0, 512), (1, 5)], [(10**12, 700)]])
    assert block_hashes(segments).tolist() == [
        713344861855352904,
        1807851315128286305,
        9116207918675825520,
        536702010118119794,
    ]


def test_reading_mooncake_back_shares_the_same_blocks(tmp_path):
    prompts = [[(1, 512), (2, 100)], [(1, 512), (2, 512), (4, 1)], [(9, 40)], [(1, 512), (2, 100)]]
    segments = PromptSegments.from_lists(prompts)
    one = batch(4, prompt_tokens=segments.prompt_tokens(), segments=segments)
    write_trace(one, tmp_path / "t.jsonl", "mooncake")
    back = rows_to_batch(read_trace(tmp_path / "t.jsonl")[0]).segments
    found = [back.of(i) for i in range(4)]
    lengths = [[t for _, t in prompt] for prompt in found]
    assert lengths == [[512, 100], [512, 512, 1], [40], [512, 100]]
    assert found[0] == found[3]
    assert found[0][0] == found[1][0]
    assert len({s for prompt in found for s, _ in prompt}) == 5
