"""Where one iteration's time goes, what the memory holds, and how many requests fit."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from simulator.config.costs import iteration_costs_of
from simulator.config.resolve import ResolvedPool
from simulator.cost.component import Bound
from simulator.cost.extrapolation import extrapolation_notes
from simulator.cost.iteration_time import IterationCosts
from simulator.cost.kv_groups import KvGroups, kv_groups
from simulator.cost.terms import Batch
from simulator.errors import InputError, Problem

DEFAULT_CONTEXT_TOKENS = 4096
SHORTEST_CONTEXT_TOKENS = 1024


@dataclass(frozen=True)
class Share:
    """One part of the iteration: its seconds, the work of one GPU, and what limits it."""

    name: str
    seconds: float
    share: float
    bound: Bound
    gigabytes: float
    teraflops: float


@dataclass(frozen=True)
class Fitting:
    """The largest batch of requests that all have one context.

    `limit` says whether the KV cache or the engine's seats end it; `iteration_s` and
    `output_tokens_per_s` are those of a replica that decodes it.
    """

    context_tokens: int
    requests: int
    limit: str
    iteration_s: float | None
    output_tokens_per_s: float | None


@dataclass(frozen=True)
class Explanation:
    """One iteration of a replica, its memory, and what fits.

    `mbu` and `mfu` are the fractions of the iteration that moving its bytes at full memory
    bandwidth and doing its arithmetic at peak speed would take. `memory` is the budget of one GPU
    in bytes by line; None where the experiment sets `num_gpu_blocks`. `notes` say what to know
    before trusting the figures. A KV block holds `block_size`
    tokens of `layers_per_block` layers.
    """

    pool: str
    model: str
    gpu: str
    num_gpus: int
    engine: str
    weights: tuple[str, ...]
    decodes: int
    context_tokens: int
    prefill_tokens: int
    iteration_s: float
    floor_s: float
    mbu: float
    mfu: float
    shares: tuple[Share, ...]
    memory: dict[str, int] | None
    num_gpu_blocks: int
    block_size: int
    layers_per_block: int
    kv_bytes_per_token: int
    fitting: tuple[Fitting, ...]
    async_scheduling: bool
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def explain(
    pool: ResolvedPool,
    *,
    batch: int | None = None,
    context_tokens: int | None = None,
    prefill_tokens: int = 0,
) -> Explanation:
    """Take one iteration of a pool's replica apart.

    `batch` requests decode with `context_tokens` each (default 4,096, or as many as a request may
    have), by default as many as fit; one more may bring the first `prefill_tokens` of its prompt.
    Raises InputError if such a batch can't run.
    """
    longest = pool.engine.max_model_len
    context = min(DEFAULT_CONTEXT_TOKENS, longest) if context_tokens is None else context_tokens
    if context > longest:
        raise InputError(
            Problem(f"{context} is more than max_model_len {longest}", field="context")
        )
    costs, groups = iteration_costs_of(pool), kv_groups(pool.architecture)
    seats = pool.engine.max_num_seqs - (1 if prefill_tokens else 0)
    fits = min(_requests_in_cache(pool, groups, context, prefill_tokens), seats)
    decodes = min(fits, max(0, pool.engine.max_num_batched_tokens - prefill_tokens))
    if batch is not None:
        decodes = batch
    _check(pool, decodes, fits, context, prefill_tokens)
    chunks = ((prefill_tokens, prefill_tokens),) if prefill_tokens else ()
    together = _batch(decodes, context, costs.window_tokens, chunks)
    shares, iteration_s = _shares(costs, together, pool.gpu.hardware.memory_bandwidth.si)
    window, bandwidth = costs.window_tokens, pool.gpu.hardware.memory_bandwidth.si
    moved_s = costs.work().bytes_moved.at(together, window) / bandwidth
    computed_s = sum(component.compute_s(together, window) for component in costs.components)
    return Explanation(
        pool=pool.name,
        model=pool.architecture.name,
        gpu=pool.gpu.name,
        num_gpus=pool.settings.tensor_parallel_size,
        engine=pool.settings.engine.preset,
        weights=pool.architecture.formats_as(pool.settings.weight_dtype).all,
        decodes=decodes,
        context_tokens=context,
        prefill_tokens=prefill_tokens,
        iteration_s=iteration_s,
        floor_s=float(costs.floor_s[together.requests]),
        mbu=moved_s / iteration_s,
        mfu=computed_s / iteration_s,
        shares=shares,
        memory=pool.memory.lines if pool.memory else None,
        num_gpu_blocks=pool.engine.num_gpu_blocks,
        block_size=pool.engine.block_size,
        layers_per_block=groups.layers,
        kv_bytes_per_token=costs.part.kv_bytes_per_token(pool.settings.kv_cache_dtype),
        fitting=tuple(_fitting(pool, costs, groups)),
        async_scheduling=pool.engine.async_scheduling,
        notes=(*pool.notes, *extrapolation_notes(costs, pool.gpu.name, _met(together))),
    )


def _met(batch: Batch) -> dict[str, float]:
    """The arguments of the kernels' laws that change from iteration to iteration."""
    met: dict[str, float] = {"m": batch.tokens, "requests": batch.requests}
    if batch.decodes:
        met["context_tokens"] = batch.context_tokens / batch.decodes
    if batch.chunks:
        met["chunk_tokens"] = max(new for new, _ in batch.chunks)
    return met


