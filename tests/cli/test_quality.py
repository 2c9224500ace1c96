import json
from collections.abc import Callable
from pathlib import Path

import pytest

from simulator.config.quality import load_preset

from .support import Outcome

Ponder = Callable[..., Outcome]

POINTS = """thinking_tokens,accuracy,control
500,0.0,forced
1000,0.133,forced
2000,0.30,forced
3933,0.433,forced
5301,0.50,forced
7320,0.567,forced
"""


def test_list(ponder: Ponder) -> None:
    table = ponder("quality", "list")
    assert table.code == 0
    assert "r1-distill-qwen-32b/aime24" in table.out
    rows = {row["preset"]: row for row in json.loads(ponder("quality", "list", "--json").out)}
    assert rows["s1-32b/aime24"]["identified"] is True
    assert rows["deepseek-r1/aime24"]["accuracy"] == 79.8


def test_show(ponder: Ponder) -> None:
    text = ponder("quality", "show", "r1-distill-qwen-7b/aime24")
    assert text.code == 0
    assert "sources:" in text.out
    assert "pass@64" in text.out
    shown = json.loads(ponder("quality", "show", "r1-distill-qwen-7b/aime24", "--json").out)
    natural = next(row for row in shown["follows"] if row["thinking_tokens"] == 11_680)
    assert natural["accuracy"] == pytest.approx(0.555, abs=1e-3)
    assert natural["accuracy"] < natural["maj@64"] < natural["pass@64"]


def test_fit_to_a_file_and_show_it(ponder: Ponder, workdir: Path) -> None:
    (workdir / "mine.csv").write_text(POINTS)
    fitted = ponder("quality", "fit", "mine.csv", "--name", "us", "--out", "us.yaml")
    assert fitted.code == 0
    assert "wrote us.yaml" in fitted.err
    preset = load_preset("us.yaml/mine")
    assert preset.identified
    assert preset.rmse_points is not None
    assert preset.rmse_points < 1.5
    assert preset.control == "forced"
    assert preset.standard_errors["ceiling"]
    assert preset.rho == 0.66
    assert ponder("quality", "show", "us.yaml").code == 0


def test_fit_of_counts_gives_rho(ponder: Ponder, workdir: Path) -> None:
    rows = [
        f"{tokens},{problem},{min(8, max(0, problem - offset))},8"
        for tokens, offset in ((1000, 6), (4000, 2), (9000, 0), (20_000, -1))
        for problem in range(12)
    ]
    (workdir / "counts.csv").write_text("\n".join(["thinking_tokens,problem,correct,total", *rows]))
    assert ponder("quality", "fit", "counts.csv", "--out", "c.yaml").code == 0
    preset = load_preset("c.yaml")
    assert 0.2 < preset.rho < 0.6
    assert "maximum likelihood over 12 problems at 4 lengths" in preset.sources["rho"]


def test_fit_of_one_point_borrows(ponder: Ponder, workdir: Path) -> None:
    (workdir / "one.csv").write_text("thinking_tokens,accuracy\n9000,0.62\n")
    outcome = ponder("quality", "fit", "one.csv", "--out", "one.yaml")
    assert outcome.code == 0
    assert "identified is false" in outcome.err
    preset = load_preset("one.yaml")
    assert not preset.identified
    assert preset.build().accuracy(9000) == pytest.approx(0.62, abs=1e-3)
    assert "shape of s1-32b/aime24" in preset.sources["curve"]


def test_a_forced_point_is_no_length_of_the_model_s_own(ponder: Ponder, workdir: Path) -> None:
    for control, tokens in (("forced", None), ("natural", 9000)):
        text = f"thinking_tokens,accuracy,control\n9000,0.62,{control}\n"
        (workdir / "one.csv").write_text(text)
        assert ponder("quality", "fit", "one.csv", "--out", "one.yaml").code == 0
        assert load_preset("one.yaml").reference_tokens == tokens


def test_fit_says_when_the_curve_does_not_suit(ponder: Ponder, workdir: Path) -> None:
    text = "thinking_tokens,accuracy\n500,0.6\n1000,0.2\n2000,0.7\n4000,0.1\n8000,0.5\n"
    (workdir / "odd.csv").write_text(text)
    outcome = ponder("quality", "fit", "odd.csv")
    assert outcome.code == 0
    assert "misses the points by" in outcome.err


def test_bad_data(ponder: Ponder, workdir: Path) -> None:
    (workdir / "bad.csv").write_text("thinking_tokens,accuracy\n-1,2\nx,0.5\n")
    outcome = ponder("quality", "fit", "bad.csv", "--like", "nobody", "--name", "No Name")
    assert outcome.code == 2
    assert [error[:40] for error in outcome.errors] == [
        "error: --name: must be lower-case letter",
        "error: --like: unknown quality preset 'n",
        "error: bad.csv:2: thinking_tokens: must ",
        "error: bad.csv:2: accuracy: must be from",
        "error: bad.csv:3: thinking_tokens: must ",
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "gpt-9"),
        ("show", "none.yaml"),
        ("fit", "none.csv"),
        ("fit", "good.csv", "--where", "model"),
        ("fit", "good.csv", "--where", "model=x"),
        ("fit", "one.csv", "--like", "gpt-4o/aime24"),
        ("check", "--points", "none.csv"),
        ("check", "--points", "good.csv"),
    ],
)
def test_bad_arguments(ponder: Ponder, workdir: Path, arguments: tuple[str, ...]) -> None:
    (workdir / "good.csv").write_text(POINTS)
    (workdir / "one.csv").write_text("thinking_tokens,accuracy\n9000,0.62\n")
    outcome = ponder("quality", *arguments)
    assert outcome.code == 2
    assert outcome.errors
    assert "Traceback" not in outcome.err


def test_check(ponder: Ponder, workdir: Path) -> None:
    text = ponder("quality", "check")
    assert text.code == 0
    assert "fitted to (5)" in text.out
    (workdir / "points.csv").write_text(
        "model,benchmark,control,mean_thinking_tokens,accuracy_pct\n"
        "s1-32B,MATH500,budget_forcing,499,64\ns1-32B,MATH500,budget_forcing,983,80\n"
        "s1-32B,MATH500,rejection,983,10\nnobody,MATH500,natural,983,10\n"
    )
    found = json.loads(ponder("quality", "check", "--points", "points.csv", "--json").out)
    assert [(row["preset"], row["points"]) for row in found["points"]] == [("s1-32b/math500", 2)]
    assert found["points"][0]["rmse_points"] < 1.5
    assert len(found["votes"]) >= 12
