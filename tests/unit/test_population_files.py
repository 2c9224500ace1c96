"""Reading populations of clients: both layouts, and every kind of bad file."""

import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from population_files import HEADER, PDFS, ROWS, pdf, write_chunks, write_table

from simulator.errors import InputError
from workloads.population import read_population


def problems(path, lengths=None):
    with pytest.raises(InputError) as caught:
        read_population(path, lengths)
    return [str(problem) for problem in caught.value.problems]


def test_a_table_and_the_lengths_beside_it(tmp_path):
    population = read_population(write_table(tmp_path))
    first, second = population.clients
    assert (first.name, second.name) == ("0", "7")
    assert first.window.tolist() == [0, 1]
    assert second.window.tolist() == [1, 72]
    assert second.rate_rps.tolist() == [1.5, 0.1]
    assert second.family == ("weibull", "gamma")
    assert population.windows == 144
    assert population.expected_requests()[[0, 1, 72]].tolist() == [300.0, 1050.0, 60.0]
    assert [(one.start_s, one.end_s) for one in second.lengths] == [(0, 21600), (43200, 64800)]
    assert second.lengths[0].prompt.tokens.tolist() == [1000]
    assert second.lengths[0].ratio.share.tolist() == [0.0, 0.5, 0.5]


def test_servegens_own_layout_says_the_same(tmp_path):
    table, chunks = read_population(write_table(tmp_path)), read_population(write_chunks(tmp_path))
    for one, other in zip(table.clients, chunks.clients, strict=True):
        assert one.name == other.name
        assert one.window.tolist() == other.window.tolist()
        assert one.rate_rps.tolist() == other.rate_rps.tolist()
        assert one.cv.tolist() == other.cv.tolist()
        assert one.family == other.family
        assert [a.start_s for a in one.lengths] == [b.start_s for b in other.lengths]
        for a, b in zip(one.lengths, other.lengths, strict=True):
            assert a.prompt.tokens.tolist() == b.prompt.tokens.tolist()
            assert a.output.share.tolist() == b.output.share.tolist()
            assert a.ratio.share.tolist() == b.ratio.share.tolist()


def test_chunks_without_reasoning_have_no_ratio(tmp_path):
    directory = write_chunks(tmp_path)
    for path in directory.glob("*.json"):
        windows = json.loads(path.read_text())
        for columns in windows.values():
            del columns["reason_ratio"]
        path.write_text(json.dumps(windows))
    assert all(
        one.ratio is None for client in read_population(directory).clients for one in client.lengths
    )


def test_shapes_that_contradict_their_cv_are_counted(tmp_path):
    # A Weibull shape of 0.6848 gives a CV of 1.5; the third row says 2 instead.
    rows = ROWS.replace("7,600,1.5,1.5", "7,600,1.5,2.0").replace("Gamma,4.0", "Gamma,4.5")
    assert read_population(write_table(tmp_path)).other_shapes == 0
    (tmp_path / "other").mkdir()
    assert read_population(write_table(tmp_path / "other", rows)).other_shapes == 2


def test_a_window_without_lengths_takes_the_nearest(tmp_path):
    second = read_population(write_table(tmp_path)).clients[1]
    early, late = second.lengths
    assert second.lengths_at(1) == (early, True)
    assert second.lengths_at(35) == (early, True)
    assert second.lengths_at(36) == (early, False)  # 21600 s, past the end of the first
    assert second.lengths_at(60) == (late, False)
    assert second.lengths_at(72) == (late, True)
    assert second.lengths_at(143) == (late, False)


def test_a_longer_recording_has_a_period_of_whole_days(tmp_path):
    rows = ROWS + "\n7,86400,0.1,0.5,Gamma,4.0,2.5"
    assert read_population(write_table(tmp_path, rows)).period_s == 2 * 86400


def test_a_changed_file_is_read_again(tmp_path):
    assert len(read_population(write_table(tmp_path)).clients) == 2
    assert len(read_population(write_table(tmp_path, ROWS.splitlines()[0])).clients) == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("0,0,0.5,1.0,Gamma,1.0", "expected 7 fields, found 6"),
        ("x,0,0.5,1.0,Gamma,1.0,2.0", "client_id: not a whole number: 'x'"),
        ("0,-600,0.5,1.0,Gamma,1.0,2.0", "t_s: not a whole number: '-600'"),
        ("0,601,0.5,1.0,Gamma,1.0,2.0", "t_s: not a multiple of 600 s up to 31622400: 601"),
        ("0,0,nan,1.0,Gamma,1.0,2.0", "rate_rps: not a number from 0 to 1e+06: 'nan'"),
        ("0,0,-1,1.0,Gamma,1.0,2.0", "rate_rps: not a number from 0 to 1e+06: '-1'"),
        ("0,0,0.5,0,Gamma,1.0,2.0", "iat_cv: not a number from 0.001 to 100: '0'"),
        ("0,0,0.5,1.0,Pareto,1.0,2.0", "pattern: not one of Gamma, Weibull: 'Pareto'"),
        ("0,0,0.5,1.0,Gamma,,2.0", "shape: not a number from 0 to 1e+09: ''"),
    ],
)
def test_bad_rows_are_named(tmp_path, row, message):
    path = write_table(tmp_path, ROWS + "\n\n" + row)
    assert problems(path) == [f"{path}:7: {message}"]


