"""Reading a points file: what it may hold, and every problem with its line and column."""

import pytest

from simulator import InputError
from simulator.studies.validation.points import is_metric, leading_number, read_points
from simulator.studies.validation.study import select
from tests.validation_rows import HEADER, ROW, points_csv


@pytest.fixture
def write(tmp_path):
    def to_file(text, encoding="utf-8"):
        path = tmp_path / "points.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return to_file


def problems(path):
    with pytest.raises(InputError) as caught:
        read_points(path)
    return [str(problem).replace(str(path), "points.csv") for problem in caught.value.problems]


def test_a_row_becomes_a_point(write):
    points = read_points(write(points_csv({"max_num_seqs": "1024 (default)", "ttft_mean_ms": ""})))
    (point,) = points.rows
    assert (point.id, point.line, point.gpus, point.tp) == ("made-up-1", 2, 1, 1)
    assert point.max_num_seqs == 1024
    assert point.pp is None
    assert point.request_rate == float("inf")
    assert point.measured == {"output_tps": 2000.0, "itl_median_ms": 10.0}
    assert (point.isl_fixed, point.osl_fixed) == (500.0, 50.0)
    assert points.metrics == (
        "duration_s",
        "output_tps",
        "ttft_mean_ms",
        "tpot_mean_ms",
        "itl_median_ms",
        "avg_running",
        "avg_power_w",
    )


def test_names_of_data_sets_are_no_lengths(write):
    row = {"isl_nominal": "ShareGPT", "osl_nominal": "natural EOS (cap 4096)"}
    (point,) = read_points(write(points_csv(row))).rows
    assert (point.isl_fixed, point.osl_fixed) == (None, None)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1024 (default)", 1024.0),
        (" 0.80 ", 0.8),
        ("1e3 tokens", 1000.0),
        ("inf", float("inf")),
        ("8192x", 8192.0),
        ("MLPerf", None),
        ("-5", None),
        ("", None),
    ],
)
def test_numbers_are_read_from_the_leading_digits(text, value):
    assert leading_number(text) == value


def test_columns_in_any_order_unknown_ones_ignored_optional_ones_absent(write):
    columns = ["colour", "ttft_p95_ms", "load_mode", "gpus", "src", "id", "hardware", "model"]
    columns += ["weights", "engine_version", "engine"]
    cells = [ROW.get(column, "7") for column in columns]
    (point,) = read_points(write(",".join(columns) + "\n" + ",".join(cells) + "\n")).rows
    assert point.measured == {"ttft_p95_ms": 7.0}
    assert point.max_num_seqs is None


def test_quoted_cells_and_blank_lines_keep_the_line_numbers(write):
    text = points_csv({"notes": "first\nsecond", "unclear": 'a "b", c'}, {"gpus": "many"})
    text = text.replace("\nmade-up-2", "\n\nmade-up-2")
    assert problems(write(text)) == [
        "points.csv:5: gpus: must start with a number, not 'many'",
    ]


def test_a_byte_order_mark_is_no_part_of_a_name(write):
    assert read_points(write(points_csv(), "utf-8-sig")).rows[0].id == "made-up-1"


def test_missing_columns_are_all_named(write):
    assert problems(write(points_csv(drop=("gpus", "engine", "quality")))) == [
        "points.csv:1: gpus: column is missing",
        "points.csv:1: engine: column is missing",
    ]


def test_every_problem_at_once(write):
    text = points_csv(
        {"gpus": "0", "tp": "1.5", "output_tps": "fast", "itl_median_ms": "inf"},
        {"model": "", "osl_mean": "~300"},
        {"id": "made-up-1"},
    )
    text += "too,short\n"
    assert problems(write(text)) == [
        "points.csv:2: gpus: must be a whole number above 0, not 0",
        "points.csv:2: tp: must be a whole number above 0, not 1.5",
        "points.csv:2: output_tps: must start with a number, not 'fast'",
        "points.csv:2: itl_median_ms: must be finite",
        "points.csv:3: model: is empty",
        "points.csv:3: osl_mean: must start with a number, not '~300'",
        "points.csv:4: id: 'made-up-1' is already on line 2",
        f"points.csv:5: has 2 cells, the header has {len(HEADER)}",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "points.csv:1: id: column is missing"),
        (points_csv().splitlines()[0] + "\n", "points.csv: holds no points"),
        (points_csv().replace("id,", "id,id,", 1), "points.csv:1: id: column is there twice"),
        (points_csv({"notes": "x"}) + 'a"b"c,"', "points.csv: is not a CSV file"),
    ],
)
def test_files_that_are_no_points(write, text, message):
    assert problems(write(text))[0].startswith(message)


def test_files_that_cannot_be_read(tmp_path, write):
    assert problems(tmp_path / "absent.csv")[0].endswith("No such file or directory")
    assert "is not a CSV file in UTF-8" in problems(write(points_csv({"notes": "ü"}), "latin-1"))[0]


def test_metrics_are_known_by_their_names():
    assert all(map(is_metric, ["ttft_p99_ms", "e2el_mean_ms", "avg_power_w", "output_tps"]))
    assert not any(map(is_metric, ["ttft_ms", "isl_mean", "itl_max_ms", "notes"]))


def test_rows_are_chosen_by_source_and_id(write):
    rows = read_points(write(points_csv({"src": "a"}, {"src": "a"}, {"src": "b"}))).rows
    assert [point.id for point in select(rows, "a")] == ["made-up-1", "made-up-2"]
    assert [point.id for point in select(rows, "*/made-up-[23]")] == ["made-up-2", "made-up-3"]
    assert [point.id for point in select(rows, "made-up-3")] == ["made-up-3"]
    with pytest.raises(InputError, match="no row matches 'c/\\*'; sources: a, b"):
        select(rows, "c/*")
