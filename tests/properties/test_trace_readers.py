"""No trace file, however mangled, gives a traceback or loses a row; what is written comes back."""

import gzip
import json
import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import InputError
from simulator.prefix import PromptSegments
from tests.trace_examples import BURSTGPT_2, EXAMPLES
from workloads.batch import RequestBatch, Sessions
from workloads.traces import azure_llm, read_trace, rows_to_batch
from workloads.traces.parsing import csv_rows, json_rows
from workloads.traces.parsing.turns import previous_turns
from workloads.traces.writers import write_trace

DOCUMENTS = {"ShareGPT JSON", "vllm bench serve result"}  # their rows are not lines
PONDER_CSV = """\
arrival_s,prompt_tokens,thinking_tokens,answer_tokens,class,session_id,turn,pause_s,segments
0.5,20,900,8,chat,1,0,,7:16 9:4
1.5,20,900,0,"b, c",1,1,2.5,7:16 9:4
2.5,9,0,80,chat,,,,3:9
"""
PONDER_PREFIX = """\
{"arrival_s": 1, "prompt_tokens": 20, "answer_tokens": 8, "prefix_hashes": [5, 6], "client": "x"}
{"arrival_s": 2, "prompt_tokens": 9, "answer_tokens": 8, "after": 0, "pause_s": 1e1, "turn": null}
"""
TEXTS = [
    *((kind, example.text) for kind, example in EXAMPLES.items()),
    ("burstgpt", BURSTGPT_2),
    ("ponder", PONDER_CSV),
    ("ponder", PONDER_PREFIX),
]
VALUES = [
    "-1", "0", "-0", "1e3", "1.0", "2.5", "NaN", "Infinity", "1e999", "null", "true", '""', '"x"',
    "[]", "{}", "[1]", "[[1, 2]]", "9" * 19, "9" * 30, "9" * 5000, "-9223372036854775808", "٣",
    "+5", "0x1f", " 7", "007", '"\\ud800"',
    '"\\u0000"', "", "1_000", "'", '"', "[" * 3000, '{"a": ' * 3000, "7:0", "1 2", "\u2028", "\x85",
]  # fmt: skip


@st.composite
def mangled(draw):
    """An example with values swapped, lines moved, bytes changed, packed, cut short."""
    kind, text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(0, 3))):
        numbers = list(re.finditer(r'-?[0-9][0-9.]*|"[a-z]+"', text))
        if numbers:
            place = draw(st.sampled_from(numbers))
            text = text[: place.start()] + draw(st.sampled_from(VALUES)) + text[place.end() :]
    lines = text.split("\n")
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(lines) - 1))
        change = draw(st.sampled_from(["drop", "twice", "blank", "joined", "key twice"]))
        line = lines[at]
        if change == "drop" and len(lines) > 1:
            del lines[at]
        elif change == "key twice":
            lines[at] = line.replace("{", '{"timestamp": 1, ', 1)
        else:
            extra = {"twice": [line, line], "blank": [line, " "], "joined": [line + line]}
            lines[at : at + 1] = extra.get(change, [line])
    content = draw(st.sampled_from(["\n", "\r\n", "\r"])).join(lines).encode("utf-8", "replace")
    if draw(st.booleans()):
        content = b"\xef\xbb\xbf" + content
    if draw(st.booleans()):
        at = draw(st.integers(0, len(content)))
        cut = at + draw(st.integers(0, 9))
        content = content[:at] + draw(st.binary(max_size=6)) + content[cut:]
    packing = draw(st.sampled_from(["plain", "plain", "gzip", "zstd"]))
    if packing == "gzip":
        content = gzip.compress(content, mtime=0)
    elif packing == "zstd":
        content = pa.compress(content, codec="zstd", asbytes=True)
    if packing != "plain" and draw(st.booleans()):
        content = content[: draw(st.integers(4, len(content)))]
    return kind, content


def rows_in(content):
    """The rows of a file of lines: those that are not blank, less a header."""
    if content.startswith(b"\x1f\x8b"):
        content = gzip.decompress(content)
    elif content.startswith(b"\x28\xb5\x2f\xfd"):
        content = pa.CompressedInputStream(pa.BufferReader(content), "zstd").read()
    content = content.removeprefix(b"\xef\xbb\xbf").lstrip()
    lines = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return sum(bool(line.strip()) for line in lines) - (not content.startswith(b"{"))


