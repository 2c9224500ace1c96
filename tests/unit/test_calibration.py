"""Calibration: fits find what made the data, profiles are reproduced, a CSV becomes a profile."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from hardware_profiles import load_gpu
from hardware_profiles.calibrate import borrow_kernels, calibrate_csv, calibrate_gpu, check_csv
from hardware_profiles.calibration import collectives, elementwise, gemm
from hardware_profiles.calibration.least_squares import Grid, fold_of, solve, supported
from hardware_profiles.calibration.operation import Entry
from hardware_profiles.calibration.residuals import plot_all, residuals_of
from hardware_profiles.calibration.tables import SYSTEMS, Root, Tables, find_tables
from hardware_profiles.calibration.writer import number, significant, with_kernels
from hardware_profiles.kernels.collectives import all_reduce_s
from hardware_profiles.kernels.gemm import gemm_s
from hardware_profiles.measuring.table import Measurement, TableWriter
from hardware_profiles.profile import profile_text, read_profile
from simulator.errors import InputError

SHARED = Path(__file__).parents[3] / "shared" / "data" / "kernels"
MEASURED = sorted((Path(__file__).parents[2] / "hardware_profiles/measurements").glob("*.csv"))
H100 = load_gpu("h100-sxm")


# --- the pieces ------------------------------------------------------------------------------


def test_least_squares_recovers_a_table_and_guesses_smoothly_where_nothing_is_known() -> None:
    grid = Grid(((1.0, 4.0, 16.0, 64.0), (1.0, 10.0)))
    truth = np.arange(8.0)
    x = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 1.0, 4.0, 16.0])
    y = np.array([1.0, 5.0, 10.0, 3.0, 1.0, 10.0, 1.0, 10.0])
    design = grid.weights(x, y)
    assert design.sum(axis=1) == pytest.approx(1.0)
    # nothing was measured at 64: it goes on as 4 to 16 does
    found = solve(design, design @ truth, grid.roughness(0.1))
    np.testing.assert_allclose(found, truth, atol=0.01)


def test_knots_are_kept_where_something_was_measured() -> None:
    assert supported((1, 16, 64, 512), np.array([2.0, 16.0, 100.0])) == (2.0, 16.0, 100.0)
    assert supported((1, 16), np.array([7.0])) == (7.0, 14.0)


def test_a_group_is_in_one_fold() -> None:
    groups = np.repeat(np.arange(23), 3)
    folds = fold_of(groups)
    assert set(folds) == set(range(5))
    assert all(len(set(folds[groups == group])) == 1 for group in range(23))


def test_numbers_are_written_as_yaml_reads_them() -> None:
    assert [number(x) for x in (262144.0, 0.5, 1e-07, 1e22)] == [
        "262144",
        "0.5",
        "1.0e-07",
        "1.0e+22",
    ]
    for value in (1e-07, 3.125e-05, 1e22, 123456789.0):
        assert yaml.safe_load(number(value)) == value
    assert significant(0.123456) == 0.1235
    assert significant(123456.0, 3) == 123000


def test_the_data_sheet_keeps_its_text_and_the_kernels_are_replaced() -> None:
    text = "# about\nname: x  # kept\n\n# old comment\nkernels:\n  gemm:\n    bf16: {n: 1}\n"
    kernels = {
        "all_reduce": {2: {"source": "a: b", "fit": {"mape": 0.01, "n": 3}}},
        "deep": {"value": [[[0.1, 2.0], [3.0, 4.0]]] * 9, "unit": "GB/s"},
    }
    written = with_kernels(text, kernels, "x")
    assert written.startswith("# about\nname: x  # kept\n\n# Written by `ponder calibrate x`")
    assert "old comment" not in written
    assert yaml.safe_load(written) == {"name": "x", "kernels": kernels}
    assert with_kernels(written, kernels, "x") == written


def fake_tables(folder: Path, system: str = "h100_sxm") -> Tables:
    """Tables whose files the test writes under `folder`."""
    return Tables({v: k for k, v in SYSTEMS.items()}[system], (Root("made-up 1", folder),))


def write_parquet(folder: Path, table: str, rows: pd.DataFrame, system: str = "h100_sxm") -> None:
    path = folder / system / f"{table}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.to_parquet(path)


def test_tables_are_found_in_wheels_and_folders(tmp_path: Path) -> None:
    rows = pd.DataFrame({"latency": [1.5, 2.5]})
    write_parquet(tmp_path / "aisimulate_core/systems/data", "comm/a/1/x_perf", rows)
    (tmp_path / "aisimulate-0.13.0.dist-info").mkdir()
    data = io.BytesIO()
    rows.to_parquet(data)
    wheel = tmp_path / "aiconfigurator_core-0.12.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        inside = "aiconfigurator_core/systems/data/h100_sxm/comm/a/1/x_perf.parquet"
        archive.writestr(inside, data.getvalue())
    folder = tmp_path / "aisimulate_core/systems/data"
    for where, name in (
        (wheel, "aiconfigurator-core 0.12.0"),
        (tmp_path, "aisimulate 0.13.0"),
        (folder, "data"),
    ):
        tables = find_tables("h100-sxm", where)
        assert tables.has("comm/a/1/x_perf")
        assert not tables.has("comm/a/2/x_perf")
        found = tables.first("comm/a/2/x_perf", "comm/a/1/x_perf")
        assert found is not None
        assert found["latency"].tolist() == [1.5, 2.5]
        assert set(found["source"]) == {f"{name} (Apache-2.0), h100_sxm/comm/a/1/x_perf"}
        with pytest.raises(InputError, match=r"no table h100_sxm/comm/a/2/x_perf .*`pip download"):
            tables.read("comm/a/2/x_perf")
    with pytest.raises(InputError, match="neither a wheel nor a folder"):
        find_tables("h100-sxm", tmp_path / "absent")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="no kernel tables in"):
        find_tables("h100-sxm", empty)
    with pytest.raises(InputError, match="no public kernel tables of l40s"):
        find_tables("l40s", tmp_path)


# --- fits find what made the data ------------------------------------------------------------


def made_up_gemms(noise: float) -> pd.DataFrame:
    """Rows that the H100's own bf16 and fp8 tables predict, times seeded noise."""
    draws = np.random.default_rng(3)
    parts = []
    widths = (128, 256, 512, 1024, 2048, 3072, 4096, 8192, 12288, 16384, 65536)
    sizes = [1, 16, 64, 65, 100, 128, 129, 160, 225, 256, 257, 512, 513, 1024, 1025, 2048, 2049]
    m = np.array([*sizes, 4096, 4353, 8192, 16384], dtype=float)
    for theirs, dtype in (("bfloat16", "bf16"), ("fp8", "fp8")):
        for n in widths:
            for k in widths:
                seconds = gemm_s(m, n, k, dtype, H100)  # type: ignore[arg-type]
                seconds *= np.exp(noise * draws.standard_normal(len(m)))
                values = {"m": m.astype(int), "n": n, "k": k, "latency": seconds * 1e3}
                parts.append(pd.DataFrame({"gemm_dtype": theirs, **values}))
    return pd.concat(parts, ignore_index=True)


