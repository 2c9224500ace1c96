"""From a resolved pool to what its iterations cost."""

from __future__ import annotations

from simulator.config.resolve import ResolvedPool
from simulator.cost.iteration_time import IterationCosts, iteration_costs


def iteration_costs_of(pool: ResolvedPool) -> IterationCosts:
    """What an iteration of `pool` is made of, up to its scheduler's limits."""
    settings = pool.settings
    return iteration_costs(
        pool.architecture,
        pool.gpu,
        tensor_parallel_size=settings.tensor_parallel_size,
        weight_dtype=settings.weight_dtype,
        kv_cache_dtype=settings.kv_cache_dtype,
        max_num_batched_tokens=pool.engine.max_num_batched_tokens,
        max_num_seqs=pool.engine.max_num_seqs,
        enable_expert_parallel=settings.enable_expert_parallel,
        engine_generation=settings.engine.preset,
        async_scheduling=pool.engine.async_scheduling,
    )
