"""ponder's own trace format: who waits for whom, what prompts share, and what is wrong."""

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from simulator.errors import InputError
from tests.trace_examples import lines
from workloads.traces import read_trace


@pytest.fixture
def read(tmp_path):
    def from_rows(*rows, **options):
        path = tmp_path / "trace"
        text = rows[0] if isinstance(rows[0], str) else lines(*rows)
        path.write_text(text)
        return read_trace(path, "ponder", **options)[0]

    return from_rows


@pytest.fixture
def problems(read):
    def of(*rows, **options):
        with pytest.raises(InputError) as caught:
            read(*rows, **options)
        return [(p.line, p.field, p.message) for p in caught.value.problems]

    return of


def row(arrival_s=0.0, prompt_tokens=10, answer_tokens=5, **more):
    needed = {
        "arrival_s": arrival_s,
        "prompt_tokens": prompt_tokens,
        "answer_tokens": answer_tokens,
    }
    return needed | more


def of(segments):
    return [segments.of(i) for i in range(len(segments))]


def test_only_three_columns_are_needed(read):
    rows = read("answer_tokens,arrival_s,prompt_tokens,mood\n5,2.5,10,fine\n6,1.25,11,\n")
    assert rows.arrival_s.tolist() == [1.25, 2.5], "the clock is the file's own"
    assert rows.answer_tokens.tolist() == [6, 5]
    for name in ("thinking_tokens", "class_id", "client_id", "max_tokens", "difficulty"):
        assert getattr(rows, name) is None
    assert (rows.sessions, rows.segments, rows.estimated) == (None, None, ())


def test_every_column(read):
    text = (
        "arrival_s,prompt_tokens,thinking_tokens,answer_tokens,max_tokens,class,client,difficulty\n"
        "0,10,900,5,,chat,anna,0.25\n"
        '1e1,11,,6,4096,,"b, c",\n'
    )
    rows = read(text)
    assert rows.arrival_s.tolist() == [0.0, 10.0]
    assert rows.thinking_tokens.tolist() == [900, 0]
    assert rows.max_tokens.tolist() == [0, 4096]
    assert [rows.class_names[i] for i in rows.class_id] == ["chat", "default"]
    assert [rows.client_names[i] for i in rows.client_id] == ["anna", "b, c"]
    assert rows.difficulty[0] == 0.25
    assert np.isnan(rows.difficulty[1])


def test_a_row_with_a_pause_waits_for_the_turn_before(read):
    rows = read(
        row(0.0, session_id=5, turn=0, pause_s=3.0),
        row(1.0, session_id=9, turn=0),
        row(2.0, session_id=5, turn=1, pause_s=0.0),
        row(3.0, session_id=5, turn=2),
        row(4.0, session_id=9, turn=1, pause_s=1.5),
        row(5.0, session_id=9, turn=7, pause_s=1.5),
        row(6.0),
    )
    sessions = rows.sessions
    assert sessions.session_id.tolist() == [5, 9, 5, 5, 9, 9, -1]
    assert sessions.turn.tolist() == [0, 0, 1, 2, 1, 7, 0]
    assert sessions.after.tolist() == [-1, -1, 0, -1, 1, -1, -1]
    assert sessions.pause_s.tolist() == [0.0, 0.0, 0.0, 0.0, 1.5, 0.0, 0.0]
    assert sessions.query_id is None


def test_after_names_a_row_of_the_file(read, problems):
    rows = read(
        row(0.0, after=0),  # itself
        row(0.0, prompt_tokens=0),
        row(2.0, after=1, pause_s=1.0),  # left out
        row(1.0, after=0, pause_s=2.0),
        row(3.0, after=2, session_id=1, turn=0),
        row(3.0, after=3, query_id=4),
    )
    assert rows.arrival_s.tolist() == [0.0, 1.0, 2.0, 3.0, 3.0]
    assert rows.sessions.after.tolist() == [-1, 0, -1, 2, 1]
    assert rows.sessions.pause_s.tolist() == [0.0, 2.0, 0.0, 0.0, 0.0]
    assert rows.sessions.query_id.tolist() == [5, 6, 7, 8, 4]
    beyond = problems(row(after=2), row())
    assert beyond == [(None, "after", "row 0 waits for row 2, which is not there")]


def test_turns_are_counted_where_none_is_given(read, problems):
    rows = read(
        row(2.0, session_id="b", pause_s=1.0),
        row(0.0, session_id="a", pause_s=1.0),
        row(1.0, session_id="b", pause_s=1.0),
    )
    assert rows.sessions.session_id.tolist() == [1, 0, 0]
    assert rows.sessions.turn.tolist() == [0, 0, 1]
    assert rows.sessions.after.tolist() == [-1, -1, 1]
    some = problems(row(session_id=1, turn=0), row(session_id=1), row())
    assert some == [(None, "turn", "is missing in 1 rows that have a session_id")]


