"""Power from bytes and operations."""

import pytest

from hardware_profiles.profile import load_gpu
from simulator.cost import load_architecture
from simulator.cost.iteration_time import iteration_costs
from simulator.cost.terms import Batch
from simulator.metrics.activity import Activity
from simulator.metrics.power import average_power_w

H100 = load_gpu("h100-sxm")
WORK = iteration_costs(
    load_architecture("qwen3-8b"),
    H100,
    tensor_parallel_size=1,
    weight_dtype="auto",
    kv_cache_dtype="auto",
    max_num_batched_tokens=2048,
    max_num_seqs=64,
).work()


def _decoding(seconds: float, replicas: int = 1) -> Activity:
    """1,000 iterations a replica of 8 requests with 1,000 tokens of context each."""
    n = 1000 * replicas
    return Activity(seconds, n, 8 * n, 0, 8000 * n, replicas)


def test_nothing_done_is_idle_power():
    assert average_power_w(Activity(10.0, 0, 0, 0, 0), WORK, H100) == H100.power.idle.si


def test_energy_is_that_of_the_bytes_and_operations():
    batch = Batch(8, 8000)
    energy_j = 1000 * (
        H100.power.energy_per_byte.si * WORK.bytes_moved.at(batch, 0)
        + H100.power.energy_per_flop.si * WORK.flops.at(batch, 0)
    )
    power_w = average_power_w(_decoding(10.0), WORK, H100)
    assert power_w == pytest.approx(H100.power.idle.si + energy_j / 10.0)


def test_replicas_share_the_work():
    assert average_power_w(_decoding(10.0, replicas=3), WORK, H100) == pytest.approx(
        average_power_w(_decoding(10.0), WORK, H100)
    )


def test_no_gpu_draws_more_than_it_can():
    assert average_power_w(_decoding(0.5), WORK, H100) == H100.hardware.tdp.si


def test_without_energies_power_is_not_known():
    assert average_power_w(_decoding(10.0), WORK, load_gpu("l40s")) is None
