"""The shape of a GPU profile file; `docs/model.md` states the formula each part feeds."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from hardware_profiles.quantity import Part, Scalar, Table, of

Dtype = Literal["bf16", "fp8"]
Time = Annotated[Scalar, of("time", zero=True)]
Times = Annotated[Table, of("time", zero=True)]
Bytes = Annotated[Scalar, of("bytes", zero=True)]
Bandwidth = Annotated[Scalar, of("bandwidth")]
Compute = Annotated[Scalar, of("compute")]
Power = Annotated[Scalar, of("power")]
Price = Annotated[Scalar, of("price", zero=True)]
Ratio = Annotated[Scalar, of("ratio")]
Ratios = Annotated[Table, of("ratio")]
Knots = Annotated[list[float], Field(min_length=2)]


def _check_axes(table: Table, name: str, *axes: list[float]) -> None:
    for axis in axes:
        if any(low >= high for low, high in itertools.pairwise(axis)) or axis[0] <= 0:
            raise ValueError(f"the knots of {name} must be positive and ascending, not {axis}")
    wanted = tuple(len(axis) for axis in axes)
    if table.si.shape != wanted:
        raise ValueError(f"{name} has shape {table.si.shape}, its knots ask for {wanted}")


class Hardware(Part):
    """Data sheet of one GPU. Links: bytes per second in one direction."""

    memory: Bytes
    usable_memory: Bytes
    memory_bandwidth: Bandwidth
    peak_bf16: Compute
    peak_fp8: Compute | None = None
    nvlink_bandwidth: Bandwidth | None = None
    pcie_bandwidth: Bandwidth
    network_bandwidth: Bandwidth | None = None
    tdp: Power
    idle_power: Power


class Gemm(Part):
    """Efficiency of Y[m,n] = X[m,k] W[k,n] against its roofline, over log m, log n, log k."""

    m: Knots
    n: Knots
    k: Knots
    efficiency: Ratios

    @model_validator(mode="after")
    def _shape(self) -> Self:
        _check_axes(self.efficiency, "efficiency", self.m, self.n, self.k)
        return self


class DecodeAttention(Part):
    """Decode attention of one layer: a fixed time and the fraction of memory bandwidth reached.

    Both over `work` = requests x KV heads on one GPU, the parallel parts the kernel has.
    """

    work: Knots
    fixed: Times
    efficiency: Ratios

    @model_validator(mode="after")
    def _shape(self) -> Self:
        _check_axes(self.fixed, "fixed", self.work)
        _check_axes(self.efficiency, "efficiency", self.work)
        return self


class PrefillAttention(Part):
    """Prefill attention of one layer, over the query heads on one GPU.

    `passes` counts how often q, k, v and the output cross the memory bus; `efficiency` is the
    fraction of peak bf16 FLOP/s reached on the causal query-key pairs.
    """

    q_heads: Knots
    fixed: Times
    passes: Ratios
    efficiency: Ratios

    @model_validator(mode="after")
    def _shape(self) -> Self:
        for name, table in (
            ("fixed", self.fixed),
            ("passes", self.passes),
            ("efficiency", self.efficiency),
        ):
            _check_axes(table, name, self.q_heads)
        return self


class Collective(Part):
    """latency + bytes / bandwidth, with one pair of constants up to `small_message`, one above."""

    small_message: Bytes
    small_latency: Time
    small_bandwidth: Bandwidth
    large_latency: Time
    large_bandwidth: Bandwidth


class Elementwise(Part):
    """Norms, rotary embedding, activation and copies: launch + bytes / (efficiency bandwidth)."""

    launch: Time
    efficiency: Ratio


class Sampling(Part):
    """Memory traffic of turning one logit into its share of a sampled token."""

    traffic: Annotated[Scalar, of("bytes per logit", zero=True)]


class Kernels(Part):
    """Measured speed of the GPU's kernels; collectives are keyed by tensor-parallel size."""

    gemm: dict[Dtype, Gemm]
    decode_attention: dict[Dtype, DecodeAttention]
    prefill_attention: dict[Dtype, PrefillAttention]
    all_reduce: dict[int, Collective] = Field(default_factory=dict)
    all_gather: dict[int, Collective] = Field(default_factory=dict)
    elementwise: Elementwise
    sampling: Sampling

    @model_validator(mode="after")
    def _has_bf16(self) -> Self:
        for name in ("gemm", "decode_attention", "prefill_attention"):
            if "bf16" not in getattr(self, name):
                raise ValueError(f"{name} needs a bf16 entry")
        return self


class Host(Part):
    """CPU time of the engine that the GPU waits for: per iteration, and per request in it."""

    iteration: Time
    request: Time


class MemoryReserve(Part):
    """Memory an engine keeps from the KV cache besides weights and activations."""

    other: Bytes
    cuda_graphs: Bytes
    collectives: dict[int, Bytes] = Field(default_factory=dict)
    sampler: Annotated[Scalar, of("bytes per logit", zero=True)]


class GpuProfile(Part):
    """One GPU model: data sheet, kernel speeds, engine constants, example price.

    `calibrated` says whether the kernel numbers were fitted to measurements *and* checked end to
    end against real engines; until then results are preliminary.
    """

    name: str = Field(min_length=1)
    description: str
    aliases: list[str] = Field(default_factory=list)
    calibrated: bool
    hardware: Hardware
    price: Price
    kernels: Kernels
    host: Host
    memory_reserve: MemoryReserve

    @model_validator(mode="after")
    def _fp8_is_whole(self) -> Self:
        tables = (self.kernels.gemm, self.kernels.decode_attention, self.kernels.prefill_attention)
        if self.hardware.peak_fp8 is None and any("fp8" in table for table in tables):
            raise ValueError("has fp8 kernels but no hardware.peak_fp8")
        return self
