"""Every registered trace format: found by its content, read alike whatever it is packed in."""

import gzip

import pyarrow as pa
import pytest
from population_files import HEADER, ROWS, write_table

from simulator.errors import InputError
from tests.trace_examples import BURSTGPT_2, EXAMPLES
from workloads.traces import READERS, read_trace, rows_to_batch
from workloads.traces.parsing.head import Head

# A population is drawn from, not read row by row: it has an example but no counts of rows.
TEXTS = {kind: example.text for kind, example in EXAMPLES.items()} | {
    "servegen": f"{HEADER}\n{ROWS}\n"
}


def test_every_format_has_an_example():
    assert sorted(TEXTS) == list(READERS)


@pytest.mark.parametrize("kind", [*TEXTS, "burstgpt 2"])
def test_exactly_one_reader_takes_each_example(kind):
    text = TEXTS.get(kind, BURSTGPT_2)
    head = Head.of(text.encode(), whole=True)
    assert [name for name in READERS if READERS[name]().matches(head)] == [kind.split()[0]]


@pytest.mark.parametrize("kind", EXAMPLES)
@pytest.mark.parametrize("packed", ["plain", "gzip", "zstd"])
@pytest.mark.parametrize("dress", ["as is", "BOM and CRLF", "blank lines"])
def test_an_example_is_found_and_read(tmp_path, kind, packed, dress):
    example = EXAMPLES[kind]
    content = example.text.encode()
    if dress == "BOM and CRLF":
        content = b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n")
    elif dress == "blank lines":
        content = content.replace(b"\n", b"\n\n  \n")
    if packed == "gzip":
        content = gzip.compress(content, mtime=0)
    elif packed == "zstd":
        content = pa.compress(content, codec="zstd", asbytes=True)
    path = tmp_path / "trace"  # the name says nothing
    path.write_bytes(content)
    rows, reader = read_trace(path)
    assert type(reader) is READERS[kind]
    assert rows.arrival_s.tolist() == pytest.approx(example.arrival_s, abs=1e-12)
    assert rows.prompt_tokens.tolist() == example.prompt_tokens
    assert rows.answer_tokens.tolist() == example.answer_tokens
    assert len(rows) + sum(rows.dropped.values()) == example.rows
    batch = rows_to_batch(rows, {"arrival_s": "trace"})
    assert len(batch) == len(rows)
    assert batch.dropped == rows.dropped
    assert batch.provenance == {"arrival_s": "trace"}
    assert read_trace(str(path), kind)[0].prompt_tokens.tolist() == example.prompt_tokens


def test_a_population_is_drawn_from(tmp_path):
    rows, reader = read_trace(write_table(tmp_path))
    assert type(reader) is READERS["servegen"]
    assert set(rows.estimated) >= {"arrival_s", "prompt_tokens", "answer_tokens"}
    assert len(rows_to_batch(rows)) == len(rows) > 0


def test_a_file_of_no_format_names_them_all(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text("time,in,out\n1,2,3\n")
    with pytest.raises(InputError) as caught:
        read_trace(path)
    (problem,) = caught.value.problems
    assert problem.line == 1
    assert "found 'time,in,out'" in problem.message
    for kind in READERS:
        assert f"({kind})" in problem.message


def test_another_format_than_was_named(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text(EXAMPLES["azure_llm"].text)
    with pytest.raises(InputError, match=r"expected JSON lines with timestamp.*\(mooncake\)"):
        read_trace(path, "mooncake")
    with pytest.raises(InputError, match=r"unknown trace format 'moon'; known: azure_llm, burst"):
        read_trace(path, "moon")


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("azure_llm", {"block_size": 16}, "azure_llm has no option 'block_size'; it has none"),
        ("mooncake", {"tokens": 1}, "mooncake has no option 'tokens'; it has block_size"),
        ("mooncake", {"block_size": 0}, "block_size: must be a whole number from 1"),
        ("qwen_bailian", {"block_size": True}, "block_size: must be a whole number from 1"),
        ("ponder", {"block_size": "16"}, "block_size: must be a whole number from 1"),
        ("sharegpt", {"tokenizer": "none.json"}, "tokenizer: "),
    ],
)
def test_options_that_are_none(tmp_path, kind, options, message):
    path = tmp_path / "trace"
    path.write_text(EXAMPLES[kind].text)
    with pytest.raises(InputError, match=message):
        read_trace(path, **options)
