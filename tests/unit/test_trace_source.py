"""Files as they come: packed, damaged, with any line end, from a pipe."""

import gzip
import os
import threading
from pathlib import Path

import pyarrow as pa
import pytest

from simulator.errors import InputError
from tests.trace_examples import EXAMPLES, PONDER
from workloads.traces import read_trace
from workloads.traces.parsing import source as source_module
from workloads.traces.parsing.source import Source


def problem(path):
    with pytest.raises(InputError) as caught:
        read_trace(path)
    (found,) = caught.value.problems
    assert found.file == str(path)
    return found.message


def write(tmp_path, content):
    path = tmp_path / "trace"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("packed", ["gzip", "zstd"])
def test_damaged_and_truncated_archives(tmp_path, packed):
    text = PONDER.encode() * 2000
    content = gzip.compress(text) if packed == "gzip" else pa.compress(text, "zstd", asbytes=True)
    for keep in (5, len(content) // 2, len(content) - 1):
        message = problem(write(tmp_path, content[:keep]))
        assert message.startswith(f"damaged or truncated {packed} file"), keep
    assert "damaged or truncated" in problem(write(tmp_path, content[:200] + b"\xff" * 900))


def test_archives_one_after_the_other_are_one_file(tmp_path):
    half = PONDER.encode()
    for content in (
        gzip.compress(half) * 2,
        pa.compress(half, codec="zstd", asbytes=True) * 2,
    ):
        assert len(read_trace(write(tmp_path, content))[0]) == 4


def test_a_packed_parquet_file_is_refused(tmp_path):
    message = problem(write(tmp_path, gzip.compress(b"PAR1 and so on")))
    assert "a Parquet file within gzip: unpack it first" in message
    assert "damaged or truncated Parquet file" in problem(write(tmp_path, b"PAR1 and so on"))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1 << 20])
def test_lines_do_not_depend_on_blocks(tmp_path, monkeypatch, size):
    content = b"one\r\ntwo\rthree\n\r\n\r\rfour\r"
    monkeypatch.setattr(source_module, "BLOCK_BYTES", size)
    monkeypatch.setattr(source_module, "HEAD_BYTES", size + 3)
    found = []
    with Source(write(tmp_path, content)) as source:
        for number, piece in source.lines():
            assert number == len(found) + 1
            found += piece.split(b"\n")[:-1] if piece.endswith(b"\n") else piece.split(b"\n")
    assert found == [b"one", b"two", b"three", b"", b"", b"", b"four"]


@pytest.mark.parametrize("kind", sorted(set(EXAMPLES) - {"vllm_bench"}))
def test_rows_do_not_depend_on_blocks(tmp_path, monkeypatch, kind):
    example = EXAMPLES[kind]
    monkeypatch.setattr(source_module, "BLOCK_BYTES", 11)
    rows, _ = read_trace(write(tmp_path, example.text.encode()))
    monkeypatch.setattr(source_module, "HEAD_BYTES", 200)
    again, _ = read_trace(write(tmp_path, example.text.encode()))
    assert rows.prompt_tokens.tolist() == again.prompt_tokens.tolist() == example.prompt_tokens
    assert rows.dropped == again.dropped


def test_a_line_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(source_module, "MAX_LINE_BYTES", 1 << 20)
    path = write(tmp_path, gzip.compress(PONDER.encode() + b"x" * (6 << 20)))
    with pytest.raises(InputError, match=":4: a line of more than 1 MiB"):
        read_trace(path)


def test_a_pipe_is_read_like_a_file(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: Path(pipe).write_text(PONDER))
    writer.start()
    rows, _ = read_trace(pipe)
    writer.join()
    assert rows.prompt_tokens.tolist() == [12, 7]


def test_a_name_that_is_none():
    with pytest.raises(InputError, match="can't be read"):
        read_trace("a\x00b")
