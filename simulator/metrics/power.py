"""Electric power of the GPUs, from the bytes they move and the operations they do.

P = min(TDP, idle + energy_per_byte x bytes/s + energy_per_flop x FLOP/s), averaged over a stretch
of a run. The two energies are properties of the GPU's profile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from simulator.cost.terms import Terms

if TYPE_CHECKING:
    from hardware_profiles.profile import GpuProfile
    from simulator.cost.iteration_time import Work


@dataclass(frozen=True)
class Activity:
    """What the replicas of a pool did in `seconds`, all together.

    `context_tokens_read`: tokens of KV cache that attention read in each layer, summed over
    iterations. `window_tokens`: the model's sliding window, 0 if it has none.
    """

    seconds: float
    iterations: float
    output_tokens: float
    prefill_tokens: float
    context_tokens_read: float
    replicas: int = 1
    window_tokens: int = 0


def average_power_w(activity: Activity, work: Work, gpu: GpuProfile) -> float | None:
    """Mean power of one GPU, watts; None where the profile has no energies or nothing ran.

    Bytes and operations are taken at the mean iteration: exact where they are affine in its
    tokens and requests, close where they are not (experts, windows).
    """
    power = gpu.power
    if power.energy_per_byte is None or power.energy_per_flop is None or activity.seconds <= 0:
        return None
    dynamic_j = 0.0
    if activity.iterations > 0:
        dynamic_j = activity.iterations * (
            power.energy_per_byte.si * _mean(work.bytes_moved, activity)
            + power.energy_per_flop.si * _mean(work.flops, activity)
        )
    dynamic_w = dynamic_j / (activity.seconds * activity.replicas)
    return min(gpu.hardware.tdp.si, power.idle.si + dynamic_w)


def _mean(quantity: Terms, activity: Activity) -> float:
    """The quantity in an iteration with the mean number of tokens, requests and context."""
    requests = activity.output_tokens / activity.iterations
    chunk_tokens = activity.prefill_tokens / activity.iterations
    context = activity.context_tokens_read / activity.iterations
    inside = min(context, requests * activity.window_tokens)
    _, per_token, per_context, _, _, _ = quantity.prefill
    return float(
        _at(quantity.token, requests + chunk_tokens)
        + _at(quantity.request, requests)
        + _at(quantity.decode, requests)
        + _at(quantity.context, requests) * context
        + _at(quantity.window, requests) * inside
        + (per_token + per_context) * chunk_tokens
    )


def _at(table: np.ndarray, count: float) -> float:
    return float(np.interp(count, np.arange(len(table)), table))
