"""Routed experts of a mixture-of-experts layer, on the GPU that has most to do."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Annotated, Self

import numpy as np
from pydantic import model_validator

from hardware_profiles.dtypes import ACTIVATION_BYTES, BYTES
from hardware_profiles.kernels.gemm import STAND_INS
from hardware_profiles.kernels.interpolation import FloatArray, Knots, check_axes, place, shares
from hardware_profiles.quantity import Fitted, Number, of
from hardware_profiles.units import Ratios, Times
from simulator.errors import InputError

if TYPE_CHECKING:
    from hardware_profiles.dtypes import Dtype
    from hardware_profiles.schema import GpuProfile, Hardware

Passes = Annotated[Number, of("ratio", zero=True)]

# Spread of the experts' popularity: the standard deviation of its logarithm. 0 would be uniform.
ROUTING_SKEW = 0.5
CLASSES = 8  # of equally many experts, that stand for the popularities


class Moe(Fitted):
    """Both grouped GEMMs of a layer's experts, their activation, and the shuffling around them.

    `launch` over `experts` on the GPU. `efficiency` [tokens][width][active] of the roofline: tokens
    per active expert, intermediate size on the GPU, active experts on the GPU. `hidden_passes` and
    `intermediate_passes` count how often rows of that width cross the memory bus for every token
    and chosen expert, wherever that expert lives (Triton kernels shuffle them all);
    `local_passes` how often the rows of the GPU's own experts do.
    """

    experts: Knots
    launch: Times
    hidden_passes: Passes
    intermediate_passes: Passes
    local_passes: Passes
    tokens: Knots
    width: Knots
    active: Knots
    efficiency: Ratios

    @model_validator(mode="after")
    def _shape(self) -> Self:
        check_axes(self.launch, "launch", self.experts)
        check_axes(self.efficiency, "efficiency", self.tokens, self.width, self.active)
        return self


@dataclass(frozen=True)
class MoeWork:
    """What one GPU does, in seconds at the speeds of the data sheet; arrays over m.

    `roofline`: weights of the active experts or arithmetic, whichever takes longer. The others
    are one pass over the rows that `Moe` counts.
    """

    roofline: FloatArray
    hidden: FloatArray
    intermediate: FloatArray
    local: FloatArray


def moe_s(
    m: FloatArray,
    hidden: int,
    intermediate: int,
    num_experts: int,
    top_k: int,
    dtype: Dtype,
    tensor_parallel_size: int,
    expert_parallel_size: int,
    gpu: GpuProfile,
    skew: float = ROUTING_SKEW,
) -> FloatArray:
    """Routed experts of one layer for `m` tokens, on the busiest of the GPUs that share them.

    Gate, up and down projections of `intermediate` each. Tensor parallelism cuts that width, expert
    parallelism deals out the experts; m counts the tokens of all GPUs that deal. No communication,
    no router and no shared expert. A dtype without a table runs at the efficiency of its stand-in
    (`gemm.STAND_INS`) on its own roofline. InputError: fp8 on a GPU without it.
    """
    active, slots = busiest_gpu(m, num_experts, top_k, expert_parallel_size, skew)
    own = num_experts / expert_parallel_size
    width = intermediate / tensor_parallel_size
    return loaded_s(m * top_k, active, slots, hidden, width, own, dtype, gpu)


def loaded_s(
    all_slots: FloatArray,
    active: FloatArray,
    slots: FloatArray,
    hidden: int,
    width: float,
    own: float,
    dtype: Dtype,
    gpu: GpuProfile,
) -> FloatArray:
    """Time of a GPU with `own` experts of which `active` work on `slots` (token, expert) pairs.

    `all_slots` are the pairs of all GPUs, `width` is the intermediate size on this one.
    """
    table = _table(dtype, gpu)
    work = moe_work(all_slots, slots, active, hidden, width, dtype, gpu.hardware)
    curves = np.tensordot(1.0 / table.efficiency.si, shares(width, table.width), (1, 0))
    lower, over = place(slots / active, table.tokens)
    left, right = place(active, table.active)
    slowness = (1.0 - over) * (
        (1.0 - right) * curves[lower, left] + right * curves[lower, left + 1]
    ) + over * ((1.0 - right) * curves[lower + 1, left] + right * curves[lower + 1, left + 1])
    result: FloatArray = (
        float(shares(own, table.experts) @ table.launch.si)
        + slowness * work.roofline
        + table.hidden_passes.si * work.hidden
        + table.intermediate_passes.si * work.intermediate
        + table.local_passes.si * work.local
    )
    return result


def moe_work(
    all_slots: FloatArray,
    slots: FloatArray,
    active: FloatArray,
    hidden: FloatArray | int,
    width: FloatArray | float,
    dtype: str,
    hardware: Hardware,
) -> MoeWork:
    """Work of a GPU with `slots` (token, expert) pairs on `active` experts of its own."""
    bandwidth = hardware.memory_bandwidth.si
    size = 3.0 * np.multiply(hidden, width, dtype=np.float64)  # elements of one expert
    return MoeWork(
        roofline=np.maximum(
            BYTES[dtype] * active * size / bandwidth, 2.0 * slots * size / moe_peak(dtype, hardware)
        ),
        hidden=ACTIVATION_BYTES * all_slots * hidden / bandwidth,
        intermediate=ACTIVATION_BYTES * all_slots * width / bandwidth,
        # in and out of both GEMMs: hidden twice, gate, up and their product
        local=ACTIVATION_BYTES * slots * (2.0 * hidden + 3.0 * width) / bandwidth,
    )


def moe_peak(dtype: str, hardware: Hardware) -> float:
    """Peak FLOP/s of the experts' arithmetic: 4-bit weights are multiplied in 16 bit."""
    peak = hardware.peak_bf16
    if dtype in ("fp8", "fp8_block"):
        if hardware.peak_fp8 is None:
            raise InputError("this GPU has no fp8 matrix units in its profile")
        peak = hardware.peak_fp8
    elif dtype == "nvfp4" and hardware.peak_fp4 is not None:
        peak = hardware.peak_fp4
    return peak.si


