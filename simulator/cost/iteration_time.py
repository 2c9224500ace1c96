"""What one iteration (engine step) of a replica costs, tabulated so that spans stay exact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hardware_profiles.kernels.elementwise import memory_bandwidth
from simulator.cost.architecture import Architecture
from simulator.cost.attention_layers import attention_components
from simulator.cost.component import Component
from simulator.cost.cost_table import CostTable
from simulator.cost.cuda_graphs import (
    BLACKWELL_LARGEST_SIZE,
    DEFAULT_LARGEST_SIZE,
    capture_sizes,
    pad_to_graph,
)
from simulator.cost.gpu_support import check_gpu
from simulator.cost.linear_layers import (
    elementwise_component,
    expert_components,
    matrix_components,
    network_component,
    request_components,
)
from simulator.cost.number_formats import KvCacheDtype, WeightDtype, resolve_kv_dtype
from simulator.cost.sharding import Shard, shard
from simulator.cost.terms import FloatArray, Terms, TermsBuilder, add
from simulator.errors import InputError

if TYPE_CHECKING:
    from hardware_profiles.profile import GpuProfile
    from hardware_profiles.schema import Engine

DEFAULT_GENERATION = "vllm-0.33"

__all__ = ["CostTable", "IterationCosts", "Work", "iteration_costs", "tabulate"]


@dataclass(frozen=True)
class Work:
    """Bytes of GPU memory moved and floating-point operations of an iteration, on one GPU.

    `compute_s` is how long the operations would take at the GPU's peak, each part at that of the
    format it computes in.
    """

    bytes_moved: Terms
    flops: Terms
    compute_s: Terms


@dataclass(frozen=True)
class IterationCosts:
    """An iteration's parts by name; they add up to the iteration, above a floor.

    `floor` [requests + 1] is the time the engine's CPU takes by itself; the part called "host" and
    the floor are one in `table`'s scales.
    """

    part: Shard
    components: tuple[Component, ...]
    floor_s: FloatArray

    @property
    def window_tokens(self) -> int:
        """The sliding window of some layers; 0 if there are none."""
        return self.part.architecture.sliding_window

    def table(self, scales: Mapping[str, float] | None = None) -> CostTable:
        """The cost table; `scales` multiply the seconds of components by name.

        Raises KeyError for a name that is no component's.
        """
        factors = {component.name: 1.0 for component in self.components}
        for name, factor in (scales or {}).items():
            factors[name] *= factor
        terms = add(c.seconds.scaled(factors[c.name]) for c in self.components)
        return CostTable(
            token_s=terms.token,
            seq_s=terms.request,
            decode_fixed_s=terms.decode,
            decode_context_s=terms.context,
            prefill_s=terms.prefill,
            decode_window_s=terms.window,
            floor_s=self.floor_s * factors["host"],
            window_tokens=self.window_tokens,
            mixed_context_s=terms.mixed,
        )

    def work(self) -> Work:
        """What all parts together move and compute."""
        return Work(
            bytes_moved=add(component.bytes_moved for component in self.components),
            flops=add(component.flops for component in self.components),
            compute_s=add(
                component.flops.scaled(1.0 / component.peak_flops if component.peak_flops else 0.0)
                for component in self.components
            ),
        )


def iteration_costs(
    architecture: Architecture,
    gpu: GpuProfile,
    *,
    tensor_parallel_size: int,
    weight_dtype: WeightDtype,
    kv_cache_dtype: KvCacheDtype,
    max_num_batched_tokens: int,
    max_num_seqs: int,
    enable_expert_parallel: bool = False,
    engine_generation: str = DEFAULT_GENERATION,
    async_scheduling: bool = False,
) -> IterationCosts:
    """What an iteration of a model on `tensor_parallel_size` GPUs is made of (docs/model.md).

    `max_num_batched_tokens` and `max_num_seqs` are the scheduler's limits. `engine_generation`
    names the constants of the engine in the GPU's profile. Raises InputError if the model can't be
    split, or the GPU lacks the number format or the engine.
    """
    check_gpu(architecture, gpu, weight_dtype, kv_cache_dtype)
    formats = architecture.formats_as(weight_dtype)
    part = shard(architecture, tensor_parallel_size, enable_expert_parallel, formats)
    kv_dtype = resolve_kv_dtype(kv_cache_dtype)
    terms = TermsBuilder(max_num_batched_tokens, max_num_seqs)
    cap = BLACKWELL_LARGEST_SIZE if gpu.hardware.peak_fp4 else DEFAULT_LARGEST_SIZE
    sizes = capture_sizes(max_num_seqs, max_num_batched_tokens, cap)
    m, d = pad_to_graph(terms.tokens, sizes), pad_to_graph(terms.requests, sizes)
    engine = engine_constants(gpu, engine_generation)
    b = terms.requests
    host = engine.async_ if async_scheduling else engine.sync
    exposed_s = host.iteration.si + b * host.request.si
    # What a logit takes beyond the plain sampler is memory traffic too: the power drawn shows it.
    sampler_traffic = engine.sampler_traffic.si + host.logit.si * memory_bandwidth(gpu)
    hidden_s = np.zeros_like(b)
    if async_scheduling:
        hidden_s = engine.async_.overlapped_iteration.si + b * engine.async_.overlapped_request.si
    return IterationCosts(
        part=part,
        components=(
            *matrix_components(part, gpu, formats, m, terms),
            *expert_components(part, gpu, formats, m, terms),
            *attention_components(part, gpu, formats, kv_dtype, d, terms),
            elementwise_component(part, gpu, m, terms),
            network_component(part, gpu, m, terms),
            *request_components(part, gpu, sampler_traffic, b, terms),
            Component(
                "host",
                seconds=terms(request=exposed_s),
                bytes_moved=terms(),
                flops=terms(),
                kind="host",
                fit=host.iteration.fit,
            ),
        ),
        floor_s=np.concatenate(([0.0], exposed_s + hidden_s)),
    )


def tabulate(
    architecture: Architecture,
    gpu: GpuProfile,
    *,
    tensor_parallel_size: int,
    weight_dtype: WeightDtype,
    kv_cache_dtype: KvCacheDtype,
    max_num_batched_tokens: int,
    max_num_seqs: int,
    enable_expert_parallel: bool = False,
    engine_generation: str = DEFAULT_GENERATION,
    async_scheduling: bool = False,
    scales: Mapping[str, float] | None = None,
) -> CostTable:
    """The cost table of `iteration_costs`; `scales` multiply components by name."""
    return iteration_costs(
        architecture,
        gpu,
        tensor_parallel_size=tensor_parallel_size,
        weight_dtype=weight_dtype,
        kv_cache_dtype=kv_cache_dtype,
        max_num_batched_tokens=max_num_batched_tokens,
        max_num_seqs=max_num_seqs,
        enable_expert_parallel=enable_expert_parallel,
        engine_generation=engine_generation,
        async_scheduling=async_scheduling,
    ).table(scales)


def engine_constants(gpu: GpuProfile, engine_generation: str) -> Engine:
    """The engine's constants on this GPU; InputError if the profile has none of that generation."""
    if engine_generation not in gpu.engines:
        known = ", ".join(gpu.engines)
        raise InputError(
            f"the profile of {gpu.name} has no engine {engine_generation!r}, only {known}"
        )
    return gpu.engines[engine_generation]
