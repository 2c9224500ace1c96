"""Electric power of a stretch of a run."""

from __future__ import annotations

from simulator.config.costs import iteration_costs_of
from simulator.config.resolve import ResolvedPool
from simulator.metrics.activity import Activity
from simulator.metrics.power import average_power_w as one_gpu_w
from simulator.studies.validation.steady import Stretch


def average_power_w(stretch: Stretch, pool: ResolvedPool) -> float | None:
    """Mean power of all GPUs of the pool over the stretch, watts; None where it isn't known."""
    if stretch.context_tokens_read is None:
        return None
    costs = iteration_costs_of(pool)
    activity = Activity(
        seconds=stretch.seconds,
        iterations=stretch.iterations,
        output_tokens=stretch.output_tokens,
        prefill_tokens=stretch.prefill_tokens,
        context_tokens_read=stretch.context_tokens_read,
        replicas=pool.settings.replicas,
        window_tokens=costs.window_tokens,
    )
    power_w = one_gpu_w(activity, costs.work(), pool.gpu)
    return None if power_w is None else power_w * pool.settings.num_gpus
