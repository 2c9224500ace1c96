"""What is special in each published trace format."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from simulator.errors import InputError
from tests.trace_examples import (
    BURSTGPT,
    BURSTGPT_2,
    MOONCAKE,
    QWEN,
    SHAREGPT,
    VLLM_BENCH,
    chat,
    lines,
    mooncake,
    qwen,
)
from workloads.traces import read_trace
from workloads.traces.parsing.turns import previous_turns, turns_by_time

SHARED = Path(__file__).parents[2] / "../shared/data/workloads"


@pytest.fixture
def read(tmp_path):
    def from_text(text, **options):
        path = tmp_path / "trace"
        path.write_text(text)
        return read_trace(path, **options)[0]

    return from_text


@pytest.fixture
def problems(read):
    def of(text, **options):
        with pytest.raises(InputError) as caught:
            read(text, **options)
        return [(p.line, p.field, p.message) for p in caught.value.problems]

    return of


def of(segments):
    return [segments.of(i) for i in range(len(segments))]


# BurstGPT


def test_both_layouts_of_burstgpt(read):
    old, new = read(BURSTGPT), read(BURSTGPT_2)
    assert old.dropped == {"Response tokens is 0: the call failed": 1}
    assert [old.class_names[i] for i in old.class_id] == ["ChatGPT", "GPT-4"]
    assert old.sessions is None
    assert new.arrival_s.tolist() == [0.0, 1.5, 10.0]
    assert new.sessions.session_id.tolist() == [0, -1, 0]
    assert new.sessions.turn.tolist() == [0, 0, 1]
    assert new.sessions.after.tolist() == [-1, -1, -1], "recorded times are kept"


def test_columns_of_burstgpt_are_found_by_name(read, problems):
    text = "Response tokens,x,Timestamp,Request tokens\n5,?,2.5,7\n6,?,1.5,8\n"
    rows = read(text)
    assert rows.arrival_s.tolist() == [0.0, 1.0]
    assert rows.prompt_tokens.tolist() == [8, 7]
    assert rows.class_id is None
    twice = text.replace("x,", "Timestamp,")
    assert problems(twice) == [(1, "Timestamp", "is there twice")]
    missing = problems("Timestamp,Request tokens\n1,2\n", format="burstgpt")
    assert "a header with Timestamp" in missing[0][2]


def test_bad_rows_of_burstgpt(problems):
    text = BURSTGPT + "soon,ChatGPT,1,2,3,API log\n1,ChatGPT,1e3,2,3,API log\n1,ChatGPT,,2,3,x\n"
    assert problems(text) == [
        (5, "Timestamp", "not a number: 'soon'"),
        (6, "Request tokens", "not a whole number: '1e3'"),
        (7, "Request tokens", "not a whole number: ''"),
    ]


def test_quoted_cells(read, problems):
    header, row, *_ = BURSTGPT.splitlines()
    quoted = row.replace("ChatGPT", '"Chat, the ""best"""').replace("472", '"472"')
    rows = read(f'"{header.replace(",", chr(34) + "," + chr(34))}"\n{quoted}\n')
    assert rows.class_names == ('Chat, the "best"',)
    assert rows.prompt_tokens.tolist() == [472]
    stray = row.replace("ChatGPT", 'Chat"GPT')
    assert problems(f"{header}\n{stray}\n")[0][2].startswith("a quote is not closed or stands")


# Mooncake


def test_blocks_become_segments(read):
    rows = read(MOONCAKE)
    assert rows.dropped == {"input_length is 0": 1}
    assert of(rows.segments) == [
        [(0, 512), (1, 188)],
        [(0, 512), (2, 512), (3, 276)],
    ]
    assert (rows.segments.output_id == -1).all()
    assert rows.thinking_tokens is None


