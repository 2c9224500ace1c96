"""Attention kernels: what their times must obey whatever the profile's numbers are."""

from __future__ import annotations

import numpy as np
import pytest

from hardware_profiles import load_gpu
from hardware_profiles.kernels.decode_attention import DecodeAttention, decode_attention_s
from hardware_profiles.kernels.mla import LATENT, mla_decode_s, mla_prefill_s
from hardware_profiles.kernels.prefill_attention import prefill_attention_s
from simulator.errors import InputError

H100 = load_gpu("h100-sxm")
A100 = load_gpu("a100-sxm-80gb")
B = np.array([1.0, 2.0, 8.0, 64.0, 100.0, 256.0, 1024.0])


def test_decode_at_the_knots_is_the_table() -> None:
    table = H100.kernels.decode_attention["bf16"]
    dim, group = table.head_dim.index(128), table.group.index(8)
    work = np.array(table.work)
    fixed, token = decode_attention_s(work, 8, 1, 128, "bf16", H100)
    np.testing.assert_allclose(fixed, table.fixed.si[dim, group], rtol=1e-12)
    bandwidth = 2 * 128 * 2 / token
    np.testing.assert_allclose(
        bandwidth, table.efficiency.si[dim, group] * H100.hardware.memory_bandwidth.si, rtol=1e-12
    )


@pytest.mark.parametrize("shape", [(32, 8, 128), (64, 8, 64), (16, 8, 256), (28, 4, 128)])
@pytest.mark.parametrize("dtype", ["bf16", "fp8"])
def test_decode_reads_no_faster_than_memory_allows(shape: tuple[int, int, int], dtype: str) -> None:
    q_heads, kv_heads, dim = shape
    _, token = decode_attention_s(B, q_heads, kv_heads, dim, dtype, H100)  # type: ignore[arg-type]
    least = 2 * kv_heads * dim * (2 if dtype == "bf16" else 1) / H100.hardware.memory_bandwidth.si
    # public tables replay one layer, so that small caches stay in L2: a few percent beyond HBM
    assert np.all(token > 0.93 * least)
    assert np.all(token[3:] < 2.2 * least)


def test_half_the_heads_take_half_the_context_time_at_twice_the_requests() -> None:
    _, whole = decode_attention_s(B, 32, 8, 128, "bf16", H100)
    _, half = decode_attention_s(2 * B, 16, 4, 128, "bf16", H100)
    np.testing.assert_allclose(half, whole / 2, rtol=1e-12)


def test_head_dim_in_between_is_in_between() -> None:
    def bandwidth(dim: int) -> float:
        _, token = decode_attention_s(np.array([64.0]), 32, 8, dim, "bf16", H100)
        return float(dim / token[0])

    low, high = sorted((bandwidth(64), bandwidth(128)))
    assert low < bandwidth(96) < high


def test_window_costs_more_per_token_but_saturates() -> None:
    full = decode_attention_s(B, 64, 8, 64, "bf16", H100)
    window = decode_attention_s(B, 64, 8, 64, "bf16", H100, 128)
    assert np.all(window[0] > full[0])
    assert np.all(window[1] > full[1])
    context = 8192.0
    assert np.all(window[0] + window[1] * 128 * B < full[0] + full[1] * context * B)


def test_unmeasured_fp8_cache_reads_half_the_bytes_at_the_same_speed() -> None:
    assert not A100.is_measured("decode_attention", "fp8")
    fixed, token = decode_attention_s(B, 32, 8, 128, "bf16", A100)
    fixed8, token8 = decode_attention_s(B, 32, 8, 128, "fp8", A100)
    np.testing.assert_array_equal(fixed, fixed8)
    np.testing.assert_allclose(token8, token / 2, rtol=1e-12)


def test_table_of_another_shape_than_its_knots_is_refused() -> None:
    table = H100.kernels.decode_attention["bf16"].model_dump()
    table["work"] = table["work"][:-1]
    with pytest.raises(ValueError, match="fixed has shape"):
        DecodeAttention.model_validate(table)


def test_prefill_in_chunks_computes_the_same_pairs() -> None:
    fixed, token_s, context_s, pair_s = prefill_attention_s(32, 8, 128, "bf16", H100)
    assert min(fixed, token_s, context_s, pair_s) > 0

    def chunk(new: float, context: float) -> float:
        pairs = new * (context - (new - 1) / 2)
        return float(token_s * new + context_s * context + pair_s * pairs)

    whole = chunk(8192, 8192)
    parts = sum(chunk(1024, end) for end in range(1024, 8193, 1024))
    again = context_s * sum(range(1024, 8192, 1024))
    assert parts == pytest.approx(whole + again, rel=1e-12)


def test_prefill_pairs_stay_below_the_peak() -> None:
    for q_heads, kv_heads, dim in ((32, 8, 128), (64, 8, 64), (8, 1, 128)):
        for gpu in (H100, A100):
            pair_s = prefill_attention_s(q_heads, kv_heads, dim, "bf16", gpu)[3]
            share = 4 * q_heads * dim / pair_s / gpu.hardware.peak_bf16.si
            assert 0.3 < share < 0.95


def test_prefill_window_adds_masked_keys_per_token_and_keeps_the_price_of_a_pair() -> None:
    full = prefill_attention_s(64, 8, 64, "bf16", H100)
    window = prefill_attention_s(64, 8, 64, "bf16", H100, 128)
    assert window[1] > full[1]
    np.testing.assert_array_equal(window[2:], full[2:])


def test_mla_reads_the_latent_cache_once_for_all_heads() -> None:
    least = LATENT * 2 / H100.hardware.memory_bandwidth.si
    for heads in (16, 128):
        fixed, token = mla_decode_s(B, heads, "bf16", H100)
        assert np.all(fixed > 0)
        assert np.all(token[3:] > least)
        assert np.all(token[3:] < 1.3 * least)
    assert mla_decode_s(B, 128, "bf16", H100)[0][0] > mla_decode_s(B, 16, "bf16", H100)[0][0]


def test_mla_prefill_grows_with_heads_and_costs_a_cached_token_no_more_than_a_new_one() -> None:
    small, large = (mla_prefill_s(heads, "bf16", H100) for heads in (16, 128))
    assert np.all(large[[0, 2, 3]] > small[[0, 2, 3]])
    assert large[1] >= 0
    assert small[1] >= 0
    quantized = mla_prefill_s(16, "bf16", H100, "fp8_block")
    assert quantized[1] + quantized[2] > small[1] + small[2]


def test_gpu_without_mla_says_so() -> None:
    with pytest.raises(InputError, match="a100-sxm-80gb has no measured MLA decode"):
        mla_decode_s(B, 16, "bf16", A100)
    with pytest.raises(InputError, match="a100-sxm-80gb has no measured MLA prefill"):
        mla_prefill_s(16, "bf16", A100)
