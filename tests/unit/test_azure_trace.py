import gzip
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from simulator.errors import InputError
from workloads import TraceWorkload
from workloads.traces import read_trace

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens"
ROWS = """\
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
2023-11-16 18:15:51.2224670,879,55"""
SHARED = Path(__file__).parents[2] / "../shared/data/workloads"


def write(tmp_path, rows, header=HEADER, name="trace.csv", end="\n"):
    path = tmp_path / name
    path.write_bytes((header + end + rows.replace("\n", end)).encode())
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_rows_are_read_to_the_last_digit(tmp_path, end, bom):
    rows, _ = read_trace(write(tmp_path, ROWS, header=bom + HEADER, end=end))
    assert rows.arrival_s.tolist() == [0.0, 4.314579, 4.541877]
    assert rows.prompt_tokens.tolist() == [374, 396, 879]
    assert rows.answer_tokens.tolist() == [44, 109, 55]
    assert rows.dropped == {}


def test_hundred_nanoseconds_are_kept(tmp_path):
    rows, _ = read_trace(
        write(tmp_path, "2023-11-16 18:15:46.6805900,1,1\n2023-11-16 18:15:46.6805901,1,1")
    )
    assert rows.arrival_s.tolist() == [0.0, 1e-7]


def test_gzip_is_known_by_its_content_not_its_name(tmp_path):
    plain = write(tmp_path, ROWS, name="plain.csv.gz")
    packed = tmp_path / "packed.csv"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    for path in (plain, packed):
        assert read_trace(path)[0].prompt_tokens.tolist() == [374, 396, 879]


def test_rows_are_sorted_by_time_and_ties_stay_in_order(tmp_path):
    rows, _ = read_trace(
        write(
            tmp_path,
            "2023-11-16 00:00:02,1,1\n2023-11-16 00:00:01,2,1\n"
            "2023-11-16 00:00:02,3,1\n2023-11-16 00:00:01.0,4,1",
        )
    )
    assert rows.arrival_s.tolist() == [0.0, 0.0, 1.0, 1.0]
    assert rows.prompt_tokens.tolist() == [2, 4, 1, 3]


def test_timestamps_with_a_zone_as_in_the_2024_files(tmp_path):
    rows, _ = read_trace(
        write(
            tmp_path,
            "2024-05-10 00:00:00.009930+00:00,1,1\n2024-05-10T02:00:01.009930+02:00,2,1\n"
            "2024-05-10 00:00:03.009930Z,3,1\n2024-05-09 14:00:02.009930-10:00,4,1",
        )
    )
    assert rows.arrival_s.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert rows.prompt_tokens.tolist() == [1, 2, 4, 3]


def test_empty_requests_are_dropped_and_counted(tmp_path):
    rows, _ = read_trace(
        write(
            tmp_path,
            "2023-11-16 00:00:00,0,9\n2023-11-16 00:00:01,5,6\n"
            "2023-11-16 00:00:02,0,0\n2023-11-16 00:00:03,5,0",
        )
    )
    assert rows.dropped == {"ContextTokens is 0": 2, "GeneratedTokens is 0": 1}
    assert rows.arrival_s.tolist() == [1.0]  # the clock still starts at the earliest row


def problems(path, format="auto"):
    with pytest.raises(InputError) as caught:
        read_trace(path, format)
    return caught.value.problems


