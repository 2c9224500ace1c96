"""Matrix products and collectives: the formulas, and the profiles against measurements."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hardware_profiles import load_gpu
from hardware_profiles.dtypes import BYTES, Dtype
from hardware_profiles.kernels.collectives import all_gather_s, all_reduce_s
from hardware_profiles.kernels.elementwise import elementwise_s
from hardware_profiles.kernels.gemm import gemm_roofline_s, gemm_s
from simulator.errors import InputError

MEASURED = Path(__file__).parents[3] / "shared" / "data" / "kernels"
H100, A100, B200 = load_gpu("h100"), load_gpu("a100"), load_gpu("b200")
ALL_M = np.arange(1.0, 8193.0)


def test_at_its_knots_the_table_is_reproduced() -> None:
    table = H100.kernels.gemm["bf16"]
    m = np.array(table.m[:6])
    n, k = int(table.n[4]), int(table.k[3])
    wanted = gemm_roofline_s(m, n, k, "bf16", H100.hardware) / table.efficiency.si[:6, 4, 3]
    whole = m <= 128  # above, only multiples of a tile are the efficiency alone
    assert table.ragged is not None
    whole |= m % table.ragged.tile == 0
    np.testing.assert_allclose(gemm_s(m, n, k, "bf16", H100)[whole], wanted[whole], rtol=1e-12)


def test_the_roofline_counts_bytes_and_operations() -> None:
    m = np.array([1.0, 8192.0])
    memory, compute = gemm_roofline_s(m, 4096, 4096, "bf16", H100.hardware)
    assert memory == pytest.approx(2 * (4096**2 + 4096 + 4096) / 3350e9)
    assert compute == pytest.approx(2 * 8192 * 4096**2 / 989e12)
    # four bits: weights read in 4 bits and their scales, multiplied in 16 bit ...
    marlin = gemm_roofline_s(m, 4096, 4096, "nvfp4", H100.hardware)
    assert marlin[0] == pytest.approx((0.5625 * 4096**2 + 2 * 4096 + 2 * 4096) / 3350e9)
    assert marlin[1] == compute
    # ... but in 4 bit where the GPU can
    assert gemm_roofline_s(m, 4096, 4096, "nvfp4", B200.hardware)[1] == pytest.approx(
        2 * 8192 * 4096**2 / 9000e12
    )


def test_partial_tiles_cost_more_and_the_cost_ends_with_the_tile() -> None:
    table = H100.kernels.gemm["fp8"]
    assert table.ragged is not None
    tile = table.ragged.tile
    m = np.array([4 * tile, 4 * tile + 1, 5 * tile - 1, 5 * tile], dtype=float)
    full, ragged, nearly, next_full = gemm_s(m, 8192, 8192, "fp8", H100)
    assert ragged > 1.2 * full
    assert nearly == pytest.approx(next_full, rel=0.01)


@pytest.mark.parametrize("dtype", ["bf16", "fp8", "fp8_block", "int4", "mxfp4", "nvfp4"])
@pytest.mark.parametrize("gpu", [H100, B200], ids=["h100", "b200"])
def test_every_dtype_has_a_time_no_faster_than_its_roofline(gpu: object, dtype: Dtype) -> None:
    profile = H100 if gpu is H100 else B200
    for n, k in ((1024, 1024), (57344, 8192)):
        time_s = gemm_s(ALL_M, n, k, dtype, profile)
        roofline_s = gemm_roofline_s(ALL_M, n, k, dtype, profile.hardware)
        assert np.all(np.isfinite(time_s))
        assert np.all(time_s > 0.85 * roofline_s)  # a ragged tile may come out a little faster


def test_a_missing_table_is_stood_in_for_and_known_to_be_missing() -> None:
    assert not H100.is_measured("gemm", "int4")
    m = np.array([16.0])
    # as many bytes in 4 bit as a quarter as deep matrix in 16 bit: about its time
    four_bit = gemm_s(m, 8192, 8192, "int4", H100)[0]
    quarter = gemm_s(m, 8192, round(8192 * BYTES["int4"] / 2), "bf16", H100)[0]
    assert four_bit == pytest.approx(quarter, rel=0.02)
    assert A100.is_measured("gemm", "int4")
    assert gemm_s(m, 8192, 8192, "int4", A100)[0] < 0.5 * gemm_s(m, 8192, 8192, "bf16", A100)[0]


def test_fp8_is_refused_where_the_gpu_has_none() -> None:
    with pytest.raises(InputError, match="no fp8"):
        gemm_s(np.array([1.0]), 1024, 1024, "fp8", A100)


def test_collectives() -> None:
    table = H100.kernels.all_reduce[8]
    edge = table.below.si[0]
    before, at = all_reduce_s(np.array([edge - 1, edge]), 8, H100)
    assert before == pytest.approx(table.latency.si[0] + (edge - 1) / table.bandwidth.si[0])
    assert at == pytest.approx(table.latency.si[1] + edge / table.bandwidth.si[1])
    sizes = np.array([1e3, 1e9])
    assert np.all(all_reduce_s(sizes, 1, H100) == 0)
    # a gather of the same result moves half of what a reduction does, at most
    assert all_gather_s(sizes, 8, H100)[1] < 0.8 * all_reduce_s(sizes, 8, H100)[1]
    with pytest.raises(InputError, match="no all_reduce for tensor_parallel_size 16"):
        all_reduce_s(sizes, 16, H100)


def test_elementwise_kernels_are_launches_and_bytes() -> None:
    kernel = H100.kernels.elementwise
    two, more = elementwise_s(np.array([0.0, 3.35e9]), 2, H100)
    assert two == pytest.approx(2 * kernel.launch.si)
    assert more - two == pytest.approx(1e-3 / kernel.efficiency.si)


BARS = [
    ("h100-sxm", "h100_sxm", "0.31.0", "bfloat16", "bf16", 0.06),
    ("h100-sxm", "h100_sxm", "0.31.0", "fp8", "fp8", 0.07),
    ("h200-sxm", "h200_sxm", "0.31.0", "bfloat16", "bf16", 0.06),
    ("h200-sxm", "h200_sxm", "0.31.0", "fp8", "fp8", 0.07),
    ("a100-sxm-80gb", "a100_sxm", "0.14.0", "bfloat16", "bf16", 0.06),
    ("b200-sxm", "b200_sxm", "0.25.0", "bfloat16", "bf16", 0.06),
    ("b200-sxm", "b200_sxm", "0.25.0", "fp8", "fp8", 0.07),
]


@pytest.mark.parametrize(("name", "system", "version", "theirs", "dtype", "bar"), BARS)
def test_matrix_products_match_the_measured_ones(
    name: str, system: str, version: str, theirs: str, dtype: Dtype, bar: float
) -> None:
    pd = pytest.importorskip("pandas")
    path = MEASURED / "gemm.csv.gz"
    if not path.is_file():
        pytest.skip("needs the measured kernel table ../shared/data/kernels/gemm.csv.gz")
    rows = pd.read_csv(path)
    gpu_column = next(name for name in ("gpu", "system", "device") if name in rows)
    rows = rows[(rows[gpu_column] == system) & (rows["gemm_dtype"] == theirs)]
    rows = rows[(rows["version"] == version) & (rows["m"] <= 8192)]
    rows = rows[(rows["n"] >= 1024) & (rows["k"] >= 1024)]
    profile = load_gpu(name)
    errors = []
    for (n, k), shape in rows.groupby(["n", "k"]):
        predicted_s = gemm_s(shape["m"].to_numpy(float), int(n), int(k), dtype, profile)
        errors.append(predicted_s / (shape["latency_ms"].to_numpy() * 1e-3) - 1)
    error = np.concatenate(errors)
    assert len(error) > 4000
    assert np.abs(error).mean() < bar
    assert abs(error.mean()) < 0.04
