"""How much KV cache a GPU has left: vLLM's rule, line by line."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from simulator.cost.activations import activation_bytes
from simulator.cost.architecture import Architecture
from simulator.cost.gpu_support import check_gpu
from simulator.cost.iteration_time import DEFAULT_GENERATION, engine_constants
from simulator.cost.kv_groups import KvGroups, kv_groups
from simulator.cost.number_formats import KvCacheDtype, WeightDtype
from simulator.cost.sharding import TENSOR_PARALLEL_SIZES, Shard, shard
from simulator.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hardware_profiles.profile import GpuProfile

GIB = 2.0**30
MIN_BLOCKS = 2  # the null block and one that can be used


@dataclass(frozen=True)
class KvCapacity:
    """KV cache of one replica; every GPU of it holds the same blocks of its own heads.

    `num_gpu_blocks` counts vLLM's null block, which no request can use; a block holds `block_size`
    tokens of one group of layers (`groups`). `lines` is the memory budget of one GPU in bytes, in
    the order it is computed; "unused" is what is left of "KV" after cutting it into whole blocks.
    """

    num_gpu_blocks: int
    block_size: int
    bytes_per_token_per_gpu: int
    groups: KvGroups
    lines: dict[str, int]

    @property
    def usable_tokens(self) -> int:
        """Tokens whose keys and values fit in the usable blocks while all layers see them."""
        usable = self.num_gpu_blocks - 1
        return usable // (self.groups.full + self.groups.window) * self.block_size


@dataclass(frozen=True)
class _Setting:
    """What decides the memory budget of one GPU; what may be changed to make a model fit."""

    architecture: Architecture
    gpu: GpuProfile
    tensor_parallel_size: int
    weight_dtype: WeightDtype
    kv_cache_dtype: KvCacheDtype
    gpu_memory_utilization: float
    max_num_batched_tokens: int
    max_num_seqs: int
    block_size: int
    enable_expert_parallel: bool
    engine_generation: str

    def shard(self) -> Shard:
        """This model's share of one GPU; InputError if there is none."""
        check_gpu(self.architecture, self.gpu, self.weight_dtype, self.kv_cache_dtype)
        formats = self.architecture.formats_as(self.weight_dtype)
        return shard(
            self.architecture, self.tensor_parallel_size, self.enable_expert_parallel, formats
        )

    def block_bytes(self, part: Shard) -> int:
        """Bytes of one KV block on one GPU."""
        all_layers = part.kv_bytes_per_token(self.kv_cache_dtype) * self.block_size
        return (
            all_layers // self.architecture.num_hidden_layers * kv_groups(self.architecture).layers
        )

    def lines(self, part: Shard) -> dict[str, int]:
        """The memory budget of one GPU in bytes; "KV" is what remains and may be negative."""
        reserve = self.gpu.memory_reserve
        engine = engine_constants(self.gpu, self.engine_generation)
        total = int(self.gpu.hardware.usable_memory.si)
        available = min(total, math.ceil(total * self.gpu_memory_utilization))
        collectives = reserve.collectives.get(part.tensor_parallel_size)
        lines = {
            "total": total,
            "utilisation": available,
            "weights": part.weight_bytes(self.architecture.formats_as(self.weight_dtype)),
            "activations": activation_bytes(part, self.max_num_batched_tokens, self.max_num_seqs),
            "CUDA graphs": int(reserve.cuda_graphs.si),
            "other": int(engine.kv_reserve.si + (collectives.si if collectives else 0)),
        }
        taken = sum(lines[name] for name in ("weights", "activations", "CUDA graphs", "other"))
        return lines | {"KV": available - taken}

    def fits(self) -> bool:
        """Whether a usable block remains."""
        if self.tensor_parallel_size > 1 and (
            self.tensor_parallel_size not in self.gpu.kernels.all_reduce
        ):
            return False
        try:
            part = self.shard()
            return self.lines(part)["KV"] >= MIN_BLOCKS * self.block_bytes(part)
        except InputError:
            return False


