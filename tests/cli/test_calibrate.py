"""`ponder calibrate`: residuals printed, a profile written, bad input refused with the reason."""

import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest

from .support import Outcome

Ponder = Callable[..., Outcome]
FOLDER = Path(str(files("hardware_profiles"))) / "measurements"
CSV = str(sorted(FOLDER.glob("h100*.csv"))[0])


def test_a_csv_becomes_a_profile(workdir: Path, ponder: Ponder) -> None:
    outcome = ponder(
        "calibrate", "--from", CSV, "--base", "h100-sxm", "--name", "mine", "--op", "gemm",
        "--out", "mine.yaml", "--plot", "residuals.png",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert "gemm bf16" in outcome.out
    assert "m 65 to 256" in outcome.out
    assert "kept as they are" in outcome.err
    assert 'name: "mine"' in (workdir / "mine.yaml").read_text()
    assert (workdir / "residuals.png").stat().st_size > 10_000
    good = (workdir / "good.yaml").read_text().replace("gpu: h100-sxm", "gpu: mine.yaml")
    (workdir / "with_mine.yaml").write_text(good)
    ran = ponder("run", "with_mine.yaml", "--out", "result")
    assert ran.code == 0, ran.err


def test_a_profile_is_checked_against_measurements(workdir: Path, ponder: Ponder) -> None:
    arguments = ("calibrate", "--from", CSV, "--base", "h100-sxm", "--check", "--op", "gemm")
    outcome = ponder(*arguments, "--json")
    assert outcome.code == 0, outcome.err
    rows = json.loads(outcome.out)
    whole = next(row for row in rows if row["shape_class"] == "all that are judged")
    assert whole["table"] == "gemm bf16"
    assert whole["n"] > 1000
    assert 0 < whole["mape"] < 7
    assert ponder(*arguments, "--out", "x.yaml").code == 2


def test_a_gpu_without_tables_borrows_its_kernels(workdir: Path, ponder: Ponder) -> None:
    outcome = ponder("calibrate", "l40s", "--out", "l40s.yaml")
    assert outcome.code == 0, outcome.err
    assert "its kernels are those of a100-sxm-80gb and h100-sxm" in outcome.err
    assert (workdir / "l40s.yaml").is_file()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "give either a GPU, or --from CSV with --base GPU"),
        (("h100-sxm", "--from", CSV), "give either a GPU, or --from"),
        (("--from", CSV), "--from needs --base"),
        (("--from", CSV, "--base", "h100-sxm", "--tables", "."), "--tables goes with a GPU"),
        (("--from", "absent.csv", "--base", "h100-sxm"), "absent.csv: cannot be read"),
        (("h100-sxm", "--base", "h100-sxm"), "--base, --name and --check go with --from"),
        (("tpu",), "unknown GPU 'tpu'"),
        (("h100-sxm", "--tables", "absent"), "--tables absent: neither a wheel nor a folder"),
        (("h100-sxm", "--tables", "."), "no kernel tables in .: run `pip download"),
    ],
)
def test_bad_input(
    workdir: Path, ponder: Ponder, arguments: tuple[str, ...], expected: str
) -> None:
    outcome = ponder("calibrate", *arguments)
    assert outcome.code == 2
    assert len(outcome.errors) == 1
    assert outcome.errors[0].startswith(f"error: {expected}")