def test_ids_may_be_numbers_or_texts(read):
    numbers = [row(session_id=3), row(session_id=0), row()]
    assert read(*numbers).sessions.session_id.tolist() == [3, 0, -1]
    assert read(row(session_id=3), row(session_id="x"), row(session_id=3)).sessions.session_id[
        [0, 1, 2]
    ].tolist() == [0, 1, 0]
    assert read(row(session_id=-4), row(session_id=3)).sessions.session_id.tolist() == [0, 1]
    assert read(row(**{"class": 12}), row(**{"class": "x"})).class_names == ("12", "x")


def test_prompts_of_segments(read, problems):
    rows = read(
        row(prompt_tokens=10, segments=[[7, 4], [2, 6]], output_ids=[-1, 9]),
        row(prompt_tokens=12),
        row(prompt_tokens=5, segments=[[9, 5]]),
    )
    assert of(rows.segments) == [[(7, 4), (2, 6)], [(10, 12)], [(9, 5)]]
    assert rows.segments.output_id.tolist() == [[-1, 9], [-1, -1], [-1, -1]]
    wrong = problems(
        row(prompt_tokens=10, segments=[[7, 4]]),
        row(prompt_tokens=10, segments=[]),
        row(prompt_tokens=4, segments=[[7, 4]], output_ids=[1]),
        row(prompt_tokens=4, segments=[[7, 4]], output_ids=[-2, 0]),
        row(prompt_tokens=4, segments=[[7, 4, 1]]),
        row(prompt_tokens=4, segments=[[-7, 4]]),
        row(prompt_tokens=4, segments=[[7, 0], [8, 4]]),
        row(prompt_tokens=4, segments="7:4"),
    )
    assert wrong == [
        (1, "segments", "add up to 4 tokens, prompt_tokens is 10"),
        (2, "segments", "add up to 0 tokens, prompt_tokens is 10"),
        (3, "output_ids", "must be two ids, of the thinking and of the answer, -1 for none"),
        (4, "output_ids", "must be two ids, of the thinking and of the answer, -1 for none"),
        (5, "segments", "holds what is no [id, tokens]: [7, 4, 1]"),
        (6, "segments", "an id is at least 0 and tokens at least 1: [-7, 4]"),
        (7, "segments", "an id is at least 0 and tokens at least 1: [7, 0]"),
        (8, "segments", "not a list of [id, tokens]: '7:4'"),
    ]


def test_prompts_of_hashes(read, problems):
    hashed = [row(prompt_tokens=40, prefix_hashes=[5, 6, 7]), row(prompt_tokens=9)]
    assert of(read(*hashed).segments) == [[(0, 16), (1, 16), (2, 8)], [(3, 9)]]
    one = row(prompt_tokens=40, prefix_hashes=[5, 8], block_size=32)
    assert of(read(*hashed, one).segments)[2] == [(0, 32), (3, 8)]
    assert of(read(one | {"block_size": None}, block_size=32).segments) == [[(0, 32), (1, 8)]]
    csv = "arrival_s,prompt_tokens,answer_tokens,prefix_hashes\n0,40,1,5 6 7\n0,9,1,\n"
    assert of(read(csv).segments) == [[(0, 16), (1, 16), (2, 8)], [(3, 9)]]
    assert problems(csv.replace("5 6 7", "5 6  7"))[0][1:] == (
        "prefix_hashes",
        "not whole numbers with a space between: '5 6  7'",
    )
    both = problems(hashed[0], row(segments=[[1, 10]]))
    assert both == [(None, "prefix_hashes", "give segments or prefix_hashes, not both")]


def test_bad_rows(problems):
    assert problems(
        row(-1.0, pause_s=-2, difficulty=1.5, turn=-1),
        row(block_size=0, **{"class": ""}),
        row(client=["a"], session_id=True, query_id=2**63),
        row(**{"class": "\ud800"}),
        row(-(2**63), answer_tokens=-(2**63), session_id=-(2**63)),
    ) == [
        (1, "arrival_s", "must not be negative: -1.0"),
        (1, "difficulty", "must be from 0 to 1: 1.5"),
        (1, "turn", "must not be negative: -1"),
        (1, "pause_s", "must not be negative: -2"),
        (2, "class", "empty, with a NUL, or not in UTF-8: ''"),
        (2, "block_size", "must be from 1 to 1,048,576: 0"),
        (3, "client", "not a text or a whole number: ['a']"),
        (3, "session_id", "not a text or a whole number: True"),
        (3, "query_id", "must be from 0 to 9,223,372,036,854,775,807: 9223372036854775808"),
        (4, "class", "empty, with a NUL, or not in UTF-8: '\\ud800'"),
        (5, "arrival_s", "must not be negative: -9223372036854775808"),
        (5, "answer_tokens", "must not be negative: -9223372036854775808"),
        (5, "session_id", "too large a number: -9223372036854775808"),
    ]