def test_a_gemm_fit_recovers_the_table_that_made_the_data(tmp_path: Path) -> None:
    write_parquet(tmp_path, "gemm/vllm/0.31.0/gemm_perf", made_up_gemms(0.03))
    rows = gemm.read(fake_tables(tmp_path))
    assert rows is not None
    entries = {entry.key: entry for entry in gemm.fit(rows, H100)}
    assert set(entries) == {"bf16", "fp8"}
    for dtype in ("bf16", "fp8"):
        entry = entries[dtype]
        fit = entry.fit()
        # The mean |error| of 3 % noise is 2.4 %; a knot held out whole is guessed from others.
        assert 0.02 < fit["mape"] < 0.05
        assert abs(fit["bias"]) < 0.01
        assert fit["range"] == {"m": [1, 16384], "n": [128, 65536], "k": [128, 65536]}
        table = entry.table()
        middle = np.array(table["efficiency"]["value"])[1:-2, 3:-1, 3:-1]
        own = H100.kernels.gemm[dtype]  # type: ignore[index]
        i = [own.m.index(x) for x in table["m"][1:-2]]
        j = [own.n.index(x) for x in table["n"][3:-1]]
        k = [own.k.index(x) for x in table["k"][3:-1]]
        truth = own.efficiency.si[np.ix_(i, j, k)]
        assert np.abs(middle / truth - 1).mean() < 0.03
    assert np.array(entries["fp8"].values["ragged"]["slowdown"]["value"]).max() > 2


