"""What is said of errors: the report, the summaries, the bars, the pictures."""

import csv
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.figure import Figure

from simulator.studies.validation.errors import (
    BARS,
    error_table,
    judge_bars,
    summarise_errors,
    unsupported_reasons,
)
from simulator.studies.validation.html import render_validation_html
from simulator.studies.validation.predict import Prediction
from simulator.studies.validation.scatter import render_scatters, scatter
from simulator.studies.validation.study import Validation, relative_error, report_csv
from simulator.studies.validation.tables import status_line, summary_tables
from tests.validation_rows import ML_ENERGY, POINT

METRICS = ("output_tps", "itl_median_ms", "avg_running")


def made(point, status="ok", factor=1.0, **facts):
    values = {name: value * factor for name, value in point.measured.items()}
    known = {"engine": "vllm", "model": "llama-3.1-8b", "gpu": "h100-sxm"}
    return Prediction(point.id, status, values=values, **(known | facts))


@pytest.fixture
def validation():
    points = [
        replace(ML_ENERGY, id="a"),
        replace(ML_ENERGY, id="b"),
        replace(ML_ENERGY, id="c", measured={"output_tps": 10.0, "avg_running": 8.0}),
        replace(POINT, id="d"),
        replace(POINT, id="e", model="Nobody-7B"),
        replace(POINT, id="f", model="Nobody-8B"),
    ]
    predictions = [
        made(points[0], factor=1.1),
        made(points[1], factor=0.8),
        made(points[2], factor=1.0, mixture=True),
        made(points[3], "approximate", 1.5, fixed_lengths=True, calibrated=True),
        Prediction("e", "unsupported", "model not catalogued: Nobody-7B"),
        Prediction("f", "unsupported", "model not catalogued: Nobody-7B"),
    ]
    return Validation(points, predictions, METRICS)


def test_the_report_has_a_line_a_row_and_two_columns_a_metric(validation):
    rows = list(csv.reader(io.StringIO(report_csv(validation))))
    pairs = [f"{metric}_{kind}" for metric in METRICS for kind in ("pred", "rel_err")]
    assert rows[0] == ["id", "status", "reason", *pairs]
    assert [row[0] for row in rows[1:]] == ["a", "b", "c", "d", "e", "f"]
    assert rows[1][1:5] == ["ok", "", "1650", "0.1"]
    assert rows[3][5:7] == ["", ""], "not measured, not predicted"
    assert rows[5][1:] == ["unsupported", "model not catalogued: Nobody-7B", *[""] * 6]


def test_relative_errors_are_signed_fractions_of_the_measurement():
    assert relative_error(90.0, 100.0) == pytest.approx(-0.1)
    assert relative_error(None, 100.0) is None
    assert relative_error(90.0, None) is None
    assert relative_error(90.0, 0.0) is None


def test_summaries(validation):
    errors = error_table(validation)
    assert len(errors) == 3 + 3 + 2 + 2
    summary = summarise_errors(errors, ["src", "metric"]).set_index(["src", "metric"])
    row = summary.loc[("ml.energy-v3", "itl_median_ms")]
    assert row["n"] == 2
    assert row["mape"] == pytest.approx(0.15)
    assert row["median"] == pytest.approx(0.15)
    assert row["bias"] == pytest.approx(-0.05)


def test_each_value_counts_for_the_bar_it_belongs_to(validation):
    verdicts = {(v.bar.name, v.metric): v for v in judge_bars(error_table(validation))}
    dense = verdicts[BARS[0].name, "itl_median_ms"]
    assert (dense.n, dense.met) == (2, False)
    assert dense.median == pytest.approx(0.15)
    mixture = verdicts[BARS[1].name, "output_tps"]
    assert (mixture.n, mixture.median, mixture.met) == (1, 0.0, True)
    assert verdicts[BARS[1].name, "itl_median_ms"].met is None
    assert verdicts[BARS[2].name, "output_tps"].n == 1
    limited = verdicts[BARS[3].name, "avg_running"]
    assert (limited.n, limited.met) == (1, True), "8 of 16 seats ran: the cache was full"
    other_gpu = [replace(p, gpu="h200-sxm") for p in validation.predictions]
    moved = judge_bars(error_table(replace(validation, predictions=other_gpu)))
    assert moved[0].n == 0


def test_reasons_are_counted(validation):
    assert unsupported_reasons(validation) == [("model not catalogued: Nobody-7B", 2)]
    assert status_line(validation) == "6 rows: 3 ok, 1 approximate, 2 unsupported"


def test_tables_say_a_group_once(validation):
    tables = {table.title: table for table in summary_tables(validation)}
    by_source = tables["Errors by source"]
    assert by_source.heads == ("source", "metric", "n", "MAPE", "median", "bias")
    assert [row[0] for row in by_source.rows] == ["made-up", "", "ml.energy-v3", "", ""]
    assert by_source.rows[3][1:] == ("itl_median_ms", "2", "15.0 %", "15.0 %", "-5.0 %")
    assert tables["Rows not simulated"].rows == [("model not catalogued: Nobody-7B", "2")]
    assert [row[0] for row in tables["Errors by metric"].rows] == list(METRICS)


def test_nothing_simulated_leaves_only_the_reasons(validation):
    nothing = Validation(validation.points[4:], validation.predictions[4:], METRICS)
    titles = [table.title for table in summary_tables(nothing)]
    assert titles == ["Median absolute error against the bars", "Rows not simulated"]
    assert render_scatters(error_table(nothing)) == {}
    assert "Nobody-7B" in render_validation_html(nothing, {}, "x.csv")


def test_the_scatter_shows_every_prediction(validation):
    ax = Figure().add_subplot()
    assert scatter(error_table(validation), "output_tps", ax) is ax
    shown = np.concatenate([c.get_offsets() for c in ax.collections[1:]])
    assert len(shown) == 4
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["made-up: 1, 50 %", "ml.energy-v3: 3, 10 %"]
    assert ax.get_xlim() == ax.get_ylim()


def test_pictures_are_the_same_bytes_every_time(validation):
    errors = error_table(validation)
    first, second = render_scatters(errors), render_scatters(errors)
    assert set(first) == set(METRICS)
    assert first == second


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        self.found += [value for name, value in attributes if name in ("src", "href")]


def test_the_page_needs_no_other_file_and_escapes_what_it_shows(validation):
    odd = replace(validation.predictions[4], reason="<script>alert(1)</script>")
    validation = replace(validation, predictions=[*validation.predictions[:4], odd, odd])
    page = render_validation_html(validation, {"output_tps": b"png"}, "points.csv")
    links = Links()
    links.feed(page)
    assert links.found
    assert all(link.startswith("data:image/png;base64,") for link in links.found)
    assert "<script>" not in page
    assert "6 rows: 3 ok, 1 approximate, 2 unsupported" in page
    assert re.search(r"-20\.0 %", page)