def busiest_gpu(
    m: FloatArray, num_experts: int, top_k: int, expert_parallel_size: int, skew: float
) -> tuple[FloatArray, FloatArray]:
    """Expected active experts and (token, expert) pairs on the busiest GPU, for m tokens.

    Tokens choose independently of each other, an expert of popularity p with probability p top_k:
    it is active with probability 1 - (1 - p top_k)^m. Popularities are log-normal, their logarithm
    has standard deviation `skew`, and experts are dealt to the GPUs without regard to it. Load and
    active experts of a GPU then scatter around their means, and the largest of the GPUs' values is
    as of that many independent normal ones.
    """
    classes = min(CLASSES, num_experts)
    normal = np.array([NormalDist().inv_cdf((i + 0.5) / classes) for i in range(classes)])
    popularity = np.exp(skew * normal)
    chance = np.minimum(top_k * popularity / (popularity.mean() * num_experts), 1.0)
    # [classes, m]: chance that an expert of the class is active
    used = -np.expm1(np.multiply.outer(np.log1p(-np.minimum(chance, 1.0 - 1e-12)), m))
    share = 1.0 / expert_parallel_size
    own = num_experts * share
    active = own * used.mean(axis=0)
    slots = m * top_k * share
    if expert_parallel_size > 1:
        largest = _largest_normal(expert_parallel_size)
        # Whether it is active scatters by used (1 - used), and from expert to expert: in all
        # this is the variance of a coin with the mean chance.
        mean = used.mean(axis=0)
        spread_active = own * (1.0 - share) * mean * (1.0 - mean)
        spread_slots = (
            own * (1.0 - share) * (m * (chance * (1.0 - chance)).mean() + m**2 * chance.var())
        )
        active = np.minimum(active + largest * np.sqrt(spread_active), own)
        slots = np.minimum(slots + largest * np.sqrt(spread_slots), m * min(top_k, own))
    active = np.maximum(active, np.minimum(1.0, slots))
    return active, np.maximum(slots, active)


def _largest_normal(count: int) -> float:
    """Expected largest of `count` standard normal values (Blom's approximation)."""
    return NormalDist().inv_cdf((count - 0.375) / (count + 0.25))


def _table(dtype: str, gpu: GpuProfile) -> Moe:
    for name in (dtype, *STAND_INS.get(dtype, ())):
        for key, table in gpu.kernels.moe.items():
            if key == name:
                return table
    raise InputError(f"the profile of {gpu.name} has no {dtype} moe")
