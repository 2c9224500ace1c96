"""Memory-bound kernels between the matrix products."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hardware_profiles.kernels.interpolation import FloatArray
from hardware_profiles.quantity import Fitted
from hardware_profiles.units import PlainRatio, PlainTime

if TYPE_CHECKING:
    from hardware_profiles.schema import GpuProfile


class Elementwise(Fitted):
    """Norms, rotary embedding, activation and copies: launch + bytes / (efficiency bandwidth)."""

    launch: PlainTime
    efficiency: PlainRatio


def elementwise_s(bytes_moved: FloatArray, launches: int, gpu: GpuProfile) -> FloatArray:
    """`launches` memory-bound kernels that together move `bytes_moved`."""
    return launches * gpu.kernels.elementwise.launch.si + bytes_moved / memory_bandwidth(gpu)


def memory_bandwidth(gpu: GpuProfile) -> float:
    """Bytes/s that elementwise kernels reach."""
    return gpu.kernels.elementwise.efficiency.si * gpu.hardware.memory_bandwidth.si
