"""The measured points that ponder is developed against, where they are at hand."""

import csv
import io
from pathlib import Path

import pytest

from simulator.studies.validation.lengths import read_histograms
from simulator.studies.validation.points import read_points
from simulator.studies.validation.study import report_csv, select, validate

TRUTH = Path(__file__).parents[2] / "../shared/data/truth"

pytestmark = pytest.mark.skipif(
    not (TRUTH / "dev_points.csv").is_file(),
    reason="needs ../shared/data/truth/dev_points.csv, which is absent",
)


@pytest.fixture(scope="module")
def points():
    return read_points(TRUTH / "dev_points.csv")


def test_every_row_has_a_line_in_the_report(points):
    few = points.rows[::40]  # of every source
    rows = list(csv.DictReader(io.StringIO(report_csv(validate(few, points.metrics, workers=1)))))
    assert [row["id"] for row in rows] == [point.id for point in few]
    for row, point in zip(rows, few, strict=True):
        assert row["status"] in ("ok", "approximate", "unsupported")
        assert row["reason"] or row["status"] == "ok"
        for metric in point.measured:
            assert bool(row[f"{metric}_pred"]) == bool(row[f"{metric}_rel_err"])
        assert row["output_tps_pred"] or row["status"] == "unsupported"


def test_dense_ml_energy_rows_on_the_h100_stay_close(points):
    histograms = read_histograms(TRUTH / "dev_output_length_histograms.json")
    rows = [point for point in select(points.rows, "ml.energy*") if "Llama" in point.model]
    made = validate(rows[::3], points.metrics, histograms, workers=1)
    for point, prediction in zip(made.points, made.predictions, strict=True):
        assert prediction.values["itl_median_ms"] == pytest.approx(
            point.measured["itl_median_ms"], rel=0.25
        )
        assert prediction.values["avg_running"] == pytest.approx(
            point.measured["avg_running"], rel=0.12
        )