@pytest.fixture
def from_parquet(tmp_path):
    def made(**columns):
        path = tmp_path / "trace.parquet"
        parquet.write_table(pa.table(columns), path)
        return read_trace(path)[0]

    return made


def test_parquet_columns(from_parquet):
    rows = from_parquet(
        arrival_s=pa.array([1, 0], pa.int32()),
        prompt_tokens=pa.array([5.0, 6.0]),
        answer_tokens=pa.array([1, 2], pa.uint64()),
        session_id=pa.array(["x", None]).dictionary_encode(),
        prefix_hashes=pa.array([[1], None], pa.large_list(pa.int32())),
        segments=pa.array([None, None], pa.list_(pa.list_(pa.int64()))),
        other=pa.array([b"?", b"!"]),
    )
    assert rows.arrival_s.tolist() == [0.0, 1.0]
    assert rows.prompt_tokens.tolist() == [6, 5]
    assert rows.sessions.session_id.tolist() == [-1, 0]
    assert of(rows.segments) == [[(1, 6)], [(0, 5)]]


def test_bad_parquet_rows_and_columns(from_parquet):
    needed = {"arrival_s": [0.0, 1.0], "prompt_tokens": [5, 6], "answer_tokens": [1, 2]}
    bad = [
        ({"prompt_tokens": [5, -6]}, (2, "prompt_tokens", "must not be negative: -6")),
        ({"prompt_tokens": [None, 6]}, (1, "prompt_tokens", "is missing")),
        ({"answer_tokens": ["1", "2"]}, (1, "answer_tokens", "not a whole number: '1'")),
        (
            {"answer_tokens": pa.array([1, 2**64 - 1], pa.uint64())},
            (2, "answer_tokens", "must be from 0 to 2,147,483,647: 18446744073709551615"),
        ),
        ({"arrival_s": [float("nan"), 1.0]}, (1, "arrival_s", "not a finite number: nan")),
        (
            {"segments": [[[1, 5]], [[1, 2, 3]]]},
            (2, "segments", "holds what is no [id, tokens]: [1, 2, 3]"),
        ),
        ({"segments": [[[1, 5]], [[1, 7]]]}, (2, "segments", "add up to 7 tokens")),
        (
            {"prefix_hashes": [[1], [None]]},
            (2, "prefix_hashes", "holds what is no 64-bit whole number: None"),
        ),
        ({"class": ["a", ""]}, (2, "class", "empty, with a NUL, or not in UTF-8: ''")),
    ]
    for change, (line, field, message) in bad:
        with pytest.raises(InputError) as caught:
            from_parquet(**(needed | change))
        (problem,) = caught.value.problems[:1]
        assert (problem.line, problem.field) == (line, field), change
        assert problem.message.startswith(message), change
    del needed["prompt_tokens"]
    with pytest.raises(InputError, match="prompt_tokens: there is no such column"):
        from_parquet(**needed)


def test_a_request_cut_while_thinking_keeps_its_thinking(tmp_path):
    path = tmp_path / "cut.csv"
    path.write_text(
        "arrival_s,prompt_tokens,thinking_tokens,answer_tokens,max_tokens\n"
        "0,10,500,0,\n1,10,500,0,400\n2,10,20,5,\n3,10,0,0,\n4,10,300,0,900\n"
    )
    rows, _ = read_trace(path)
    assert rows.thinking_tokens.tolist() == [500, 500, 20, 300]
    assert rows.answer_tokens.tolist() == [1, 1, 5, 1]
    assert rows.max_tokens.tolist() == [500, 400, 0, 300]
    assert rows.dropped == {"answer_tokens is 0": 1}


def test_misspelt_columns_are_refused_and_others_passed_over(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text("arrival_s,prompt_tokens,answer_tokens,thinkng_tokens,colour\n0,1,2,3,red\n")
    with pytest.raises(InputError, match="thinkng_tokens'; did you mean 'thinking_tokens'"):
        read_trace(path)
    path.write_text("arrival_s,prompt_tokens,answer_tokens,colour\n0,1,2,red\n")
    assert len(read_trace(path)[0]) == 1