def test_every_bad_row_is_named_with_line_and_field(tmp_path):
    path = write(
        tmp_path,
        "\n".join(
            [
                "2023-11-16 18:15:46.68,374,44",
                "",
                "2023-11-16 18:15:47,-3,44",
                "2023-11-16 18:15:48,NaN,1.5",
                "2023-02-30 18:15:48,1,1",
                "yesterday,,1",
                "2023-11-16 18:15:48,1",
                "2023-11-16 18:15:49,1,2,3",
                "2023-11-16 18:15:50Z,1,2",
                "2023-11-16 18:15:51,1,99999999999",
                "2023-11-16 18:15:52, 1,0x1",
                '2023-11-16 18:15:53,"1,1',
            ]
        ),
    )
    found = [(p.line, p.field, p.message.split(":")[0]) for p in problems(path)]
    assert found == [
        (4, "ContextTokens", "must not be negative"),
        (5, "ContextTokens", "not a whole number"),
        (5, "GeneratedTokens", "not a whole number"),
        (6, "TIMESTAMP", "not a time like 2023-11-16 18"),
        (7, "TIMESTAMP", "not a time like 2023-11-16 18"),
        (7, "ContextTokens", "not a whole number"),
        (8, None, "expected 3 fields, found 2"),
        (9, None, "expected 3 fields, found 4"),
        (10, "TIMESTAMP", "a time with a zone, unlike earlier rows"),
        (11, "GeneratedTokens", "must be from 0 to 2,147,483,647"),
        (12, "ContextTokens", "not a whole number"),
        (12, "GeneratedTokens", "not a whole number"),
        (13, None, "a quote is not closed or stands within a cell"),
    ]
    assert all(p.file == str(path) for p in problems(path))


def test_a_thousand_bad_rows_do_not_drown_the_message(tmp_path):
    path = write(tmp_path, "\n".join([ROWS, *["2023-11-16 18:15:47,x,1"] * 1025]))
    found = problems(path)
    assert [p.line for p in found[:20]] == list(range(5, 25))
    assert found[20].message == "... and 1,005 more malformed rows"
    assert len(found) == 21


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b" \n\n", "empty"),
        (gzip.compress(b""), "empty"),
        (b"time,in,out\n1,2,3\n", "expected the header TIMESTAMP,ContextTokens,GeneratedTokens"),
        (b'{"timestamp": 0}\n', "not a known trace"),
        (b"\x00\xff\xfe" * 2000, "not a known trace"),
        (HEADER.encode(), "holds no requests"),
        (HEADER.encode() + b"\r\n\r\n", "holds no requests"),
        (HEADER.encode() + b"\n2023-11-16 18:15:47,0,1", "nothing to simulate"),
        (gzip.compress(HEADER.encode() * 50)[:-9], "truncated gzip"),
        (gzip.compress(b"x" * 99)[:12] + b"\x00" * 20, "truncated gzip"),
        (b"\x1f\x8bnot gzip after all", "truncated gzip"),
    ],
)
def test_unreadable_files_give_one_clear_error(tmp_path, content, message):
    path = tmp_path / "trace.csv"
    path.write_bytes(content)
    found = problems(path)
    assert len(found) == 1
    assert message in found[0].message
    assert found[0].file == str(path)


def test_missing_files_folders_and_unknown_formats(tmp_path):
    assert problems(tmp_path / "none.csv")[0].message == "no such file"
    assert problems(tmp_path)[0].message.startswith("can't be read")
    assert "known: azure_llm" in problems(write(tmp_path, ROWS), format="moon")[0].message


def trace_workload(path, /, **changes):
    return TraceWorkload.model_validate({"kind": "trace", "path": str(path)} | changes)


def test_the_path_is_relative_to_the_experiment(tmp_path):
    write(tmp_path, ROWS)
    batch = trace_workload("trace.csv").generate(0, base_dir=tmp_path)
    assert batch.arrival_s.tolist() == [0.0, 4.314579, 4.541877]
    assert trace_workload("trace.csv").check(tmp_path) == []
    missing = trace_workload("none.csv").check(tmp_path)
    assert [p.field for p in missing] == ["workload.path"]
    assert "is not a file" in trace_workload(".").check(tmp_path)[0].message


def test_rate_limit_and_duration(tmp_path):
    path = write(tmp_path, ROWS)
    fast = trace_workload(path, rate_scale=2.0).generate(0)
    assert fast.arrival_s.tolist() == [0.0, 4.314579 / 2, 4.541877 / 2]
    assert "rate x 2" in fast.provenance["arrival_s"]
    assert len(trace_workload(path, limit=2).generate(0, duration_s=1.0)) == 2
    assert len(trace_workload(path, duration_s=4.4).generate(0)) == 2
    assert len(trace_workload(path, duration_s=4.4, rate_scale=2).generate(0)) == 3
    assert len(trace_workload(path, duration_s=4.4, limit=1).generate(0)) == 1
    by_default = trace_workload(path).generate(0, duration_s=1.0)
    assert len(by_default) == 1
    assert "first 1 of 3 requests" in by_default.provenance["arrival_s"]


