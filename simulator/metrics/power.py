"""Electric power of the GPUs, from the bytes they move and the operations they do.

P = min(TDP, idle + energy_per_byte x bytes/s + energy_per_flop x FLOP/s), averaged over a stretch
of a run. The two energies are properties of the GPU's profile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from simulator.cost.terms import FloatArray

if TYPE_CHECKING:
    from hardware_profiles.profile import GpuProfile


@dataclass(frozen=True)
class GpuPower:
    """What one GPU draws, in watts and joules; the energies are None where nobody measured them."""

    idle_w: float
    tdp_w: float
    energy_per_byte_j: float | None
    energy_per_flop_j: float | None

    @classmethod
    def of(cls, gpu: GpuProfile) -> GpuPower:
        """The figures of a profile."""
        per_byte, per_flop = gpu.power.energy_per_byte, gpu.power.energy_per_flop
        return cls(
            idle_w=gpu.power.idle.si,
            tdp_w=gpu.hardware.tdp.si,
            energy_per_byte_j=None if per_byte is None else per_byte.si,
            energy_per_flop_j=None if per_flop is None else per_flop.si,
        )

    def watts(self, bytes_per_s: FloatArray, flops_per_s: FloatArray) -> FloatArray | None:
        """Mean power under these rates; None without the energies."""
        if self.energy_per_byte_j is None or self.energy_per_flop_j is None:
            return None
        dynamic = self.energy_per_byte_j * bytes_per_s + self.energy_per_flop_j * flops_per_s
        return np.asarray(np.minimum(self.tdp_w, self.idle_w + dynamic))