def test_the_fit_does_not_depend_on_the_order_of_the_rows(tmp_path: Path) -> None:
    rows = made_up_gemms(0.03).query("gemm_dtype == 'bfloat16'")
    write_parquet(tmp_path, "gemm/vllm/0.31.0/gemm_perf", rows)
    (first,) = gemm.fit(gemm.read(fake_tables(tmp_path)), H100)  # type: ignore[arg-type]
    write_parquet(tmp_path, "gemm/vllm/0.31.0/gemm_perf", rows.sample(frac=1, random_state=1))
    (second,) = gemm.fit(gemm.read(fake_tables(tmp_path)), H100)  # type: ignore[arg-type]
    assert first.table() == second.table()


def test_too_few_matrix_products_are_refused() -> None:
    rows = pd.DataFrame({"dtype": "bf16", "m": [1, 2], "n": 1024, "k": 1024, "latency_ms": 1.0})
    with pytest.raises(InputError, match="gemm bf16: 2 measurements of 1 shapes"):
        gemm.fit(rows.assign(source="made up"), H100)


def test_regimes_of_a_collective_are_found_and_a_stray_point_is_left_out() -> None:
    sizes = 2.0 ** np.arange(8, 29)
    seconds = np.where(sizes < 2**19, 4e-6 + sizes / 1e11, 2e-5 + sizes / 2e11)
    seconds[4] *= 3
    rows = pd.DataFrame({"tp": 2, "bytes": sizes, "latency_ms": seconds * 1e3, "source": "made up"})
    (entry,) = collectives.fit("all_reduce", rows, H100)
    assert entry.fit()["mape"] < 1e-3
    assert entry.fit()["n"] == len(sizes) - 1
    assert "points left out as stray: 1" in entry.source
    assert 512.0 in entry.values["below"]["value"]
    assert entry.values["latency"]["value"][0] == pytest.approx(4, rel=1e-3)
    assert entry.values["bandwidth"]["value"][-1] == pytest.approx(200, rel=1e-3)


def test_copies_give_the_share_of_bandwidth() -> None:
    sizes = np.array([2.0**12, 2**24, 2**26, 2**28])
    launch = H100.kernels.elementwise.launch.si
    seconds = launch + 2 * sizes / (0.75 * 3350e9)
    rows = pd.DataFrame({"bytes": sizes, "latency_ms": seconds * 1e3, "source": "made up"})
    (entry,) = elementwise.fit(rows, H100)
    assert entry.values["efficiency"]["value"] == 0.75
    assert entry.fit()["n"] == 3
    assert elementwise.fit(rows[:1], H100) == []


# --- residuals -------------------------------------------------------------------------------


def entry_of(measured: list[float], predicted: list[float], classes: list[str]) -> Entry:
    judged = [name != "n or k below 1024" for name in classes]
    columns = {"measured_s": measured, "predicted_s": predicted}
    frame = pd.DataFrame({**columns, "shape_class": classes, "judged": judged})
    return Entry("gemm", "bf16", {}, "made up", frame, {"m": (1, 2)}, "as it is")