def read_or_problems(path, format="auto"):
    try:
        return *read_trace(path, format), []
    except InputError as error:
        return None, None, error.problems


def check(path, content, format):
    """A file is read, every row of it used or counted, or refused with what is wrong."""
    path.write_bytes(content)
    rows, reader, problems = read_or_problems(path, format)
    if rows is None:
        assert problems
        assert all(problem.message for problem in problems)
        assert len(problems) < 300
        return
    batch = rows_to_batch(rows)  # checks every column
    assert len(batch) > 0
    if reader.title not in DOCUMENTS:
        assert len(rows) + sum(rows.dropped.values()) == rows_in(content)


@settings(deadline=None, max_examples=600)
@given(file=mangled(), auto=st.booleans())
def test_a_mangled_file_is_read_or_refused(tmp_path_factory, file, auto):
    kind, content = file
    path = tmp_path_factory.getbasetemp() / "mangled"
    check(path, content, "auto" if auto else kind)


@settings(deadline=None, max_examples=150)
@given(content=st.binary(max_size=300), magic=st.sampled_from([b"", b"\x1f\x8b\x08\x00", b"PAR1"]))
def test_random_bytes_are_refused(tmp_path_factory, content, magic):
    path = tmp_path_factory.getbasetemp() / "random"
    path.write_bytes(magic + content)
    with pytest.raises(InputError):
        read_trace(path)


@pytest.mark.parametrize("text", ["[" * 200_000, '{"chat_id": ' * 200_000, '{"a"' + ":[" * 99_999])
@pytest.mark.parametrize("format", ["auto", *EXAMPLES])
def test_deep_nesting_is_refused(tmp_path, text, format):
    path = tmp_path / "deep"
    path.write_text(text)
    with pytest.raises(InputError):
        read_trace(path, format)


@st.composite
def parquet_files(draw):
    """A Parquet file of a few rows with some of its bytes changed, or cut short."""
    n = draw(st.integers(1, 4))
    kinds = [
        st.lists(st.one_of(st.none(), kind), min_size=n, max_size=n)
        for kind in (
            st.integers(-3, 2**33),
            st.floats(),
            st.text(max_size=3),
            st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3),
            st.lists(st.lists(st.integers(-1, 30), min_size=2, max_size=2), max_size=2),
            st.booleans(),
        )
    ]
    names = ("thinking_tokens", "class", "session_id", "pause_s", "segments", "prefix_hashes")
    columns = {name: [5] * n for name in ("arrival_s", "prompt_tokens", "answer_tokens")}
    for name in draw(st.lists(st.sampled_from([*names, "arrival_s"]), max_size=3)):
        columns[name] = draw(draw(st.sampled_from(kinds)))
    sink = pa.BufferOutputStream()
    from pyarrow import parquet

    parquet.write_table(pa.table(columns), sink)
    content = bytes(sink.getvalue())
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(4, len(content) - 1))
        content = content[:at] + draw(st.binary(min_size=1, max_size=3)) + content[at + 1 :]
    return content[: draw(st.sampled_from([len(content), len(content), len(content) - 5]))]


@settings(deadline=None, max_examples=200)
@given(content=parquet_files())
def test_a_mangled_parquet_file_is_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "mangled.parquet"
    path.write_bytes(content)
    rows, _, problems = read_or_problems(path)
    if rows is None:
        assert problems
        assert all(problem.message for problem in problems)
    else:
        assert len(rows_to_batch(rows)) > 0


@settings(deadline=None, max_examples=300)
@given(file=mangled())
def test_the_fast_and_the_careful_way_read_the_same(tmp_path_factory, file):
    """Nothing but speed may depend on which way a piece is read."""
    kind, content = file
    path = tmp_path_factory.getbasetemp() / "both"
    path.write_bytes(content)
    found = []
    with pytest.MonkeyPatch.context() as patch:
        for _ in range(2):
            try:
                rows, _ = read_trace(path, kind)
                found.append([rows.arrival_s.tolist(), rows.prompt_tokens.tolist(), rows.dropped])
                names = [rows.class_names[i] for i in rows.class_id] if rows.class_names else []
                found[-1].append(names)
            except InputError as error:
                found.append(str(error))
            patch.setattr(csv_rows, "_fast", lambda *_: None)
            slow = json_rows._carefully
            patch.setattr(json_rows, "rows_piece", slow)
    assert found[0] == found[1]