def test_what_no_hash_covers_is_of_its_own(read):
    text = lines(
        mooncake(0, 700, 1, [50]),  # only full blocks hashed
        mooncake(1, 700, 1, [50, -7]),
        mooncake(2, 700, 1, []),
        mooncake(3, 600, 1, [50, -7]),  # shares 88 tokens of the last block of row 1
        {"timestamp": 4, "input_length": 5, "output_length": 1},
        mooncake(5, 1024, 1, [50, 2**62]),
    )
    rows = read(text)
    assert of(rows.segments) == [
        [(1, 512), (3, 188)],
        [(1, 512), (0, 188)],
        [(4, 700)],
        [(1, 512), (0, 88)],
        [(5, 5)],
        [(1, 512), (2, 512)],
    ]
    assert (rows.segments.prompt_tokens() == rows.prompt_tokens).all()
    assert read(lines(mooncake(0, 700, 1, []))).segments is None


def test_hashes_that_do_not_fit_the_prompt(read, problems):
    text = lines(mooncake(0, 700, 1, [1, 2, 3]), mooncake(1, 700, 1, [1, 2]))
    assert problems(text) == [
        (
            1,
            "hash_ids",
            "3 hashes of 512-token blocks, where 700 prompt tokens have 2: another block_size?",
        )
    ]
    assert len(problems(text, block_size=1024)) == 2
    other = lines(mooncake(0, 700, 1, list(range(3))), mooncake(1, 600, 1, list(range(3))))
    assert of(read(other, block_size=256).segments)[1] == [(0, 256), (1, 256), (2, 88)]


def test_bad_rows_of_mooncake(problems):
    text = (
        '{"timestamp": 0, "input_length": 5, "output_length": 1}\n'
        '{"timestamp": "0", "input_length": -5, "output_length": 1.5, "hash_ids": [1, "2"]}\n'
        '{"timestamp": 1, "input_length": 5}\n'
        "\n"
        '{"timestamp": 2, "input_length": true, "output_length": null, "hash_ids": 7}\n'
        "[1, 2]\n"
        "{\n"
        '{"timestamp": NaN, "input_length": 5, "output_length": 1}\n'
        '{"timestamp": 2, "timestamp": 3, "input_length": 5, "output_length": 1}\n'
        '{"timestamp": 2, "input_length": 99999999999999999999, "output_length": 1}\n'
        '{"timestamp": 2, "input_length": 5.0, "output_length": 1}\n'
        '{"timestamp": 1e300, "input_length": 5, "output_length": 1}\n'
    )
    assert problems(text) == [
        (2, "timestamp", "not a number: '0'"),
        (2, "input_length", "must not be negative: -5"),
        (2, "output_length", "not a whole number: 1.5"),
        (2, "hash_ids", "holds what is no 64-bit whole number: '2'"),
        (3, "output_length", "is missing"),
        (5, "input_length", "not a whole number: True"),
        (5, "output_length", "is missing"),
        (5, "hash_ids", "not a list of whole numbers: 7"),
        (6, None, "must be an object, one a line: [1, 2]"),
        (
            7,
            None,
            "is not JSON: Expecting property name enclosed in double quotes at column 2",
        ),
        (8, None, "is not usable JSON: NaN is no JSON number"),
        (9, None, "is not usable JSON: the key 'timestamp' is there twice"),
        (10, "input_length", "must be from 0 to 2,147,483,647: 99999999999999999999"),
        (12, "timestamp", "must be from -1e+15 to 1e+15: 1e+300"),
    ]


@pytest.mark.parametrize(
    ("name", "requests", "last_s", "distinct", "reused"),
    [("conversation", 12_031, 3536.999, 182_790, 0.367), ("synthetic", 3_993, 1022.025, 43_924, 0)],
)
def test_the_published_mooncake_files(name, requests, last_s, distinct, reused):
    path = SHARED / f"mooncake_{name}_trace.jsonl.gz"
    if not path.is_file():
        pytest.skip(f"needs ../shared/data/workloads/{path.name}, which is absent")
    rows, _ = read_trace(path)
    assert len(rows) == requests
    assert rows.dropped == {}
    assert rows.arrival_s[-1] == pytest.approx(last_s)
    assert len(np.unique(rows.segments.segment_id)) == distinct
    assert rows.segments.highest_id == distinct - 1
    if reused:
        again = 1 - distinct / len(rows.segments.segment_id)
        assert again == pytest.approx(reused, abs=0.001)


