"""Power from bytes and operations."""

import numpy as np
import pytest

from hardware_profiles.profile import load_gpu
from simulator.metrics.power import GpuPower

H100 = load_gpu("h100-sxm")
POWER = GpuPower(idle_w=50.0, tdp_w=400.0, energy_per_byte_j=2e-10, energy_per_flop_j=1e-12)


def test_the_figures_are_the_profiles():
    power = GpuPower.of(H100)
    assert (power.idle_w, power.tdp_w) == (70.0, 700.0)
    assert power.energy_per_byte_j == H100.power.energy_per_byte.si
    assert power.energy_per_flop_j == H100.power.energy_per_flop.si


def test_idle_power_and_the_energy_of_bytes_and_operations_up_to_tdp():
    bytes_per_s, flops_per_s = np.array([0.0, 1e12, 0.0, 5e12]), np.array([0.0, 0.0, 1e14, 1e14])
    watts = POWER.watts(bytes_per_s, flops_per_s)
    assert watts == pytest.approx([50.0, 250.0, 150.0, 400.0])


@pytest.mark.parametrize("missing", ["energy_per_byte_j", "energy_per_flop_j"])
def test_without_energies_power_is_not_known(missing):
    energies = {"energy_per_byte_j": 1e-10, "energy_per_flop_j": 1e-12, missing: None}
    assert GpuPower(50.0, 400.0, **energies).watts(np.ones(1), np.ones(1)) is None
