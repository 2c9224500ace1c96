"""The shape of a GPU profile file; `docs/model.md` states the formula each part feeds."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from hardware_profiles.dtypes import Dtype, KvDtype
from hardware_profiles.kernels.collectives import Collective
from hardware_profiles.kernels.decode_attention import DecodeAttention
from hardware_profiles.kernels.elementwise import Elementwise
from hardware_profiles.kernels.gemm import Gemm
from hardware_profiles.kernels.mla import MlaDecode, MlaPrefill
from hardware_profiles.kernels.moe import Moe
from hardware_profiles.kernels.prefill_attention import PrefillAttention
from hardware_profiles.quantity import Part
from hardware_profiles.units import (
    Bandwidth,
    Bytes,
    BytesPerLogit,
    Compute,
    EnergyPerByte,
    EnergyPerFlop,
    Power,
    Price,
    Time,
)


class Hardware(Part):
    """Data sheet of one GPU. Links: bytes per second in one direction; peaks: without sparsity."""

    memory: Bytes
    usable_memory: Bytes
    memory_bandwidth: Bandwidth
    peak_bf16: Compute
    peak_fp8: Compute | None = None
    peak_int8: Compute | None = None
    peak_fp4: Compute | None = None
    nvlink_bandwidth: Bandwidth | None = None
    pcie_bandwidth: Bandwidth
    network_bandwidth: Bandwidth | None = None
    tdp: Power


class PowerModel(Part):
    """Watts drawn: `idle`, plus energy per floating-point operation and per byte of memory moved.

    Without the two energies only idle and maximum power (`hardware.tdp`) are known.
    """

    idle: Power
    energy_per_flop: EnergyPerFlop | None = None
    energy_per_byte: EnergyPerByte | None = None


class Kernels(Part):
    """Measured speed of the GPU's kernels; collectives are keyed by the number of GPUs."""

    gemm: dict[Dtype, Gemm]
    decode_attention: dict[KvDtype, DecodeAttention]
    prefill_attention: dict[KvDtype, PrefillAttention]
    mla_decode: dict[KvDtype, MlaDecode] = Field(default_factory=dict)
    mla_prefill: dict[KvDtype, MlaPrefill] = Field(default_factory=dict)
    moe: dict[Dtype, Moe] = Field(default_factory=dict)
    all_reduce: dict[int, Collective] = Field(default_factory=dict)
    all_gather: dict[int, Collective] = Field(default_factory=dict)
    elementwise: Elementwise

    @model_validator(mode="after")
    def _has_bf16(self) -> Self:
        for name in ("gemm", "decode_attention", "prefill_attention"):
            if "bf16" not in getattr(self, name):
                raise ValueError(f"{name} needs a bf16 entry")
        return self


class MixedDecode(Part):
    """Slowdown of decode attention in iterations that carry prompt chunks too.

    `factor`: a ratio, or "group" for as many times as a KV head has query heads.
    """

    factor: Annotated[float, Field(ge=1)] | Literal["group"]
    source: str = Field(min_length=1)


class SyncHost(Part):
    """What an iteration of an engine that waits for the GPU takes beyond the kernels.

    Per iteration, per request in it, and (GPU time of the sampler) per logit, that is per entry of
    the vocabulary of each request.
    """

    iteration: Time
    request: Time
    logit: Time


class AsyncHost(SyncHost):
    """CPU time of an engine that prepares the next iteration while the GPU works on this one.

    `iteration`, `request` and `logit` come on top all the same; the overlapped ones hide
    behind the GPU's own time, so that an iteration takes max(GPU, overlapped) + exposed.
    """

    overlapped_iteration: Time
    overlapped_request: Time


class Engine(Part):
    """Constants of one generation of the engine on this GPU, without and with async scheduling.

    `kv_reserve` is memory it keeps from the KV cache beyond what is computed; `sampler_traffic` the
    memory traffic of turning one logit into its share of a sampled token.
    """

    sync: SyncHost
    async_: AsyncHost = Field(alias="async")
    kv_reserve: Bytes
    sampler_traffic: BytesPerLogit


class MemoryReserve(Part):
    """Memory an engine keeps from the KV cache besides weights and activations."""

    cuda_graphs: Bytes
    collectives: dict[int, Bytes] = Field(default_factory=dict)


class GpuProfile(Part):
    """One GPU model: data sheet, kernel speeds, engine constants, example price.

    `calibrated`: the kernel numbers are fitted to measurements made on this very GPU.
    docs/validation.md says which whole runs of real engines it was checked against.
    """

    name: str = Field(min_length=1)
    description: str
    aliases: list[str] = Field(default_factory=list)
    calibrated: bool
    hardware: Hardware
    power: PowerModel
    price: Price
    kernels: Kernels
    engines: dict[str, Engine] = Field(min_length=1)
    memory_reserve: MemoryReserve
    mixed_decode: MixedDecode | None = None

    @model_validator(mode="after")
    def _fp8_is_whole(self) -> Self:
        tables = (self.kernels.gemm, self.kernels.decode_attention, self.kernels.prefill_attention)
        if self.hardware.peak_fp8 is None and any("fp8" in table for table in tables):
            raise ValueError("has fp8 kernels but no hardware.peak_fp8")
        return self

    def is_measured(self, operation: str, key: str | int) -> bool:
        """Whether `kernels.<operation>` has a table for this dtype or number of GPUs.

        Where it has none, the operation's formula states what stands in for it.
        """
        tables = getattr(self.kernels, operation)
        return isinstance(tables, dict) and key in tables