# Qwen-Bailian


def test_chats_become_sessions(read):
    rows = read(QWEN)
    assert rows.sessions.session_id.tolist() == [7, 7]
    assert rows.sessions.turn.tolist() == [0, 1]
    assert rows.sessions.after.tolist() == [-1, -1]
    assert [rows.class_names[i] for i in rows.class_id] == ["text", "search"]
    assert of(rows.segments) == [[(1, 16), (2, 16), (3, 8)], [(1, 16), (2, 16), (4, 16), (0, 12)]]


def test_a_chat_belongs_to_the_first_turn_that_is_known(read, problems):
    deep = [qwen(i, i - 1, float(i), 16, 1, i, [i]) for i in range(1, 40)]
    branch = qwen(99, 20, 50.0, 16, 1, 21, [99])
    alone = qwen(100, -1, 51.0, 16, 1, 1, [100])
    rows = read(lines(*deep, branch, alone))
    assert rows.sessions.session_id.tolist() == [0] * 40 + [100], "0 itself is not in the file"
    circle = lines(qwen(1, 2, 0.0, 16, 1, 1, [1]), qwen(2, 1, 1.0, 16, 1, 2, [1]))
    assert problems(circle) == [(None, "parent_chat_id", "chat 1 grew out of itself")]
    itself = lines(qwen(3, 3, 0.0, 16, 1, 1, [1]))
    assert problems(itself) == [(None, "parent_chat_id", "chat 3 grew out of itself")]


def test_qwen_rows_with_little_in_them(read):
    bare = [{"chat_id": i, "timestamp": i, "input_length": 5, "output_length": 1} for i in (4, 2)]
    rows = read(lines(*bare))
    assert rows.sessions.session_id.tolist() == [2, 4]
    assert rows.sessions.turn.tolist() == [0, 0]
    assert (rows.class_id, rows.segments) == (None, None)
    mixed = read(lines(*bare, qwen(5, -1, 9.0, 16, 1, 1, [1])))
    assert [mixed.class_names[i] for i in mixed.class_id] == ["default", "default", "text"]


# vllm bench serve


def test_failed_requests_of_a_bench_are_counted(read):
    rows = read(VLLM_BENCH)
    assert rows.dropped == {"the request failed": 1}
    assert rows.estimated == ()


def test_a_bench_without_times(read, problems):
    data = json.loads(VLLM_BENCH)
    del data["start_times"]
    rows = read(json.dumps(data, indent=2))
    assert rows.arrival_s.tolist() == [0.0, 0.0]
    assert rows.estimated == ("arrival_s",)
    del data["input_lens"], data["output_lens"]
    assert problems(json.dumps(data)) == [
        (None, key, "is missing: the result must be saved with --save-detailed")
        for key in ("input_lens", "output_lens")
    ]
    short = json.dumps(json.loads(VLLM_BENCH) | {"output_lens": [1]})
    assert problems(short) == [(None, "output_lens", "has 1 entries, input_lens has 3")]


# ShareGPT


