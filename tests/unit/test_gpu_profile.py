"""GPU profiles: every number has a unit and a source, and a bad file says what is wrong where."""

from __future__ import annotations

import copy
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from hardware_profiles.profile import list_gpus, load_gpu, read_profile
from hardware_profiles.quantity import UNITS, Fit
from simulator.errors import InputError

FOLDER = Path(str(files("hardware_profiles") / "gpus"))
TEXT = (FOLDER / "h100-sxm.yaml").read_text(encoding="utf-8")
FITTED = ("h100-sxm", "h200-sxm", "a100-sxm-80gb", "b200-sxm")
PROFILES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


def numbers_without_source(node: Any, path: str = "", sourced: bool = False) -> list[str]:
    """Paths of quantities without unit or source, and of bare numbers outside a sourced table."""
    if isinstance(node, dict):
        sourced = sourced or len(node.get("source", "")) > 9
        if "value" in node:
            return [] if node.get("unit") in UNITS and sourced else [path]
        return [
            bad
            for key, child in node.items()
            for bad in numbers_without_source(child, f"{path}.{key}", sourced)
        ]
    if isinstance(node, list):
        return [bad for child in node for bad in numbers_without_source(child, path, sourced)]
    number = isinstance(node, int | float) and not isinstance(node, bool)
    return [path] if number and not sourced else []


@pytest.mark.parametrize("name", PROFILES)
def test_every_number_has_a_unit_and_a_source(name: str) -> None:
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    assert numbers_without_source(yaml.safe_load(text)) == []


def test_a_number_without_a_source_is_found() -> None:
    table = {"source": "fit to a table", "m": [1, 2], "time": {"value": [3, 4], "unit": "us"}}
    broken = {"price": {"value": 1}, "tdp": 700, "kernels": {"gemm": table, "moe": {"m": [1]}}}
    assert numbers_without_source(broken) == [".price", ".tdp", ".kernels.moe.m"]


def test_the_profiles_that_come_with_ponder() -> None:
    assert set(PROFILES) == {*FITTED, "a100-sxm-40gb", "h100-pcie", "l40s"}
    for name in PROFILES:
        profile = load_gpu(name)
        assert profile.name == name
        assert "example only" in profile.price.source
        assert set(profile.engines) == {"vllm-0.11", "vllm-0.33"}
        assert 0.9 < profile.hardware.usable_memory.si / profile.hardware.memory.si < 1
        assert 0 < profile.power.idle.si < profile.hardware.tdp.si


def test_fitted_tables_state_their_residual_and_range() -> None:
    for name in FITTED:
        kernels = load_gpu(name).kernels
        for dtype, table in kernels.gemm.items():
            assert table.fit is not None, (name, dtype)
            bar = {"bf16": 0.06, "fp8": 0.07}.get(dtype, 0.08)
            assert table.fit.mape < bar, (name, dtype)
            assert table.fit.bias is not None
            assert abs(table.fit.bias) < 0.04
            assert table.fit.range["m"][1] >= 8192
        for collective in kernels.all_reduce.values():
            assert collective.fit is not None
            assert collective.fit.mape < 0.08


def test_gpus_without_measurements_say_whose_kernels_they_borrow() -> None:
    for name in ("h100-pcie", "l40s"):
        profile = load_gpu(name)
        assert not profile.calibrated
        for table in profile.kernels.gemm.values():
            assert table.source.startswith("borrowed from ")
            assert table.fit is None
        assert all("assumption" in link.source for link in profile.kernels.all_reduce.values())
    # the 40 GB A100 is the 80 GB one on slower memory: the shares reached, and their fit, are its
    small, large = load_gpu("a100-sxm-40gb"), load_gpu("a100-sxm-80gb")
    assert small.kernels.gemm["bf16"].efficiency == large.kernels.gemm["bf16"].efficiency
    assert small.kernels.gemm["bf16"].fit == large.kernels.gemm["bf16"].fit
    assert small.hardware.memory_bandwidth.si == 1555e9


def test_the_a100_has_no_fp8() -> None:
    for name in ("a100-sxm-80gb", "a100-sxm-40gb"):
        profile = load_gpu(name)
        assert profile.hardware.peak_fp8 is None
        assert not profile.is_measured("gemm", "fp8")
        assert not profile.is_measured("decode_attention", "fp8")
        assert profile.is_measured("gemm", "int4")


def test_what_lies_outside_a_fit() -> None:
    fit = Fit(mape=0.1, p95=0.2, n=3, range={"m": (1, 8192), "n": (128, 65536)})
    assert fit.outside(m=8192, n=128, k=7) == {}
    assert fit.outside(m=8193, n=64) == {"m": (1, 8192), "n": (128, 65536)}


def test_the_h100_is_the_one_of_the_data_sheet() -> None:
    gpu = load_gpu("h100-sxm")
    assert gpu.hardware.memory_bandwidth.si == 3.35e12
    assert gpu.hardware.peak_bf16.si == 989e12
    assert gpu.hardware.peak_fp8 is not None
    assert gpu.hardware.peak_fp8.si == 1979e12
    assert gpu.hardware.memory.si == 80 * 2**30
    assert 0.98 < gpu.hardware.usable_memory.si / gpu.hardware.memory.si < 1
    assert gpu.hardware.tdp.si == 700
    assert gpu.calibrated
    assert set(gpu.kernels.all_reduce) == set(gpu.kernels.all_gather) == {2, 4, 8}
    assert "replace" in gpu.price.source


def test_efficiencies_stay_below_what_the_hardware_can_do() -> None:
    kernels = load_gpu("h100-sxm").kernels
    for dtype in ("bf16", "fp8"):
        assert kernels.gemm[dtype].efficiency.si.max() <= 1
    assert all(link.bandwidth.si[-1] < 450e9 for link in kernels.all_reduce.values())


