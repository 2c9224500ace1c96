"""`ponder articles`, its experiments and its page in the docs."""

import json
from pathlib import Path

import pytest

from simulator import load_experiment
from simulator.studies.articles import STUDIES

ROOT = Path(__file__).parents[2]
EXPERIMENTS = sorted((ROOT / "experiments" / "articles").glob("*.yaml"))
PAGE = (ROOT / "docs" / "articles.md").read_text(encoding="utf-8")


def test_list(ponder):
    listed = json.loads(ponder("articles", "--list", "--json").out)
    assert [row["name"] for row in listed] == list(STUDIES)
    table = ponder("articles", "--list")
    assert table.code == 0
    assert all(name in table.out for name in STUDIES)


def test_only_one_as_json(ponder):
    rows = json.loads(ponder("articles", "--only", "voting", "--json").out)
    assert {row["study"] for row in rows} == {"voting"}
    assert [row["verdict"] for row in rows] == ["reproduced", "article wrong", "reproduced"]
    assert set(rows[0]) == {"study", "claim", "article", "ours", "verdict", "note"}


def test_a_table(ponder):
    shown = ponder("articles", "--only", "routing", "--only", "kv_memory")
    assert shown.code == 0
    assert "not reproduced" not in shown.out
    assert "4.4x to 4.8x" in " ".join(shown.out.split())


def test_a_study_that_simulates(ponder):
    rows = json.loads(ponder("articles", "--only", "kv_runs", "--json").out)
    assert [row["ours"] for row in rows] == ["130", "55", "16", "3"]


def test_unknown_study(ponder):
    shown = ponder("articles", "--only", "voting", "--only", "astrology")
    assert shown.code == 2
    assert len(shown.errors) == 1
    assert "unknown study 'astrology'; known: kv_memory, " in shown.errors[0]


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_experiment_says_what_to_look_at(path):
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert "# What to look at: " in text
    assert f"experiments/articles/{path.name}" in text
    assert load_experiment(path).name == f"article-{path.stem.replace('_', '-')}"


def test_every_experiment_belongs_to_a_study():
    code = "".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "simulator" / "studies" / "articles").glob("*.py")
    )
    assert len(EXPERIMENTS) == 6
    for path in EXPERIMENTS:
        assert f'"{path.stem}"' in code


def test_the_page_shows_what_comes_out(ponder):
    """Of studies that are arithmetic; the others are on the page too."""
    arithmetic = [name for name, study in STUDIES.items() if not study.simulates]
    only = [word for name in arithmetic for word in ("--only", name)]
    for line in ponder("articles", "--markdown", *only).out.splitlines():
        assert line in PAGE
    assert all(f"ponder articles --only {name}`" in PAGE for name in STUDIES)
