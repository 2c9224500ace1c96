"""GPU profiles: every number has a unit and a source, and a bad file says what is wrong where."""

from __future__ import annotations

import copy
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from hardware_profiles.profile import list_gpus, load_gpu, read_profile
from hardware_profiles.quantity import UNITS
from simulator.errors import InputError

TEXT = (files("hardware_profiles") / "gpus" / "h100-sxm.yaml").read_text(encoding="utf-8")
KNOTS = {"m", "n", "k", "work", "q_heads"}


def numbers_without_source(node: Any, path: str = "") -> list[str]:
    """Paths of numbers that are neither in a sourced quantity nor the knots of a table."""
    if isinstance(node, dict):
        if "value" in node:
            return [] if node.get("unit") in UNITS and len(node.get("source", "")) > 9 else [path]
        return [
            bad
            for key, child in node.items()
            if key not in KNOTS
            for bad in numbers_without_source(child, f"{path}.{key}")
        ]
    if isinstance(node, list):
        return [bad for child in node for bad in numbers_without_source(child, path)]
    return [path] if isinstance(node, int | float) and not isinstance(node, bool) else []


def test_every_number_has_a_unit_and_a_source() -> None:
    assert numbers_without_source(yaml.safe_load(TEXT)) == []
    assert numbers_without_source({"price": {"value": 1}, "tdp": 700}) == [".price", ".tdp"]


def test_the_h100_is_the_one_of_the_data_sheet() -> None:
    gpu = load_gpu("h100-sxm")
    assert gpu.hardware.memory_bandwidth.si == 3.35e12
    assert gpu.hardware.peak_bf16.si == 989e12
    assert gpu.hardware.peak_fp8 is not None
    assert gpu.hardware.peak_fp8.si == 1979e12
    assert gpu.hardware.memory.si == 80 * 2**30
    assert 0.98 < gpu.hardware.usable_memory.si / gpu.hardware.memory.si < 1
    assert gpu.hardware.tdp.si == 700
    assert not gpu.calibrated
    assert set(gpu.kernels.all_reduce) == set(gpu.kernels.all_gather) == {2, 4, 8}
    assert "replace" in gpu.price.source


def test_efficiencies_stay_below_what_the_hardware_can_do() -> None:
    kernels = load_gpu("h100-sxm").kernels
    for dtype in ("bf16", "fp8"):
        assert kernels.gemm[dtype].efficiency.si.max() < 1
        assert kernels.decode_attention[dtype].efficiency.si.max() < 1
        assert kernels.prefill_attention[dtype].efficiency.si.max() < 1
    assert all(link.large_bandwidth.si < 450e9 for link in kernels.all_reduce.values())


def test_names_aliases_and_rows() -> None:
    gpu = load_gpu("h100-sxm")
    assert load_gpu("H100-SXM5-80GB") is load_gpu("H100") is gpu
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
    data["kernels"]["all_reduce"][4]["small_latency"]["value"] = float("nan")
    data["kernels"]["prefill_attention"]["bf16"]["fixed"]["value"][0] = "slow"
    data["host"]["extra"] = 1
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
        "kernels.all_reduce.4.small_latency.value",
        "kernels.prefill_attention.bf16.fixed",
        "host.extra",
        "price",
    }
    lines = text.splitlines()
    for field, key in (("hardware.tdp", "tdp:"), ("host.extra", "extra:")):
        line = problems[field].line
        assert line is not None
        assert lines[line - 1].strip().startswith(key)
    assert "bandwidth" in problems["hardware.memory_bandwidth"].message
    assert all(problem.file == "bad.yaml" for problem in caught.value.problems)
    assert problems["price"].message == "is required"
    assert problems["host.extra"].message == "unknown key"
    assert problems["hardware.peak_bf16.value"].message == "must be a number, not 'fast'"
    nan = problems["kernels.all_reduce.4.small_latency.value"].message
    assert nan == "must be a finite number, not nan"


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
    for kernel in ("gemm", "decode_attention", "prefill_attention"):
        del data["kernels"][kernel]["fp8"]
    assert read_profile(yaml.safe_dump(data), "good.yaml").hardware.peak_fp8 is None
    del data["kernels"]["gemm"]["bf16"]
    with pytest.raises(InputError, match="gemm needs a bf16 entry"):
        read_profile(yaml.safe_dump(data), "bad.yaml")


def test_an_alias_bomb_is_refused() -> None:
    levels = [f"a{i}: &a{i} [{', '.join(9 * [f'*a{i - 1}'])}]" for i in range(1, 12)]
    with pytest.raises(InputError, match="too much is nested"):
        read_profile("\n".join(["a0: &a0 [x]", *levels]), "bad.yaml")
