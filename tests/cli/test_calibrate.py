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


def _gemm_csv(folder: Path, change: Callable[[list[str], list[str]], list[str]]) -> str:
    """The committed measurements with the fields of every row changed by `change(names, row)`."""
    lines = Path(CSV).read_text(encoding="utf-8").splitlines()
    notes = [line for line in lines if line.startswith("#")]
    names, *rows = [line.split(",") for line in lines if not line.startswith("#")]
    changed = [",".join(change(names, row)) for row in [names, *rows]]
    (folder / "changed.csv").write_text("\n".join([*notes, *changed]) + "\n", encoding="utf-8")
    return "changed.csv"


def test_microseconds_in_the_column_of_milliseconds_are_noticed(
    workdir: Path, ponder: Ponder
) -> None:
    def in_us(names: list[str], row: list[str]) -> list[str]:
        at = names.index("latency_ms")
        return row if row is names else [*row[:at], str(1000 * float(row[at])), *row[at + 1 :]]

    csv = _gemm_csv(workdir, in_us)
    outcome = ponder("calibrate", "--from", csv, "--base", "h100-sxm", "--op", "gemm")
    assert outcome.code == 2
    assert "is latency_ms in milliseconds" in outcome.err


def test_products_without_their_width_are_refused(workdir: Path, ponder: Ponder) -> None:
    def without_n(names: list[str], row: list[str]) -> list[str]:
        at = names.index("n")
        return [*row[:at], *row[at + 1 :]]

    csv = _gemm_csv(workdir, without_n)
    outcome = ponder("calibrate", "--from", csv, "--base", "h100-sxm", "--op", "gemm")
    assert outcome.code == 2
    assert "too few to fit" in outcome.err