def test_turns_of_a_conversation_wait_for_each_other(read):
    two = [chat("1234", "12345678", "a", "b"), chat("", "x" * 9, "hello", "y", id="b")]
    rows = read(json.dumps(two))
    assert rows.dropped == {"no text before the answer": 1}
    assert rows.prompt_tokens.tolist() == [1, 4, 5]
    assert rows.answer_tokens.tolist() == [2, 1, 1]
    assert rows.sessions.session_id.tolist() == [0, 0, 1]
    assert rows.sessions.turn.tolist() == [0, 1, 0]
    assert rows.sessions.after.tolist() == [-1, 0, -1]
    assert of(rows.segments) == [[(0, 1)], [(0, 4)], [(1, 5)]]
    assert rows.segments.output_id.tolist() == [[-1, 0], [-1, 0], [-1, 1]]
    assert rows.estimated == ("arrival_s", "pause_s", "prompt_tokens", "answer_tokens")
    assert read(lines(*two)).prompt_tokens.tolist() == [1, 4, 5], "one object a line"


def test_tokens_by_a_function_or_a_tokenizer(read, monkeypatch, problems):
    rows = read(SHAREGPT, tokenizer=len)
    assert rows.prompt_tokens.tolist() == [5, 10]
    assert rows.estimated == ("arrival_s", "pause_s")
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    assert problems(SHAREGPT, tokenizer="tokenizer.json") == [
        (
            None,
            "tokenizer",
            "needs the package tokenizers, which is not installed: pip install tokenizers",
        )
    ]

    class Tokenizer:
        @staticmethod
        def from_file(path):
            if path != "tokenizer.json":
                raise Exception("no such file")
            return Tokenizer()

        def encode(self, text, add_special_tokens):
            assert not add_special_tokens
            return SimpleNamespace(ids=[0] * (len(text) + 1))

    monkeypatch.setitem(sys.modules, "tokenizers", SimpleNamespace(Tokenizer=Tokenizer))
    assert read(SHAREGPT, tokenizer="tokenizer.json").prompt_tokens.tolist() == [6, 13]
    assert problems(SHAREGPT, tokenizer="x.json")[0][1:] == (
        "tokenizer",
        "can't be read: no such file",
    )


@pytest.mark.parametrize(
    ("text", "line", "field", "message"),
    [
        (SHAREGPT[:-1], 1, None, "ends within the array"),
        (SHAREGPT[:-9], 1, None, "is not JSON"),
        (SHAREGPT + "\n\n1", 3, None, "goes on after the array"),
        (SHAREGPT.replace("}, {", "} {"), 1, None, "is not JSON"),
        (SHAREGPT[:-1] + "\n,\n7]", 3, None, "must be an object with conversations: 7"),
        (SHAREGPT[:-1] + ',\n{"conversations": 7}]', 2, "conversations", "must be a list"),
        (
            SHAREGPT[:-1] + ',\n{"conversations": [7, {"from": 1}]}]',
            2,
            "conversations[0]",
            "must be an object with from and value: 7",
        ),
        ("[" + json.dumps(chat("question")) + "]", None, None, "no conversation with an answer"),
        ('[{"conversations": ' + "[" * 100_000, 1, None, "is nested too deep"),
        ('[{"conversations": [], "conversations": []}]', 1, None, "is there twice"),
    ],
)
def test_malformed_conversations(problems, text, line, field, message):
    found = problems(text)
    assert found[0][:2] == (line, field)
    assert message in found[0][2]


# Sessions


def test_turns_are_counted_in_order_of_time():
    assert turns_by_time(np.array([5, -1, 5, 3, -1, 5])).tolist() == [0, 0, 1, 0, 0, 2]
    assert turns_by_time(np.empty(0, dtype=np.int64)).tolist() == []


def test_the_previous_turn_is_the_last_one_before():
    session = np.array([1, 1, 1, 1, 2, 1, -1, -1])
    turn = np.array([0, 0, 1, 3, 1, 1, 0, 1], dtype=np.int32)
    assert previous_turns(session, turn).tolist() == [-1, -1, 1, -1, -1, 1, -1, -1]
    late = previous_turns(np.array([1, 1]), np.array([1, 0], dtype=np.int32))
    assert late.tolist() == [-1, -1], "turn 0 comes too late to be waited for"
    assert previous_turns(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int32)).tolist() == []