def test_residuals_are_taken_over_the_judged_points_and_each_class(tmp_path: Path) -> None:
    classes = ["m 65 to 256", "m 1 to 64", "m 1 to 64", "n or k below 1024"]
    entry = entry_of([1.0, 1.0, 2.0, 1.0], [1.1, 0.9, 2.0, 2.0], classes)
    whole, small, large, other = residuals_of([entry])
    assert (whole.n, whole.mape, whole.bias) == (3, pytest.approx(0.2 / 3), pytest.approx(0.0))
    assert small.shape_class == "m 1 to 64"
    assert small.bias == pytest.approx(-0.05)
    assert (large.n, large.mape) == (1, pytest.approx(0.1))
    assert (other.shape_class, other.mape) == ("n or k below 1024", pytest.approx(1.0))
    fit = entry.fit()
    assert fit == {
        "mape": 0.0667,
        "p95": 0.1,
        "bias": 0.0,
        "n": 3,
        "range": {"m": [1, 2]},
        "note": "as it is",
    }
    plot_all([entry], str(tmp_path / "plot.png"))
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


# --- profiles --------------------------------------------------------------------------------


def close(found: Any, wanted: Any) -> bool:
    """Equal, numbers to one unit of the third digit: another BLAS may round the other way."""
    if isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(close(found[k], wanted[k]) for k in wanted)
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(close, found, wanted))
    if isinstance(wanted, float | int):
        return bool(found == pytest.approx(wanted, rel=0.011, abs=1e-4))
    return bool(found == wanted)


def without_source(table: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key != "source"}


def test_the_committed_matrix_products_of_the_a100_are_reproduced_from_the_extra() -> None:
    pytest.importorskip("aiconfigurator_core", reason="needs the calibrate extra")
    tables = find_tables("a100-sxm-80gb")
    calibration = calibrate_gpu("a100-sxm-80gb", tables, ["gemm", "all_gather"])
    committed = yaml.safe_load(profile_text("a100-sxm-80gb"))["kernels"]
    assert {entry.name for entry in calibration.entries} >= {"gemm bf16", "gemm int4"}
    for entry in calibration.entries:
        wanted = committed[entry.op][entry.key]
        assert close(without_source(entry.table()), without_source(wanted)), entry.name
        assert wanted["source"].split("a100_sxm/")[1] in entry.source


@pytest.mark.parametrize(
    ("gpu", "version"),
    [("h100-sxm", "0.31.0"), ("a100-sxm-80gb", "0.14.0"), ("b200-sxm", "0.24.0")],
)
def test_the_committed_all_reduce_is_reproduced(tmp_path: Path, gpu: str, version: str) -> None:
    path = SHARED / "custom_allreduce.csv"
    if not path.is_file():
        pytest.skip("needs the measured kernel table ../shared/data/kernels/custom_allreduce.csv")
    system = SYSTEMS[gpu]
    rows = pd.read_csv(path)
    rows = rows[(rows["system"] == system) & (rows["version"] == version)]
    rows = rows[rows["backend"] == "vllm"] if "backend" in rows else rows
    original = pd.DataFrame(
        {
            "num_gpus": rows["num_gpus"],
            "message_size": rows["message_elems"],
            "latency": rows["latency_ms"],
            "backend": rows["kernel_source"],
        }
    )
    table = f"comm/vllm/{version}/custom_allreduce_perf"
    write_parquet(tmp_path, table, original, system)
    calibration = calibrate_gpu(gpu, fake_tables(tmp_path, system), ["all_reduce"])
    committed = yaml.safe_load(profile_text(gpu))["kernels"]["all_reduce"]
    assert len(calibration.entries) == 3
    for entry in calibration.entries:
        assert close(without_source(entry.table()), without_source(committed[entry.key]))
    assert "gemm bf16" in calibration.kept


@pytest.mark.parametrize("gpu", ["a100-sxm-40gb", "h100-pcie", "l40s"])
def test_borrowed_profiles_are_what_their_lenders_give(gpu: str) -> None:
    assert borrow_kernels(gpu).text == profile_text(gpu)


