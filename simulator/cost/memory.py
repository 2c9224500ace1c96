"""How much KV cache a GPU has left: vLLM's rule, line by line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.cost.architecture import Architecture
from simulator.cost.kernels import ACTIVATION_BYTES
from simulator.cost.sharding import (
    TENSOR_PARALLEL_SIZES,
    KvCacheDtype,
    Shard,
    WeightDtype,
    check_dtypes,
    shard,
)
from simulator.errors import InputError

if TYPE_CHECKING:
    from hardware_profiles.profile import GpuProfile

GIB = 2.0**30
MIN_BLOCKS = 2  # the null block and one that can be used


@dataclass(frozen=True)
class KvCapacity:
    """KV cache of one replica; every GPU of it holds the same blocks of its own heads.

    `num_gpu_blocks` counts vLLM's null block, which no request can use. `lines` is the memory
    budget of one GPU in bytes, in the order it is computed; "unused" is what is left of "KV" after
    cutting it into whole blocks.
    """

    num_gpu_blocks: int
    block_size: int
    bytes_per_token_per_gpu: int
    lines: dict[str, int]

    @property
    def usable_tokens(self) -> int:
        """Tokens whose keys and values fit in the usable blocks."""
        return (self.num_gpu_blocks - 1) * self.block_size


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
) -> KvCapacity:
    """Blocks of KV cache left on each GPU after weights, activations, graphs and the rest.

    The rule is vLLM's (docs/model.md): memory x utilisation, less the peak of a dummy run of
    `max_num_batched_tokens` tokens and `max_num_seqs` samples. Raises InputError if the model
    can't be split, the GPU lacks the number format, or nothing is left; the last says by how much
    it is short and what would fit.
    """
    check_dtypes(gpu, weight_dtype, kv_cache_dtype)
    if not 0 < gpu_memory_utilization <= 1:
        raise InputError(
            f"gpu_memory_utilization must be above 0 and at most 1, not {gpu_memory_utilization}"
        )
    part = shard(architecture, tensor_parallel_size)
    lines = budget_lines(
        part, gpu, weight_dtype, gpu_memory_utilization, max_num_batched_tokens, max_num_seqs
    )
    bytes_per_token = part.kv_bytes_per_token(kv_cache_dtype)
    blocks = lines["KV"] // (bytes_per_token * block_size)
    if blocks < MIN_BLOCKS:
        missing = MIN_BLOCKS * bytes_per_token * block_size - lines["KV"]
        fits = []
        for dtype in _dtypes_to_try(weight_dtype, gpu):
            for size in TENSOR_PARALLEL_SIZES:
                candidate = _try_shard(architecture, size)
                if candidate is None or (size > 1 and size not in gpu.kernels.all_reduce):
                    continue
                room = budget_lines(
                    candidate,
                    gpu,
                    dtype,
                    gpu_memory_utilization,
                    max_num_batched_tokens,
                    max_num_seqs,
                )["KV"]
                block_bytes = candidate.kv_bytes_per_token(kv_cache_dtype) * block_size
                if room >= MIN_BLOCKS * block_bytes:
                    fits.append(_change(size, tensor_parallel_size, dtype, weight_dtype))
                    break
        remedy = f"fits with {' or with '.join(fits)}" if fits else "no tensor_parallel_size fits"
        raise InputError(
            f"{architecture.name} does not fit on {gpu.name} with tensor_parallel_size"
            f" {tensor_parallel_size}, weight_dtype {weight_dtype} and gpu_memory_utilization"
            f" {gpu_memory_utilization:g}: short by {math.ceil(missing / GIB * 10) / 10:.1f} GiB"
            f" per GPU; {remedy}"
        )
    lines["unused"] = lines["KV"] - blocks * bytes_per_token * block_size
    return KvCapacity(
        num_gpu_blocks=blocks,
        block_size=block_size,
        bytes_per_token_per_gpu=bytes_per_token,
        lines=lines,
    )


def budget_lines(
    part: Shard,
    gpu: GpuProfile,
    weight_dtype: WeightDtype,
    gpu_memory_utilization: float,
    max_num_batched_tokens: int,
    max_num_seqs: int,
) -> dict[str, int]:
    """The memory budget of one GPU in bytes; "KV" is what remains and may be negative."""
    reserve = gpu.memory_reserve
    total = int(gpu.hardware.usable_memory.si)
    available = min(total, math.ceil(total * gpu_memory_utilization))
    collectives = reserve.collectives.get(part.tensor_parallel_size)
    lines = {
        "total": total,
        "utilisation": available,
        "weights": part.weight_bytes(weight_dtype),
        "activations": activation_bytes(
            part, max_num_batched_tokens, max_num_seqs, reserve.sampler.si
        ),
        "CUDA graphs": int(reserve.cuda_graphs.si),
        "other": int(reserve.other.si + (collectives.si if collectives else 0)),
    }
    taken = sum(lines[name] for name in ("weights", "activations", "CUDA graphs", "other"))
    return lines | {"KV": available - taken}


def activation_bytes(
    part: Shard, max_num_batched_tokens: int, max_num_seqs: int, sampler_bytes_per_logit: float
) -> int:
    """Peak bytes of vLLM's dummy run on one GPU.

    The hidden state and the residual of every token live all the time; on top of them comes the
    larger of the MLP (gate and up projections and their product) and the sampler, which sees the
    whole vocabulary of every request even under tensor parallelism.
    """
    model = part.architecture
    inner = model.intermediate_size // part.tensor_parallel_size
    streams = 2 * max_num_batched_tokens * model.hidden_size * ACTIVATION_BYTES
    mlp = 3 * max_num_batched_tokens * inner * ACTIVATION_BYTES
    samples = min(max_num_seqs, max_num_batched_tokens)
    sampler = samples * model.vocab_size * sampler_bytes_per_logit
    return int(streams + max(mlp, sampler))


def _dtypes_to_try(weight_dtype: WeightDtype, gpu: GpuProfile) -> list[WeightDtype]:
    if weight_dtype == "bf16" and gpu.hardware.peak_fp8 and "fp8" in gpu.kernels.gemm:
        return ["bf16", "fp8"]
    return [weight_dtype]


def _try_shard(architecture: Architecture, tensor_parallel_size: int) -> Shard | None:
    try:
        return shard(architecture, tensor_parallel_size)
    except InputError:
        return None


def _change(size: int, old_size: int, dtype: WeightDtype, old_dtype: WeightDtype) -> str:
    """What a user has to change to get from the old setting to the new one."""
    changes = []
    if size != old_size:
        changes.append(f"tensor_parallel_size {size}")
    if dtype != old_dtype:
        changes.append(f"weight_dtype {dtype}")
    return " and ".join(changes)