def kv_capacity(
    architecture: Architecture,
    gpu: GpuProfile,
    *,
    tensor_parallel_size: int,
    weight_dtype: WeightDtype,
    kv_cache_dtype: KvCacheDtype,
    gpu_memory_utilization: float,
    max_num_batched_tokens: int,
    max_num_seqs: int,
    block_size: int,
    enable_expert_parallel: bool = False,
    engine_generation: str = DEFAULT_GENERATION,
) -> KvCapacity:
    """Blocks of KV cache left on each GPU after weights, activations, graphs and the rest.

    The rule is vLLM's (docs/model.md): memory x utilisation, less the peak of a dummy run of
    `max_num_batched_tokens` tokens and `max_num_seqs` samples. Raises InputError if the model
    can't be split, the GPU lacks the number format, or nothing is left; the last says by how much
    it is short and what would fit.
    """
    if not 0 < gpu_memory_utilization <= 1:
        raise InputError(
            f"gpu_memory_utilization must be above 0 and at most 1, not {gpu_memory_utilization}"
        )
    setting = _Setting(
        architecture=architecture,
        gpu=gpu,
        tensor_parallel_size=tensor_parallel_size,
        weight_dtype=weight_dtype,
        kv_cache_dtype=kv_cache_dtype,
        gpu_memory_utilization=gpu_memory_utilization,
        max_num_batched_tokens=max_num_batched_tokens,
        max_num_seqs=max_num_seqs,
        block_size=block_size,
        enable_expert_parallel=enable_expert_parallel,
        engine_generation=engine_generation,
    )
    part = setting.shard()
    lines, block_bytes = setting.lines(part), setting.block_bytes(part)
    blocks = lines["KV"] // block_bytes
    if blocks < MIN_BLOCKS:
        raise InputError(_too_large(setting, MIN_BLOCKS * block_bytes - lines["KV"]))
    lines["unused"] = lines["KV"] - blocks * block_bytes
    return KvCapacity(
        num_gpu_blocks=blocks,
        block_size=block_size,
        bytes_per_token_per_gpu=part.kv_bytes_per_token(kv_cache_dtype),
        groups=kv_groups(architecture),
        lines=lines,
    )


def _too_large(setting: _Setting, missing_bytes: int) -> str:
    weights = str(setting.weight_dtype)
    if weights == "auto":
        weights = f"auto ({'/'.join(setting.architecture.formats.all)})"
    short_gib = math.ceil(missing_bytes / GIB * 10) / 10
    remedies = list(_remedies(setting))
    remedy = f"fits {' or '.join(remedies)}" if remedies else "no setting of one node makes it fit"
    return (
        f"{setting.architecture.name} does not fit on {setting.gpu.name} with tensor_parallel_size"
        f" {setting.tensor_parallel_size}, weight_dtype {weights} and"
        f" gpu_memory_utilization {setting.gpu_memory_utilization:g}: short by {short_gib:.1f} GiB"
        f" per GPU; {remedy}"
    )


def _remedies(setting: _Setting) -> Iterator[str]:
    """What would make a model fit: more GPUs, smaller weights, larger GPUs; else two of these."""
    for dtype in _smaller(setting):
        for size in TENSOR_PARALLEL_SIZES:
            if replace(setting, tensor_parallel_size=size, weight_dtype=dtype).fits():
                changes = []
                if size != setting.tensor_parallel_size:
                    changes.append(f"tensor_parallel_size {size}")
                if dtype != setting.weight_dtype:
                    changes.append(f"weight_dtype {dtype}")
                yield "with " + " and ".join(changes)
                break
    larger = [gpu.name for gpu in _other_gpus(setting) if replace(setting, gpu=gpu).fits()]
    if larger:
        yield f"on {' or '.join(larger)}"


def _smaller(setting: _Setting) -> list[WeightDtype]:
    """The weights as they are, then formats with fewer bytes."""
    used = setting.architecture.formats_as(setting.weight_dtype).all
    smaller: list[WeightDtype] = [setting.weight_dtype]
    if used == ("bf16",):
        smaller.append("fp8")
    if set(used) <= {"bf16", "fp8", "fp8_block"}:
        smaller.append("int4")
    return smaller


def _other_gpus(setting: _Setting) -> list[GpuProfile]:
    from hardware_profiles.profile import list_gpus, load_gpu

    return [load_gpu(row.name) for row in list_gpus() if row.name != setting.gpu.name]
