"""How wrong iteration times may be, judged by how well the kernels' laws fit their measurements.

Each part of an iteration is off by its own factor: log-normal, with the spread that the residual of
its fit shows (a part is one shape, so its residual does not average out over the iterations).
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from simulator.cost.component import Component
from simulator.cost.iteration_time import IterationCosts
from simulator.cost.terms import Batch
from simulator.rng import uniforms

# A normal error of standard deviation 1 has this mean absolute value.
MEAN_ABSOLUTE_OF_NORMAL = math.sqrt(2.0 / math.pi)
# Relative standard deviation assumed for a part without measurements on this GPU.
UNMEASURED_ERROR = 0.25


def relative_error(component: Component) -> float:
    """Standard deviation of the relative error of one part's time."""
    if component.fit is None:
        return UNMEASURED_ERROR
    return component.fit.mape / MEAN_ABSOLUTE_OF_NORMAL


def iteration_time_error(costs: IterationCosts, batch: Batch) -> float:
    """Standard deviation of the relative error of one iteration's time, parts being independent."""
    seconds = np.array([c.seconds.at(batch, costs.window_tokens) for c in costs.components])
    errors = np.array([relative_error(component) for component in costs.components])
    return float(np.sqrt(np.sum((seconds * errors) ** 2)) / seconds.sum())


def draw_scales(costs: IterationCosts, seed: int, draw: int) -> dict[str, float]:
    """Factors on the seconds of each part, by name, in draw number `draw` of the ensemble.

    A part's factors depend on its name alone, so pools that share a part share its error.
    """
    scales = {}
    for component in costs.components:
        uniform = uniforms(seed, "calibration", component.name, 1, start=draw)[0, 0]
        scales[component.name] = math.exp(relative_error(component) * NormalDist().inv_cdf(uniform))
    return scales
