"""Experts: how many the tokens reach, and what that costs."""

from __future__ import annotations

import numpy as np
import pytest

from hardware_profiles import load_gpu
from hardware_profiles.kernels.moe import busiest_gpu, moe_s
from simulator.errors import InputError

H100 = load_gpu("h100-sxm")
A100 = load_gpu("a100-sxm-80gb")
M = np.arange(1.0, 4097.0)
QWEN3_30B = (2048, 768, 128, 8)


@pytest.mark.parametrize("m", [4, 32, 512])
@pytest.mark.parametrize("gpus", [1, 4])
@pytest.mark.parametrize("skew", [0.0, 0.5])
def test_active_experts_and_load_are_those_of_drawn_tokens(m: int, gpus: int, skew: float) -> None:
    experts, top_k = 64, 4
    rng = np.random.default_rng(1)
    active, load = [], []
    for _ in range(300):
        popularity = skew * rng.standard_normal(experts)
        score = popularity + rng.gumbel(size=(m, experts))
        chosen = np.argpartition(-score, top_k, axis=1)[:, :top_k]
        tokens = np.bincount(chosen.ravel(), minlength=experts).reshape(gpus, -1)
        active.append((tokens > 0).sum(axis=1).max())
        load.append(tokens.sum(axis=1).max())
    expected_active, expected_load = busiest_gpu(np.array([float(m)]), experts, top_k, gpus, skew)
    assert expected_active[0] == pytest.approx(np.mean(active), rel=0.05)
    assert expected_load[0] == pytest.approx(np.mean(load), rel=0.08)


def test_one_expert_is_a_dense_layer() -> None:
    active, slots = busiest_gpu(M, 1, 1, 1, 0.5)
    np.testing.assert_allclose(active, 1.0)
    np.testing.assert_allclose(slots, M)


def test_more_skew_reaches_fewer_experts_and_loads_one_gpu_more() -> None:
    even, skewed = (busiest_gpu(M, 128, 8, 8, skew) for skew in (0.0, 1.0))
    assert np.all(busiest_gpu(M, 128, 8, 1, 1.0)[0] <= busiest_gpu(M, 128, 8, 1, 0.0)[0])
    assert np.all(skewed[1][100:] > even[1][100:])


def test_few_tokens_are_bound_by_the_weights_they_reach() -> None:
    seconds = moe_s(np.array([8.0, 16.0, 32.0]), *QWEN3_30B, "bf16", 1, 1, H100)
    active, _ = busiest_gpu(np.array([8.0, 16.0, 32.0]), 128, 8, 1, 0.5)
    weights_s = active * 3 * 2048 * 768 * 2 / H100.hardware.memory_bandwidth.si
    assert np.all(seconds > weights_s)
    assert np.all(seconds < 2 * weights_s)


def test_many_tokens_are_bound_by_arithmetic() -> None:
    seconds = moe_s(np.array([8192.0]), *QWEN3_30B, "bf16", 1, 1, H100)[0]
    flops = 8192 * 8 * 6 * 2048 * 768
    assert 0.25 < flops / seconds / H100.hardware.peak_bf16.si < 0.9


@pytest.mark.parametrize("dtype", ["bf16", "fp8", "fp8_block", "int4", "mxfp4"])
def test_time_grows_with_tokens_and_falls_with_parallelism(dtype: str) -> None:
    whole = moe_s(M, *QWEN3_30B, dtype, 1, 1, H100)  # type: ignore[arg-type]
    assert np.all(np.diff(whole) > -0.02 * whole[1:])
    assert whole[-1] > whole[0]
    for tp, ep in ((2, 1), (4, 1), (1, 2), (1, 8)):
        part = moe_s(M, *QWEN3_30B, dtype, tp, ep, H100)  # type: ignore[arg-type]
        assert np.all(part[64:] < whole[64:])


def test_dtype_without_a_table_moves_its_own_bytes_at_bf16_efficiency() -> None:
    assert not A100.is_measured("moe", "int4")
    m = np.array([32.0])
    wide, narrow = (moe_s(m, 7168, 2048, 384, 8, d, 1, 8, A100)[0] for d in ("bf16", "int4"))
    assert 0.2 < narrow / wide < 0.6


def test_fp8_is_refused_where_there_is_none() -> None:
    with pytest.raises(InputError, match="fp8"):
        moe_s(M, *QWEN3_30B, "fp8", 1, 1, A100)