def test_every_bad_row_of_both_files_is_named_at_once(tmp_path):
    bad = dict(pdf(7, 0), input_tokens={"value": [1, 2], "prob": [0.5]})
    worse = dict(pdf(7, 0), window_len_s="long")
    path = write_table(tmp_path, ROWS + "\n0,600,1,1,Gamma,1,1", [pdf(0, 0), bad, worse])
    beside = tmp_path / "x_pdfs.jsonl.gz"
    assert problems(path) == [
        f"{path}:6: t_s: a second row for this client and time",
        f"{beside}:2: input_tokens: 2 values but 1 probabilities",
        f"{beside}:3: window_len_s: Input should be a valid integer",
    ]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"input_tokens": {"value": [5], "prob": [0.9]}}, "probabilities add up to 0.9, not 1"),
        ({"input_tokens": {"value": [-5], "prob": [1.0]}}, "greater than or equal to 0"),
        ({"output_tokens": None}, "output_tokens"),
        ({"reason_ratio": {"prob": []}}, "at least 1 item"),
        ({"window_start_s": -1}, "window_start_s"),
        ({"window_start_s": 21000}, "overlaps another window of this client"),
    ],
)
def test_bad_lengths_are_named(tmp_path, wrong, message):
    path = write_table(tmp_path, pdfs=[*PDFS, dict(pdf(0, 21600), **wrong)])
    (problem,) = problems(path)
    assert f"{tmp_path / 'x_pdfs.jsonl.gz'}:4: " in problem
    assert message in problem


def test_a_list_of_bad_numbers_is_not_listed_in_full(tmp_path):
    many = dict(pdf(0, 21600), input_tokens={"value": [-1] * 500, "prob": [1 / 500] * 500})
    found = problems(write_table(tmp_path, pdfs=[*PDFS, many]))
    assert len(found) == 4
    assert found[-1].endswith("... and 497 more problems")


def test_another_header_or_no_traffic_is_refused(tmp_path):
    assert problems(write_table(tmp_path, header="client,t"))[0].endswith(f"the header {HEADER}")
    assert "no window with traffic" in problems(write_table(tmp_path, "0,0,0,0,,0,0"))[0]


def test_clients_without_lengths_are_named(tmp_path):
    assert problems(write_table(tmp_path, pdfs=PDFS[:1])) == [
        f"{tmp_path / 'x_pdfs.jsonl.gz'}: no lengths for clients that have traffic: 7"
    ]


def test_missing_lengths_are_asked_for(tmp_path):
    path = write_table(tmp_path)
    (tmp_path / "x_pdfs.jsonl.gz").rename(tmp_path / "elsewhere")
    assert "the lengths of these clients are missing" in problems(path)[0]
    assert len(read_population(path, tmp_path / "elsewhere").clients) == 2
    assert "no such file" in problems(path, tmp_path / "nowhere")[0]


def test_a_directory_needs_both_files_of_a_client(tmp_path):
    directory = write_chunks(tmp_path)
    assert "leave lengths_path out" in problems(directory, tmp_path)[0]
    (directory / "chunk-7-dataset.json").unlink()
    assert problems(directory) == [
        f"{directory / 'chunk-7-dataset.json'}: no such file beside its chunk-7-trace.csv"
    ]
    assert "no chunk-*-trace.csv" in problems(tmp_path)[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "expected an object whose keys are times"),
        ("{", "not JSON"),
        ('{"-1": {}}', "expected an object whose keys are times"),
        ('{"0": 5}', "0: expected an object of texts"),
        ('{"0": {"input_tokens": "5"}}', "0: input_tokens: expected a text like {39: 0.5"),
        ('{"0": {"input_tokens": "{5: x}"}}', "0: input_tokens: not a length and a prob"),
        ('{"0": {"input_tokens": "{5: nan}"}}', "0: input_tokens: not a finite number"),
        ('{"0": {"input_tokens": "{5.5: 1}"}}', "0: input_tokens: lengths must be whole"),
        ('{"0": {"input_tokens": "{5: 1}"}}', "0.output_tokens: Field required"),
        ('{"0": {"input_tokens": "{5: 2}", "output_tokens": "{5: 1}"}}', "less than or equal to 1"),
    ],
)
def test_bad_chunks_are_named(tmp_path, text, message):
    directory = write_chunks(tmp_path)
    path = directory / "chunk-0-dataset.json"
    path.write_text(text)
    found = problems(directory)
    assert found[0].startswith(f"{path}: ")
    assert message in found[0]


@settings(
    max_examples=90, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_a_damaged_file_is_read_or_refused(tmp_path, data):
    """Never anything but a population or an InputError that names the file."""
    at = data.draw(st.sampled_from(["x_windows.csv", "x_pdfs.jsonl.gz", "dataset.json"]))
    if at == "dataset.json":
        path = tmp_path / "deepseek-r1"
        path = path if path.exists() else write_chunks(tmp_path)
        file, keep = path / "chunk-0-dataset.json", b""
        whole = json.dumps({"0": {"input_tokens": "{5: 0.5, 6: 0.5}", "output_tokens": "{9: 1}"}})
    else:
        path = write_table(tmp_path)
        file, whole, keep = tmp_path / at, path.read_text(), b""
        if at != path.name:
            whole = json.dumps(pdf(0, 21600))
            keep = "".join(json.dumps(one) + "\n" for one in PDFS).encode()
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, len(whole)))
    damage = data.draw(st.binary(max_size=8))
    file.write_bytes(keep + whole[:start].encode() + damage + whole[end:].encode())
    try:
        read = read_population(path).expected_requests().sum()
    except InputError as error:
        read = [str(one) for one in error.problems]
    named = re.compile("x_windows.csv|x_pdfs.jsonl|chunk-0|deepseek-r1")
    assert all(named.search(one) for one in read) if isinstance(read, list) else read > 0
