"""Matrix products, experts and what lies between them: the parts of an iteration that follow m."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hardware_profiles.dtypes import ACTIVATION_BYTES, BYTES, Dtype
from hardware_profiles.kernels.collectives import all_gather_s, all_reduce_s
from hardware_profiles.kernels.elementwise import elementwise_s
from hardware_profiles.kernels.gemm import gemm_s
from hardware_profiles.kernels.moe import ROUTING_SKEW, busiest_gpu, moe_s
from simulator.cost.component import Component, table_fit
from simulator.cost.number_formats import Formats
from simulator.cost.sharding import Matrix, Shard
from simulator.cost.terms import FloatArray, TermsBuilder

if TYPE_CHECKING:
    from hardware_profiles.profile import GpuProfile


def peak_flops(dtype: Dtype, gpu: GpuProfile) -> float:
    """FLOP/s of the arithmetic that weights in `dtype` are multiplied with.

    4-bit weights are unpacked to 16 bit, except nvfp4 on a GPU with fp4 units.
    """
    hardware = gpu.hardware
    peaks = {"fp8": hardware.peak_fp8, "fp8_block": hardware.peak_fp8, "nvfp4": hardware.peak_fp4}
    return (peaks.get(dtype) or hardware.peak_bf16).si


def matrix_components(
    part: Shard, gpu: GpuProfile, formats: Formats, m: FloatArray, terms: TermsBuilder
) -> list[Component]:
    """The matrix products every token goes through; `m` [tokens] is padded to the CUDA graphs."""
    return [
        Component(
            matrix.name,
            seconds=terms(
                token=matrix.layers * gemm_s(m, matrix.n, matrix.k, formats.of(matrix.part), gpu)
            ),
            bytes_moved=terms(token=matrix.layers * _bytes(matrix, formats.of(matrix.part), m)),
            flops=terms(token=matrix.layers * 2.0 * m * matrix.n * matrix.k),
            peak_flops=peak_flops(formats.of(matrix.part), gpu),
            fit=table_fit(gpu, "gemm", formats.of(matrix.part)),
            shape={"n": matrix.n, "k": matrix.k},
        )
        for matrix in part.layer_matrices
        if not matrix.in_attention
    ]


def expert_components(
    part: Shard, gpu: GpuProfile, formats: Formats, m: FloatArray, terms: TermsBuilder
) -> list[Component]:
    """The routed experts of the busiest GPU: those that m tokens visit have their weights read."""
    model, experts, dtype = part.architecture, part.architecture.experts, formats.experts
    if experts is None:
        return []
    layers, ep = model.num_expert_layers, part.expert_parallel_size
    visits = experts.num_experts_per_tok
    seconds = moe_s(
        m,
        model.hidden_size,
        experts.intermediate_size,
        experts.num_experts,
        visits,
        dtype,
        part.tensor_parallel_size // ep,
        ep,
        gpu,
    )
    active, rows = busiest_gpu(m, experts.num_experts, visits, ep, ROUTING_SKEW)
    weights = sum(matrix.n * matrix.k for matrix in part.expert_matrices)
    inner = part.expert_matrices[1].k
    activations = ACTIVATION_BYTES * rows * (2 * model.hidden_size + 3 * inner)
    return [
        Component(
            "experts",
            seconds=terms(token=layers * seconds),
            bytes_moved=terms(token=layers * (active * weights * BYTES[dtype] + activations)),
            flops=terms(token=layers * 2.0 * rows * weights),
            peak_flops=peak_flops(dtype, gpu),
            fit=table_fit(gpu, "moe", dtype),
            shape={
                "hidden": model.hidden_size,
                "intermediate": experts.intermediate_size,
                "num_experts": experts.num_experts,
                "top_k": visits,
                "tensor_parallel_size": part.tensor_parallel_size // ep,
                "expert_parallel_size": ep,
            },
        )
    ]


def elementwise_component(
    part: Shard, gpu: GpuProfile, m: FloatArray, terms: TermsBuilder
) -> Component:
    """Norms, rotary embedding, activations and routing between the matrix products."""
    model = part.architecture
    values, launches = _attention_values(part)
    moved = model.num_hidden_layers * float(ACTIVATION_BYTES * values)
    calls = model.num_hidden_layers * launches
    if model.num_dense_layers:  # SiLU(gate) * up
        inner = model.intermediate_size // part.tensor_parallel_size
        moved += model.num_dense_layers * ACTIVATION_BYTES * 3 * inner
        calls += model.num_dense_layers
    experts = model.experts
    if experts:  # choosing experts from float32 scores; the activation is part of `experts`
        per_layer, launches = 8.0 * experts.num_experts, 1
        if experts.shared_intermediate_size:  # its activation, and adding it to the others
            inner = experts.shared_intermediate_size // part.tensor_parallel_size
            per_layer += ACTIVATION_BYTES * 3 * (inner + model.hidden_size)
            launches += 2
        moved += model.num_expert_layers * per_layer
        calls += model.num_expert_layers * launches
    # once: embedding look-up and last norm
    moved, calls = moved + 6 * model.hidden_size * ACTIVATION_BYTES, calls + 2
    bytes_moved = m * moved
    return Component(
        "elementwise",
        seconds=terms(token=elementwise_s(bytes_moved, calls, gpu)),
        bytes_moved=terms(token=bytes_moved),
        flops=terms(),
        fit=gpu.kernels.elementwise.fit,
    )


def network_component(
    part: Shard, gpu: GpuProfile, m: FloatArray, terms: TermsBuilder
) -> Component:
    """All-reduces after attention, after the MLP, and once for the split embedding."""
    model, tp = part.architecture, part.tensor_parallel_size
    message = m * (model.hidden_size * ACTIVATION_BYTES)
    seconds = (2 * model.num_hidden_layers + 1) * all_reduce_s(message, tp, gpu)
    fit = table_fit(gpu, "all_reduce", tp)
    return Component("all-reduce", terms(token=seconds), terms(), terms(), kind="network", fit=fit)


def request_components(
    part: Shard, gpu: GpuProfile, sampler_traffic: float, b: FloatArray, terms: TermsBuilder
) -> list[Component]:
    """Output head and sampling of b requests; `sampler_traffic` in bytes moved per logit."""
    head, tp = part.lm_head, part.tensor_parallel_size
    logits = b * (head.n * tp)
    sampled = logits * sampler_traffic
    gathered_s = all_gather_s(logits * ACTIVATION_BYTES, tp, gpu)
    return [
        Component(
            "lm_head",  # vLLM keeps it in 16 bit in quantised checkpoints too
            seconds=terms(request=gemm_s(b, head.n, head.k, "bf16", gpu)),
            bytes_moved=terms(request=_bytes(head, "bf16", b)),
            flops=terms(request=2.0 * b * head.n * head.k),
            peak_flops=peak_flops("bf16", gpu),
            fit=table_fit(gpu, "gemm", "bf16"),
            shape={"n": head.n, "k": head.k},
        ),
        Component(
            "all-gather",
            seconds=terms(request=gathered_s),
            bytes_moved=terms(),
            flops=terms(),
            kind="network",
            fit=table_fit(gpu, "all_gather", tp),
        ),
        Component(
            "sampling",
            seconds=terms(request=elementwise_s(sampled, 0, gpu)),
            bytes_moved=terms(request=sampled),
            flops=terms(),
            fit=gpu.kernels.elementwise.fit,
        ),
    ]


def _bytes(matrix: Matrix, dtype: Dtype, m: FloatArray) -> FloatArray:
    """Weights read once, inputs and outputs in 16 bit."""
    return BYTES[dtype] * matrix.n * matrix.k + ACTIVATION_BYTES * m * (matrix.n + matrix.k)


def _attention_values(part: Shard) -> tuple[int, int]:
    """Values read and written per token and layer around attention, and kernels launched.

    Two norms that also add the residual (read two vectors, write two), and rotary embedding in
    place. The attention kernels include the copy into the KV cache, MLA's also the rotary embedding
    and norms of their own.
    """
    model = part.architecture
    more_norms = model.norms_per_layer - 2  # these read one vector and write one
    values, launches = (8 + 2 * more_norms) * model.hidden_size, model.norms_per_layer
    if not model.latent:
        q_width, kv_width = part.q_heads * model.head_dim, part.kv_heads * model.head_dim
        values, launches = values + 2 * (q_width + kv_width), launches + 1
        if model.qk_norm_width:  # queries and keys are normalised by a kernel each
            values, launches = values + 2 * (q_width + kv_width), launches + 2
    return values, launches