times = st.builds(
    "{}-{:02}-{:02}{}{:02}:{:02}:{:02}{}{}".format,
    st.sampled_from([1900, 1970, 2023, 2099]),
    st.integers(1, 12),
    st.integers(1, 31),
    st.sampled_from(" T"),
    st.integers(0, 24),
    st.integers(0, 60),
    st.integers(0, 60),
    st.from_regex(r"\A(\.[0-9]{1,10})?\Z"),
    st.sampled_from(["", "", "", "Z", "+05:30", "-14:59", "+0530"]),
)
counts = st.one_of(
    st.integers(0, 4000).map(str),
    st.sampled_from(
        ["0", "-1", "1.0", "1e3", "NaN", "", "007", "+5", "0x1f", "9" * 10, '"3"', "٣"]
    ),
)
good_azure = st.builds(
    "2023-11-16 18:{:02}:{:02}.{:07},{},{}".format,
    st.integers(0, 59),
    st.integers(0, 59),
    st.integers(0, 9_999_999),
    st.integers(0, 4000),
    st.integers(0, 4000),
)
any_azure = st.one_of(
    good_azure,
    st.builds("{},{},{}".format, times, counts, counts),
    st.text(alphabet='0123456789-:., TZ+\t"\x00é', max_size=40),
)


