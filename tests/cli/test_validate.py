"""`ponder validate`: points files, results of vllm bench, fits, and their bad inputs."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from simulator import load_experiment, run
from simulator.exports.vllm_json import vllm_bench_result, write_json
from tests.validation_rows import points_csv

from .support import Outcome

Ponder = Callable[..., Outcome]

HISTOGRAMS = {
    "hist": {
        "lm-arena-chat|meta-llama/Llama-3.1-8B-Instruct|h100|1|8": {
            "bins": [2, 50, 400],
            "counts": [40, 24],
        }
    }
}
ML_ENERGY = {
    "src": "ml.energy-v3",
    "load_mode": "all num_prompts at t=0; output_tps over steady window [...]",
    "max_num_seqs": "8",
    "num_prompts": "64",
    "isl_nominal": "LMArena chat prompts",
    "osl_nominal": "natural EOS (cap 4096)",
    "isl_mean": "",
    "osl_mean": "90",
    "avg_running": "7.9",
}


@pytest.fixture
def points(workdir: Path) -> Path:
    """Three rows that can be simulated, two that cannot, and histograms beside them."""
    (workdir / "h.json").write_text(json.dumps(HISTOGRAMS))
    text = points_csv(
        {},
        ML_ENERGY,
        {"src": "other", "model": "Nobody-7B"},
        {"src": "other", "load_mode": "closed loop", "concurrency": "4", "num_prompts": "40"},
        {"src": "other", "pd_config": "1P1D"},
    )
    (workdir / "points.csv").write_text(text)
    return workdir / "points.csv"


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.open()))


def test_every_row_is_reported(ponder: Ponder, points: Path) -> None:
    outcome = ponder("validate", "points.csv", "--histograms", "h.json", "--out", "report.csv")
    assert outcome.code == 0, outcome.err
    rows = rows_of(points.parent / "report.csv")
    assert [row["id"] for row in rows] == [f"made-up-{n}" for n in range(1, 6)]
    assert [row["status"] == "unsupported" for row in rows] == [False, False, True, False, True]
    assert rows[2]["reason"] == "model not catalogued: Nobody-7B"
    for row in rows:
        if row["status"] != "unsupported":
            error = float(row["output_tps_pred"]) / 2000 - 1
            assert float(row["output_tps_rel_err"]) == pytest.approx(error, abs=1e-4)
    assert "model not catalogued: Nobody-7B" in outcome.out
    assert "5 rows: " in outcome.out
    assert "2 unsupported" in outcome.out
    assert "Median absolute error against the bars" in outcome.out
    assert outcome.err == ""


def test_the_bytes_do_not_depend_on_the_workers(ponder: Ponder, points: Path) -> None:
    for workers in ("1", "2"):
        args = ["--out", f"{workers}.csv", "--html", f"{workers}.html", "--workers", workers]
        outcome = ponder("validate", "points.csv", "--histograms", "h.json", *args)
        assert outcome.code == 0, outcome.err
    for suffix in ("csv", "html"):
        one, two = (points.parent / f"{n}.{suffix}" for n in (1, 2))
        assert one.read_bytes() == two.read_bytes()


def test_plots_and_page(ponder: Ponder, points: Path) -> None:
    args = ["--plots", "deep/plots", "--html", "report.html", "--only", "made-up"]
    assert ponder("validate", "points.csv", *args).code == 0
    names = {path.name for path in (points.parent / "deep/plots").iterdir()}
    assert names == {"output_tps.png", "itl_median_ms.png"}
    assert "made-up-1" in (points.parent / "report.html").read_text()
    assert "made-up-2" not in (points.parent / "report.html").read_text()


def test_only_some_rows(ponder: Ponder, points: Path) -> None:
    outcome = ponder("validate", "points.csv", "--only", "other/*", "--out", "r.csv")
    assert outcome.code == 0
    assert [row["id"] for row in rows_of(points.parent / "r.csv")] == [
        "made-up-3",
        "made-up-4",
        "made-up-5",
    ]
    nothing = ponder("validate", "points.csv", "--only", "x*")
    assert (nothing.code, nothing.errors) == (
        2,
        ["error: no row matches 'x*'; sources: made-up, ml.energy-v3, other"],
    )


def test_bad_files_say_where(ponder: Ponder, points: Path) -> None:
    points.write_text(points_csv({"gpus": "x", "tp": "0"}))
    outcome = ponder("validate", "points.csv", "--out", "r.csv")
    assert outcome.code == 2
    assert outcome.errors == [
        "error: points.csv:2: gpus: must start with a number, not 'x'",
        "error: points.csv:2: tp: must be a whole number above 0, not 0",
    ]
    assert not (points.parent / "r.csv").exists()
    absent = ponder("validate", "absent.csv")
    assert absent.errors == ["error: absent.csv: cannot be read: No such file or directory"]
    (points.parent / "h.json").write_text("{}")
    points.write_text(points_csv())
    bad = ponder("validate", "points.csv", "--histograms", "h.json")
    assert bad.errors == ['error: h.json: must be JSON with a mapping under "hist"']


@pytest.fixture
def bench(workdir: Path) -> Path:
    write_json(
        vllm_bench_result(run(load_experiment(workdir / "good.yaml")), detailed=True),
        workdir / "bench.json",
    )
    return workdir / "bench.json"


def test_a_run_of_vllm_bench(ponder: Ponder, bench: Path) -> None:
    outcome = ponder("validate", "bench.json", "--experiment", "good.yaml", "--out", "r.csv")
    assert outcome.code == 0, outcome.err
    (row,) = rows_of(bench.parent / "r.csv")
    assert row["id"] == "bench"
    assert abs(float(row["itl_median_ms_rel_err"])) < 1e-6
    assert abs(float(row["ttft_p99_ms_rel_err"])) < 1e-6
    assert "sent at the file's start_times" in outcome.out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["bench.json"], "needs --experiment"),
        (["bench.json", "--experiment", "good.yaml", "--only", "x"], "go with a points file"),
        (["points.csv", "--experiment", "good.yaml"], "goes with the JSON file"),
        (["points.csv", "--fit", "gpu"], "'gpu' is not one of 'host', 'power'"),
        (["points.csv", "--fit", "power", "--constants", "iteration"], "--fit host"),
        (["bench.json", "--experiment", "good.yaml", "--fit", "power"], "has no power"),
        (["points.csv", "--fit", "host", "--constants", "speed"], "unknown ['speed']"),
        (["points.csv", "--workers", "0"], "0 is not in the range"),
    ],
)
def test_options_that_do_not_go_together(
    ponder: Ponder, points: Path, args: list[str], message: str
) -> None:
    outcome = ponder("validate", *args)
    assert outcome.code == 2
    assert message in outcome.err
    assert "Traceback" not in outcome.err


def test_a_bad_experiment_says_where(ponder: Ponder, bench: Path) -> None:
    (bench.parent / "good.yaml").write_text("name: x\n")
    outcome = ponder("validate", "bench.json", "--experiment", "good.yaml")
    assert outcome.code == 2
    assert any("pools: is required" in line for line in outcome.errors)


def test_fit_prints_constants_and_writes_a_profile(ponder: Ponder, points: Path) -> None:
    seats = [{"max_num_seqs": str(n), "num_prompts": str(2 * n)} for n in (4, 16, 64)]
    points.write_text(points_csv(*seats))
    args = ["--fit", "host", "--constants", "iteration", "--out", "mine.yaml"]
    outcome = ponder("validate", "points.csv", *args)
    assert outcome.code == 0, outcome.err
    assert "Constants: h100-sxm, vllm-0.11, sync scheduling, 3 runs" in outcome.out
    snippet = yaml.safe_load(outcome.out[outcome.out.index("engines:") :])
    value = snippet["engines"]["vllm-0.11"]["sync"]["iteration"]["value"]
    written = yaml.safe_load((points.parent / "mine.yaml").read_text())
    assert written["engines"]["vllm-0.11"]["sync"]["iteration"]["value"] == pytest.approx(
        value, rel=1e-3
    )
    good = (points.parent / "good.yaml").read_text().replace("gpu: h100-sxm", "gpu: mine.yaml")
    (points.parent / "mine-experiment.yaml").write_text(good)
    assert load_experiment(points.parent / "mine-experiment.yaml")


def test_fit_of_power_prints_energies_and_writes_a_profile(ponder: Ponder, points: Path) -> None:
    models = {"4": "meta-llama/Llama-3.1-8B", "16": "Qwen/Qwen3-8B", "64": "Qwen/Qwen3-8B"}
    points.write_text(
        points_csv(
            *(
                {"model": model, "max_num_seqs": seats, "num_prompts": seats, "avg_power_w": "400"}
                for seats, model in models.items()
            )
        )
    )
    outcome = ponder("validate", "points.csv", "--fit", "power", "--out", "mine.yaml")
    assert outcome.code == 0, outcome.err
    assert "Energies: h100-sxm, 3 runs" in outcome.out
    assert "each model by the others" in outcome.out
    snippet = yaml.safe_load(outcome.out[outcome.out.index("power:\n") :])
    written = yaml.safe_load((points.parent / "mine.yaml").read_text())
    assert set(snippet["power"]) == {"energy_per_byte", "energy_per_flop"}
    for name, energy in snippet["power"].items():
        assert written["power"][name]["value"] == energy["value"]
    rest = ponder("validate", "points.csv", "--fit", "power", "--only", "*-1")
    assert rest.errors == ["error: nothing to fit to: no 3 rows with avg_power_w can be simulated"]


def test_fit_needs_rows(ponder: Ponder, points: Path) -> None:
    outcome = ponder("validate", "points.csv", "--fit", "host", "--only", "other/*")
    assert outcome.errors == ["error: nothing to fit to: no 3 vLLM rows can be simulated"]


def test_what_cannot_be_written_is_said_before_anything_is_simulated(
    ponder: Ponder, points: Path
) -> None:
    outcome = ponder("validate", "points.csv", "--out", "nowhere/report.csv")
    assert outcome.code == 2
    assert "no such folder: nowhere" in outcome.err


def test_constants_are_for_fits(ponder: Ponder, points: Path) -> None:
    outcome = ponder("validate", "points.csv", "--constants", "iteration")
    assert outcome.code == 2
    assert "--constants goes with --fit host" in outcome.err