def test_names_aliases_and_rows() -> None:
    gpu = load_gpu("h100-sxm")
    assert load_gpu("H100-SXM5-80GB") is load_gpu("H100") is gpu
    assert load_gpu("NVIDIA H100 80GB HBM3") is load_gpu("h100_sxm") is gpu
    for alias, name in (
        ("H200-SXM-141GB", "h200-sxm"),
        ("A100-SXM4-80GB", "a100-sxm-80gb"),
        ("NVIDIA A100-SXM4-40GB", "a100-sxm-40gb"),
        ("B200-SXM-180GB", "b200-sxm"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
    ):
        assert load_gpu(alias).name == name
    row = next(row for row in list_gpus() if row.name == "h100-sxm")
    assert (row.memory_gib, row.memory_bandwidth_gb_per_s) == (80, 3350)
    assert (row.bf16_tflops, row.fp8_tflops) == (989, 1979)
    assert row.price_usd_per_gpu_hour == gpu.price.si
    assert row.calibrated is gpu.calibrated
    with pytest.raises(InputError, match=r"unknown GPU 'tpu'.*h100-sxm"):
        load_gpu("tpu")


def test_a_profile_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(TEXT.replace("name: h100-sxm", "name: mine"), encoding="utf-8")
    assert load_gpu(path).name == "mine"
    with pytest.raises(InputError, match="no such GPU profile file"):
        load_gpu(tmp_path / "absent.yaml")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        load_gpu(path)


def test_all_problems_come_at_once_with_file_line_and_field() -> None:
    data = yaml.safe_load(TEXT)
    data["hardware"]["memory_bandwidth"]["unit"] = "W"
    data["hardware"]["tdp"]["value"] = -700
    data["hardware"]["peak_bf16"]["value"] = "fast"
    data["hardware"]["memory"].pop("source")
    data["kernels"]["gemm"]["bf16"]["efficiency"]["value"].pop()
    data["kernels"]["decode_attention"]["fp8"]["work"][0] = 9999
    data["kernels"]["all_reduce"][4]["latency"]["value"][0] = float("nan")
    data["kernels"]["prefill_attention"]["bf16"]["fixed"]["value"][0] = "slow"
    data["kernels"]["gemm"]["fp8"]["fit"]["range"]["m"] = [8192, 1]
    data["engines"]["vllm-0.11"]["sync"]["request"]["unit"] = "GiB"
    data["power"]["extra"] = 1
    data.pop("price")
    text = yaml.safe_dump(data, sort_keys=False)
    with pytest.raises(InputError) as caught:
        read_profile(text, "bad.yaml")
    problems = {problem.field: problem for problem in caught.value.problems}
    assert problems.keys() == {
        "hardware.memory_bandwidth",
        "hardware.tdp",
        "hardware.peak_bf16.value",
        "hardware.memory.source",
        "kernels.gemm.bf16",
        "kernels.decode_attention.fp8",
        "kernels.all_reduce.4.latency",
        "kernels.prefill_attention.bf16.fixed",
        "kernels.gemm.fp8.fit.range",
        "engines.vllm-0.11.sync.request",
        "power.extra",
        "price",
    }
    lines = text.splitlines()
    for field, key in (("hardware.tdp", "tdp:"), ("power.extra", "extra:")):
        line = problems[field].line
        assert line is not None
        assert lines[line - 1].strip().startswith(key)
    assert "bandwidth" in problems["hardware.memory_bandwidth"].message
    assert all(problem.file == "bad.yaml" for problem in caught.value.problems)
    assert problems["price"].message == "is required"
    assert problems["power.extra"].message == "unknown key"
    assert problems["hardware.peak_bf16.value"].message == "must be a number, not 'fast'"
    nan = problems["kernels.all_reduce.4.latency"].message
    assert nan == "value must be zero or more"


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("name: a\nname: b\n", "given twice", 2),
        ("name: [a\n", "expected", 2),
        ("just text", "mapping", None),
        ("", "mapping", None),
        ("a: 1\nb: &b [*b]\n", "alias", 2),
        ("a: 1\nb: \x01\n", "character", 2),
        ("a: 1\nb: " + 100_000 * "[", "nested too deeply", 2),
        ("a: &a [1]\n" + "b: [*a]\n? [x]\n: 1\n", "single word", 3),
        ("a: 2024-13-45\n", "not usable YAML", None),
    ],
)
def test_broken_yaml(text: str, message: str, line: int | None) -> None:
    with pytest.raises(InputError) as caught:
        read_profile(text, "bad.yaml")
    assert message in caught.value.problems[0].message
    assert caught.value.problems[0].line == line


def test_fp8_kernels_need_fp8_hardware() -> None:
    data = copy.deepcopy(yaml.safe_load(TEXT))
    del data["hardware"]["peak_fp8"]
    with pytest.raises(InputError, match="fp8 kernels"):
        read_profile(yaml.safe_dump(data), "bad.yaml")
    for tables in data["kernels"].values():
        tables.pop("fp8", None)
        tables.pop("fp8_block", None)
    assert read_profile(yaml.safe_dump(data), "good.yaml").hardware.peak_fp8 is None
    del data["kernels"]["gemm"]["bf16"]
    with pytest.raises(InputError, match="gemm needs a bf16 entry"):
        read_profile(yaml.safe_dump(data), "bad.yaml")


def test_an_alias_bomb_is_refused() -> None:
    levels = [f"a{i}: &a{i} [{', '.join(9 * [f'*a{i - 1}'])}]" for i in range(1, 12)]
    with pytest.raises(InputError, match="too much is nested"):
        read_profile("\n".join(["a0: &a0 [x]", *levels]), "bad.yaml")