def test_no_request_before_the_end(tmp_path):
    path = write(tmp_path, "2023-11-16 00:00:00,0,9\n2023-11-16 00:00:05,5,6")
    with pytest.raises(InputError, match="no request arrives in 5 s"):
        trace_workload(path, duration_s=5.0).generate(0)


def test_thinking_is_drawn_and_said_to_be(tmp_path):
    path = write(tmp_path, ROWS)
    plain = trace_workload(path).generate(0)
    assert plain.thinking_tokens.tolist() == [0, 0, 0]
    assert plain.provenance["thinking_tokens"].startswith("none")
    law = {"kind": "preset", "name": "deepseek_r1_api.thinking"}
    batch = trace_workload(path, thinking_tokens=law, max_tokens=4096).generate(0)
    assert (batch.thinking_tokens > 0).all()
    assert batch.answer_tokens.tolist() == [44, 109, 55]
    assert batch.max_tokens.tolist() == [4096] * 3
    assert batch.provenance["thinking_tokens"].startswith("drawn: deepseek_r1_api.thinking")
    assert batch.provenance["answer_tokens"] == "trace: Azure LLM CSV trace.csv"
    first = trace_workload(path, thinking_tokens=law, limit=1).generate(0)
    assert first.thinking_tokens[0] == batch.thinking_tokens[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "moon"}, "known: auto, azure_llm"),
        ({"rate_scale": 0}, "greater than 0"),
        ({"limit": 0}, "greater than or equal to 1"),
        ({"path": 3}, "valid string"),
        ({"scale": 2}, "Extra inputs"),
    ],
)
def test_bad_trace_workloads_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        trace_workload("trace.csv", **changes)


@pytest.mark.parametrize(
    ("name", "requests", "mean_prompt", "mean_answer"),
    [("conv", 19_366, 1154.697408, 211.125942), ("code", 8_819, 2047.848282, 27.882526)],
)
def test_the_published_files(name, requests, mean_prompt, mean_answer):
    path = SHARED / f"AzureLLMInferenceTrace_{name}.csv.gz"
    if not path.is_file():
        pytest.skip(f"needs ../shared/data/workloads/{path.name}, which is absent")
    rows, _ = read_trace(path)
    assert len(rows.arrival_s) == requests
    assert rows.dropped == {}
    assert rows.prompt_tokens.mean() == pytest.approx(mean_prompt, abs=1e-6)
    assert rows.answer_tokens.mean() == pytest.approx(mean_answer, abs=1e-6)
    assert rows.arrival_s[0] == 0
    assert 3400 < rows.arrival_s[-1] < 3600
    assert (np.diff(rows.arrival_s) >= 0).all()


def waiting(tmp_path, pause):
    """Twenty sessions of ten turns, which start a second apart."""
    lines = ["arrival_s,prompt_tokens,answer_tokens,session_id,turn,pause_s,query_id"]
    for turn in range(10):
        for session in range(20):
            waits = pause if turn else ""
            lines.append(f"{session + 30 * turn},{10 + turn},5,{session},{turn},{waits},{session}")
    path = tmp_path / "sessions.csv"
    path.write_text("\n".join(lines) + "\n")
    return TraceWorkload(path=str(path), thinking_tokens={"kind": "lognormal", "mu": 5, "sigma": 1})


@pytest.mark.parametrize("pause", ["30", ""])
def test_a_cut_trace_keeps_queries_whole_and_thinking_where_it_was(tmp_path, pause):
    workload = waiting(tmp_path, pause)
    whole = workload.generate(0)
    cut = workload.model_copy(update={"limit": 7}).generate(0)
    assert len(cut) == 70
    assert set(np.unique(cut.sessions.query_id, return_counts=True)[1]) == {10}
    rows = np.isin(whole.sessions.session_id, whole.sessions.session_id[:7])
    assert np.array_equal(cut.thinking_tokens, whole.thinking_tokens[rows])
    assert "first 70 of 200 requests, 7 and what goes on" in cut.provenance["arrival_s"]
