"""The presets against the measurements they were made of, which lie outside the project."""

from pathlib import Path

import pytest
import yaml

from simulator.core_yaml import CoreLoader
from simulator.quality.published import Published
from simulator.quality.reproduction import check_points

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "workloads"
PRESETS = Path(__file__).resolve().parents[2] / "simulator" / "quality" / "presets"

pytestmark = pytest.mark.skipif(
    not (DATA / "accuracy_vs_tokens.csv").is_file(),
    reason="measured accuracies (../shared/data/workloads/accuracy_vs_tokens.csv) are absent",
)


def test_forced_series_within_two_points():
    forced = ("budget_forcing", "wait_and_think_more")
    rows = [
        row
        for row in check_points(DATA / "accuracy_vs_tokens.csv")
        if row["control"] in forced and row["points"] >= 3
    ]
    assert {row["preset"] for row in rows} == {
        "s1-32b/aime24",
        "s1-32b/math500",
        "s1-32b/gpqa-diamond",
        "r1-distill-ghosal/gsm8k",
    }
    for row in rows:
        assert row["rmse_points"] <= 2.0, row


def test_natural_lengths_too():
    rows = [row for row in check_points(DATA / "accuracy_vs_tokens.csv") if row["points"] == 1]
    assert len(rows) >= 9
    for row in rows:
        assert row["rmse_points"] <= 1.0, row


def test_presets_are_what_the_measurements_give():
    made = {preset["name"]: preset for preset in Published(DATA).presets()}
    kept = {
        path.stem: yaml.load(path.read_text(encoding="utf-8"), Loader=CoreLoader)
        for path in PRESETS.glob("*.yaml")
    }
    assert set(made) == set(kept)
    for name, preset in made.items():
        assert kept[name] == _about(preset), name


def _about(data):
    """The same with numbers to three digits: optimisers differ in the last ones."""
    if isinstance(data, dict):
        return {key: _about(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_about(item) for item in data]
    if isinstance(data, float | int) and not isinstance(data, bool):
        return pytest.approx(data, rel=2e-3, abs=2e-3)
    return data