@settings(deadline=None, max_examples=200)
@given(rows=st.lists(any_azure, max_size=6), end=st.sampled_from(["\n", "\r\n", "\r"]))
def test_times_are_read_the_same_fast_and_carefully(tmp_path_factory, rows, end):
    path = tmp_path_factory.getbasetemp() / "azure"
    path.write_bytes(end.join([azure_llm.HEADER, *rows]).encode())
    fast, _, problems = read_or_problems(path, "azure_llm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_rows, "_fast", lambda *_: None)
        slow, _, others = read_or_problems(path, "azure_llm")
    assert problems == others
    if fast is not None:
        assert fast.arrival_s.tolist() == slow.arrival_s.tolist()
        assert fast.prompt_tokens.tolist() == slow.prompt_tokens.tolist()
        assert len(fast) + sum(fast.dropped.values()) == sum(bool(row.strip()) for row in rows)


@settings(deadline=None, max_examples=50)
@given(rows=st.lists(good_azure, min_size=1, max_size=6), end=st.sampled_from(["\n", "\r\n"]))
def test_good_times_are_read_fast(tmp_path_factory, rows, end):
    path = tmp_path_factory.getbasetemp() / "azure"
    path.write_bytes(end.join([azure_llm.HEADER, *rows, "2023-11-16 18:00:00,1,1"]).encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(csv_rows, "_carefully")
        assert len(read_trace(path)[0]) > 0


@pytest.mark.parametrize(("kind", "text"), TEXTS)
def test_good_files_are_read_fast(tmp_path, monkeypatch, kind, text):
    if '"b, c"' in text:
        text = text.replace('"b, c"', "bc")  # quotes are for the careful way
    (tmp_path / "good").write_text(text)
    monkeypatch.delattr(csv_rows, "_carefully")
    monkeypatch.delattr(json_rows, "_carefully")
    monkeypatch.delattr(json_rows, "_object")
    assert len(read_trace(tmp_path / "good", kind)[0]) > 0


names = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00\n\r"), min_size=1, max_size=4
)


@st.composite
def batches(draw):
    """Requests with any of the optional columns."""
    n = draw(st.integers(1, 12))
    whole = st.integers(1, 3000)

    def ints(values, dtype=np.int64):
        return np.array(draw(st.lists(values, min_size=n, max_size=n)), dtype=dtype)

    prompt = ints(whole)
    more = {}
    if draw(st.booleans()):
        more["class_names"] = tuple(draw(st.lists(names, min_size=1, max_size=3, unique=True)))
        more["class_id"] = ints(st.integers(0, len(more["class_names"]) - 1), np.int32)
    if draw(st.booleans()):
        more["client_names"] = tuple(draw(st.lists(names, min_size=1, max_size=3, unique=True)))
        more["client_id"] = ints(st.integers(0, len(more["client_names"]) - 1), np.int32)
    if draw(st.booleans()):
        more["difficulty"] = ints(st.one_of(st.just(np.nan), st.floats(0, 1)), np.float64)
        more["difficulty"][0] = 0.5
    if draw(st.booleans()):
        session, turn = ints(st.integers(-1, 3)), ints(st.integers(0, 3), np.int32)
        session[0] = 7
        turn[session < 0] = 0
        usual = previous_turns(session, turn)
        other = np.array([draw(st.integers(-1, i - 1)) for i in range(n)])
        after = np.where(ints(st.booleans(), bool), usual, other)
        pause = np.where(after >= 0, ints(st.floats(0, 1e6), np.float64), 0.0)
        query = ints(st.integers(0, 5)) if draw(st.booleans()) else None
        more["sessions"] = Sessions(session, turn, after, pause, query)
    if draw(st.booleans()):
        made = [[(draw(st.integers(0, 9)), t)] for t in prompt.tolist()]
        for i in range(n):
            if prompt[i] > 1 and draw(st.booleans()):
                first = draw(st.integers(1, int(prompt[i]) - 1))
                rest = int(prompt[i]) - first
                made[i] = [(draw(st.integers(0, 2**60)), first), (made[i][0][0], rest)]
        outputs = np.column_stack((ints(st.integers(-1, 9)), ints(st.integers(-1, 2**60))))
        more["segments"] = PromptSegments.from_lists(made, outputs)
    columns = {
        "arrival_s": np.sort(ints(st.floats(0, 1e9), np.float64)),
        "prompt_tokens": prompt,
        "thinking_tokens": ints(st.integers(0, 10**6)),
        "answer_tokens": ints(whole),
        "max_tokens": ints(st.sampled_from([0, 0, 4096])),
        "class_id": np.zeros(n, dtype=np.int32),
    }
    return RequestBatch(**(columns | more))


def as_lists(batch):
    """Every column of requests as plain values, ids of classes and clients as their names."""
    lists = {
        name: getattr(batch, name).tolist()
        for name in ("arrival_s", "prompt_tokens", "thinking_tokens", "answer_tokens", "max_tokens")
    }
    lists["class"] = [batch.class_names[i] for i in batch.class_id]
    if batch.client_id is not None:
        lists["client"] = [batch.client_names[i] for i in batch.client_id]
    if batch.difficulty is not None:
        lists["difficulty"] = [repr(value) for value in batch.difficulty.tolist()]
    for part in (batch.sessions, batch.segments):
        if part is not None:
            lists |= {k: v.tolist() for k, v in vars(part).items() if v is not None}
    return lists


@settings(deadline=None, max_examples=150)
@given(batch=batches(), name=st.sampled_from(["a.jsonl", "a.csv", "a.parquet", "a.csv.gz"]))
def test_what_is_written_is_read_back(tmp_path_factory, batch, name):
    path = tmp_path_factory.getbasetemp() / name
    assert write_trace(batch, path) == len(batch)
    rows, reader = read_trace(path)
    assert reader.title == "ponder trace"
    assert as_lists(rows_to_batch(rows)) == as_lists(batch)


@settings(deadline=None, max_examples=60)
@given(batch=batches())
def test_mooncake_keeps_lengths_and_what_prompts_share(tmp_path_factory, batch):
    path = tmp_path_factory.getbasetemp() / "mooncake.jsonl"
    write_trace(batch, path, "mooncake")
    with path.open() as file:
        rows = [json.loads(line) for line in file]
    assert [row["input_length"] for row in rows] == batch.prompt_tokens.tolist()
    made = batch.thinking_tokens + batch.answer_tokens
    assert [row["output_length"] for row in rows] == made.tolist()
    times = np.array([row["timestamp"] for row in rows])
    assert np.abs(times - batch.arrival_s * 1e3).max() <= 0.5 + 1e-3
    known = {}
    for i, row in enumerate(rows):
        for k, hash_ in enumerate(row["hash_ids"]):
            prefix = (i, k) if batch.segments is None else _prefix(batch.segments.of(i), k)
            assert known.setdefault(hash_, prefix) == prefix
    assert len(set(known.values())) == len(known)


def _prefix(segments, block):
    """The first `block` + 1 blocks of 512 tokens of a prompt."""
    left, found = 512 * (block + 1), []
    for segment, tokens in segments:
        if left > 0:
            found.append((segment, min(tokens, left)))
        left -= tokens
    return tuple(found)
