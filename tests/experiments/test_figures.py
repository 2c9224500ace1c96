"""The table in experiments/policies/README.md is true, and the files say what it says."""

import re
import shlex

import pytest

from simulator import load_experiment
from tests.experiments.runs import FIGURE, POLICIES, README, figure, rows, summary

FILES = sorted(POLICIES.glob("*.yaml"))
ROWS = rows()


def value(text):
    return float(text.replace(",", ""))


def header(path):
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.name}-{row.overrides[0][:60]}")
def test_commands_give_the_figures_beside_them(row):
    assert row.figures
    before, after = summary(row.name), summary(row.name, *row.overrides)
    for what, first, second in row.figures:
        measured = [f"{figure(shown, what):.3g}" for shown in (before, after)]
        assert measured == [f"{value(first):.3g}", f"{value(second):.3g}"], what


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_says_what_its_rows_say(path):
    lines = header(path)
    text = re.sub(r"\s+", " ", " ".join(line.lstrip("# ") for line in lines))
    for part in ("Load: ", "Paper: ", "What to look at: "):
        assert f" {part}" in text
    assert f"ponder run experiments/policies/{path.name}" in text
    mine = {figures[1:] for row in ROWS if row.name == path.stem for figures in row.figures}
    said = re.findall(r"(\d[\d.,]*\d) → (\d[\d.,]*\d)", text)
    assert said
    assert {tuple(map(value, each)) for each in said} <= {tuple(map(value, each)) for each in mine}
    assert FIGURE.search(text)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_command_in_a_file_is_one(path):
    commands = [line for line in header(path) if "--set " in line and line.startswith("#   ")]
    assert commands
    for line in commands:
        words = shlex.split(re.sub(r"  +\(.*$", "", line[1:].strip()))
        assert words[0::2] == ["--set"] * (len(words) // 2)
        load_experiment(path, words[1::2])


def test_all_files_are_in_the_table():
    assert {row.name for row in ROWS} == {path.stem for path in FILES}
    links = set(re.findall(r"\]\((\w+\.yaml)\)", README.read_text(encoding="utf-8")))
    assert links == {path.name for path in FILES}
