"""Matrix products of linear layers: a roofline over a measured efficiency."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import Field, model_validator

from hardware_profiles.dtypes import ACTIVATION_BYTES, BYTES
from hardware_profiles.kernels.interpolation import FloatArray, Knots, check_axes, one, place
from hardware_profiles.quantity import Array, Fitted, Part
from hardware_profiles.units import Ratios
from simulator.errors import InputError

if TYPE_CHECKING:
    from hardware_profiles.dtypes import Dtype
    from hardware_profiles.schema import GpuProfile, Hardware

# What takes the place of a table that a profile lacks, in this order.
STAND_INS: dict[str, tuple[str, ...]] = {
    "fp8": ("fp8_block",),
    "fp8_block": ("fp8",),
    "int4": ("bf16",),
    "mxfp4": ("int4", "bf16"),
    "nvfp4": ("int4", "bf16"),
}


class Ragged(Part):
    """Slowdown where m is no multiple of `tile`, for m > `above`: measured at m = j tile + 1.

    A product with p of the last tile's `tile` rows missing takes `slowdown` ** (p / (tile - 1)).
    """

    tile: int = Field(gt=1)
    above: int = Field(ge=0)
    m: Knots
    n: Knots
    k: Knots
    slowdown: Ratios

    @model_validator(mode="after")
    def _shape(self) -> Self:
        check_axes(self.slowdown, "slowdown", self.m, self.n, self.k)
        return self


class Gemm(Fitted):
    """Efficiency of Y[m,n] = X[m,k] W[k,n] against its roofline, over log m, log n, log k."""

    m: Knots
    n: Knots
    k: Knots
    efficiency: Ratios
    ragged: Ragged | None = None

    @model_validator(mode="after")
    def _shape(self) -> Self:
        check_axes(self.efficiency, "efficiency", self.m, self.n, self.k)
        return self


def gemm_s(m: FloatArray, n: int, k: int, dtype: Dtype, gpu: GpuProfile) -> FloatArray:
    """Time of Y[m, n] = X[m, k] W[k, n]: its roofline over the efficiency reached at (m, n, k).

    The efficiency is interpolated (log of it, over log m, log n, log k) and held constant outside
    the profile's knots; where m leaves part of a tile empty, `Ragged` says how much slower it is.
    A dtype the profile has no table of takes the efficiency of `STAND_INS` at a matrix of as many
    bytes, against its own roofline (`GpuProfile.is_measured` tells). InputError: fp8 on a GPU
    without it.
    """
    time_s = gemm_roofline_s(m, n, k, dtype, gpu.hardware)
    used, table = gemm_table(dtype, gpu)
    same_bytes = k * BYTES[dtype] / BYTES[used]
    time_s /= np.exp(_curve(m, n, same_bytes, table, table.efficiency))
    ragged = table.ragged
    if ragged is not None:
        missing = np.ceil(m / ragged.tile) * ragged.tile - m
        share = np.where(m > ragged.above, missing / (ragged.tile - 1), 0.0)
        time_s *= np.exp(share * _curve(m, n, same_bytes, ragged, ragged.slowdown))
    return time_s


def gemm_roofline_s(
    m: FloatArray, n: FloatArray | int, k: FloatArray | int, dtype: Dtype, hardware: Hardware
) -> FloatArray:
    """The larger of bytes / bandwidth and floating-point operations / peak.

    Weights are in `dtype`. So are the inputs for fp8, and for nvfp4 on a GPU with fp4 arithmetic;
    otherwise 4-bit weights are multiplied in 16 bit, as Marlin kernels do. Outputs are in 16 bit.
    """
    peak, input_bytes = hardware.peak_bf16, float(ACTIVATION_BYTES)
    if dtype in ("fp8", "fp8_block"):
        if hardware.peak_fp8 is None:
            raise InputError("this GPU has no fp8 matrix units in its profile")
        peak, input_bytes = hardware.peak_fp8, BYTES["fp8"]
    elif dtype == "nvfp4" and hardware.peak_fp4 is not None:
        peak, input_bytes = hardware.peak_fp4, BYTES["nvfp4"]
    weights = BYTES[dtype] * np.multiply(n, k, dtype=np.float64)
    traffic = weights + input_bytes * m * k + ACTIVATION_BYTES * m * n
    operations = 2.0 * m * n * k
    roofline: FloatArray = np.maximum(traffic / hardware.memory_bandwidth.si, operations / peak.si)
    return roofline


def gemm_table(dtype: str, gpu: GpuProfile) -> tuple[str, Gemm]:
    """The profile's table of `dtype` and its name, or those that stand in for it."""
    tables: dict[str, Gemm] = dict(gpu.kernels.gemm.items())
    for name in (dtype, *STAND_INS.get(dtype, ())):
        if name in tables:
            return name, tables[name]
    raise InputError(f"the profile of {gpu.name} has no {dtype} gemm")


def _curve(m: FloatArray, n: int, k: float, knots: Gemm | Ragged, table: Array) -> FloatArray:
    """Log of the table at (m, n, k): n and k first, which leaves one curve over m."""
    logs = np.log(table.si)
    (i,), (u,) = place(one(n), knots.n)
    (j,), (v,) = place(one(k), knots.k)
    rows = (1.0 - u) * logs[:, i] + u * logs[:, i + 1]
    curve = (1.0 - v) * rows[:, j] + v * rows[:, j + 1]
    result: FloatArray = np.interp(np.log(m), np.log(np.array(knots.m)), curve)
    return result