def _shares(
    costs: IterationCosts, batch: Batch, bandwidth: float
) -> tuple[tuple[Share, ...], float]:
    """The parts that take time, longest first, and the whole iteration in seconds."""
    window = costs.window_tokens
    sums = [(component, component.seconds.at(batch, window)) for component in costs.components]
    busy_s = sum(seconds for _, seconds in sums)
    total_s = max(busy_s, float(costs.floor_s[batch.requests]))
    shares = [
        Share(
            name=component.name,
            seconds=seconds,
            share=seconds / total_s,
            bound=component.bound(batch, window, bandwidth),
            gigabytes=component.bytes_moved.at(batch, window) / 1e9,
            teraflops=component.flops.at(batch, window) / 1e12,
        )
        for component, seconds in sums
        if seconds > 0
    ]
    if total_s > busy_s:  # the CPU is still busy with the next iteration
        waiting_s = total_s - busy_s
        shares.append(Share("waiting for host", waiting_s, waiting_s / total_s, "host", 0.0, 0.0))
    return tuple(sorted(shares, key=lambda share: -share.seconds)), total_s


def _fitting(pool: ResolvedPool, costs: IterationCosts, groups: KvGroups) -> list[Fitting]:
    """Largest batches at contexts of 1,024 tokens, 2,048 and so on up to the longest request."""
    longest, found = pool.engine.max_model_len, []
    contexts = [SHORTEST_CONTEXT_TOKENS]
    while contexts[-1] < longest:
        contexts.append(2 * contexts[-1])
    for context in sorted({min(context, longest) for context in contexts}):
        in_cache = _requests_in_cache(pool, groups, context)
        requests = min(in_cache, pool.engine.max_num_seqs)
        limit = "KV cache" if requests == in_cache else "max_num_seqs"
        if requests:
            decoding = _batch(requests, context, costs.window_tokens)
            _, seconds = _shares(costs, decoding, 1.0)
            found.append(Fitting(context, requests, limit, seconds, requests / seconds))
        else:
            found.append(Fitting(context, 0, limit, None, None))
    return found


def _requests_in_cache(
    pool: ResolvedPool, groups: KvGroups, context: int, prefill_tokens: int = 0
) -> int:
    """Requests of one context that the KV cache holds next to a prompt of `prefill_tokens`."""
    size = pool.engine.block_size
    left = pool.engine.num_gpu_blocks - 1 - groups.blocks(prefill_tokens, size)
    return max(0, left // groups.blocks(context, size))


def _batch(
    decodes: int, context: int, window: int, chunks: tuple[tuple[int, int], ...] = ()
) -> Batch:
    return Batch(decodes, decodes * context, decodes * min(context, window), chunks)


def _check(pool: ResolvedPool, decodes: int, fits: int, context: int, prefill: int) -> None:
    """Refuse a batch that no engine with these limits runs."""
    engine, problems = pool.engine, []
    budget = engine.max_num_batched_tokens
    if prefill > budget:
        message = f"{prefill} tokens are more than max_num_batched_tokens {budget}"
        raise InputError(Problem(message, field="prefill"))
    if decodes > fits:
        message = (
            f"{decodes} requests with {context} tokens each do not fit: at most {fits}"
            f" (max_num_seqs {engine.max_num_seqs}, {engine.num_gpu_blocks - 1} KV blocks)"
        )
        problems.append(Problem(message, field="batch"))
    if decodes + prefill > budget:
        message = f"{decodes + prefill} tokens are more than max_num_batched_tokens {budget}"
        problems.append(Problem(message, field="prefill" if prefill else "batch"))
    elif decodes + prefill < 1:
        problems.append(Problem("there is nothing to do: no decode, no prefill", field="batch"))
    if problems:
        raise InputError(problems)