@pytest.mark.parametrize("path", MEASURED, ids=[path.stem for path in MEASURED])
def test_our_measurements_make_a_profile(path: Path) -> None:
    base = "h200-sxm" if path.stem.startswith("h200") else "h100-sxm"
    calibration = calibrate_csv(path, base, "mine", ["gemm", "elementwise"])
    profile = read_profile(calibration.text, "mine.yaml")
    assert profile.name == "mine"
    assert profile.hardware == load_gpu(base).hardware
    assert profile.engines == load_gpu(base).engines
    assert not profile.calibrated
    assert path.name in profile.kernels.gemm["bf16"].source
    assert {"decode_attention bf16", "all_reduce 2"} <= set(calibration.kept)
    for dtype in ("bf16", "fp8"):
        fit = profile.kernels.gemm[dtype].fit  # type: ignore[index]
        assert fit is not None
        assert fit.mape < 0.07
    # the time the fitted profile gives is the measured one, about
    rows = pd.read_csv(path, comment="#").query("op == 'gemm' and n == 4096 and k == 4096")
    for dtype in ("bf16", "fp8"):
        part = rows[rows["dtype"] == dtype]
        predicted_s = gemm_s(part["m"].to_numpy(float), 4096, 4096, dtype, profile)  # type: ignore[arg-type]
        assert np.abs(predicted_s / (part["latency_ms"] * 1e-3) - 1).mean() < 0.1


def test_the_public_fit_of_16_bit_products_agrees_with_our_own_measurements() -> None:
    for path in MEASURED:
        base = "h200-sxm" if path.stem.startswith("h200") else "h100-sxm"
        judged, *others = residuals_of(check_csv(path, base, ["gemm"]))
        assert judged.table == "gemm bf16"
        assert judged.mape < 0.07
        assert abs(judged.bias) < 0.05
        assert "gemm fp8" in {row.table for row in others}


def test_an_all_reduce_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    with TableWriter(path, {"gpu": "Some GPU", "date": "2026-01-02T03:04:05Z"}) as table:
        for size in 2 ** np.arange(10, 28):
            latency_ms = 1e-2 + size / 5e7
            row = Measurement("all_reduce", tp=2, bytes=int(size), latency_ms=latency_ms, samples=9)
            table.write(row)
    sheet = tmp_path / "sheet.yaml"
    sheet.write_text(profile_text("l40s").replace("name: l40s", "name: sheet"), encoding="utf-8")
    calibration = calibrate_csv(path, str(sheet), ops=["all_reduce"])
    profile = read_profile(calibration.text, "own.yaml")
    assert calibration.text.startswith(
        "# Measured kernels on the data sheet and engine constants of sheet"
    )
    assert profile.name == "own"
    assert profile.description.startswith("Some GPU")
    assert all_reduce_s(np.array([2.0**20]), 2, profile)[0] == pytest.approx(3.1e-5, rel=0.01)
    assert "own.csv of 2026-01-02" in profile.kernels.all_reduce[2].source
    assert 4 in profile.kernels.all_reduce  # of the base


def test_what_cannot_be_calibrated_is_said(tmp_path: Path) -> None:
    path = tmp_path / "launches.csv"
    with TableWriter(path, {}) as table:
        table.write(Measurement("launch_eager", latency_ms=0.01, samples=1))
    with pytest.raises(InputError, match=r"launches\.csv.*holds no measurements of gemm"):
        calibrate_csv(path, "h100-sxm")
    with pytest.raises(InputError, match="unknown operation 'gem'"):
        calibrate_csv(path, "h100-sxm", ops=["gem"])
    with pytest.raises(InputError, match="unknown GPU"):
        calibrate_csv(path, "tpu")
    with pytest.raises(InputError, match=r"no tables of gemm for h100-sxm"):
        calibrate_gpu("h100-sxm", fake_tables(tmp_path), ["gemm"])
