"""The quickstart says today what it said before; see tests/golden/update.py to renew it."""

import json

import pytest

from tests.golden import update


@pytest.fixture(scope="module")
def result():
    return update.quickstart()


def test_counts_are_unchanged(result):
    expected = json.loads(update.SUMMARY.read_text(encoding="utf-8"))["exactly"]
    assert update.summary(result)["exactly"] == expected


def test_measures_are_unchanged(result):
    expected = json.loads(update.SUMMARY.read_text(encoding="utf-8"))["to_1e-9"]
    assert update.summary(result)["to_1e-9"] == pytest.approx(expected, rel=1e-9)


def test_the_table_is_unchanged(result):
    expected = update.TABLE.read_text(encoding="utf-8")
    assert update.table(result).splitlines() == expected.splitlines()


def test_the_readme_shows_this_table():
    readme = (update.EXPERIMENT.parents[1] / "README.md").read_text(encoding="utf-8")
    assert update.TABLE.read_text(encoding="utf-8").strip() in readme
