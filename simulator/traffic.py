"""How much traffic a run needs: what arrives in its window, and what comes while that is served.

If requests stopped coming at the window's end, the last ones measured would be served by a pool
that runs empty. So a workload that says nothing of its own size goes on after the window.
"""

from __future__ import annotations

import math

from simulator.config.experiment import Experiment
from workloads.arrivals import ClosedLoopArrivals
from workloads.batch import RequestBatch
from workloads.synthetic import SyntheticWorkload
from workloads.workload import Workload


def sample(experiment: Experiment, count: int) -> RequestBatch:
    """The first `count` requests of a workload, to judge by what the others are like."""
    workload = experiment.workload.limited(count)
    return workload.generate(experiment.seed, base_dir=experiment.base_dir)


def generate(experiment: Experiment, beyond: float, most_rps: float = math.inf) -> RequestBatch:
    """The requests of `experiment`, with `beyond` times the window's worth of them after it.

    A larger `beyond` only adds requests at the end. `most_rps` is needed for a closed loop that is
    measured by the clock: no more requests per second can be answered. Raises `InputError` as the
    workload does.
    """
    workload: Workload = experiment.workload
    measure = experiment.measure
    duration_s = None
    if not workload.has_own_end:
        if measure.window_s is not None:
            duration_s = (measure.warmup_s or 0.0) + (1.0 + beyond) * measure.window_s
            if isinstance(workload, SyntheticWorkload) and isinstance(
                workload.arrivals, ClosedLoopArrivals
            ):
                count = workload.arrivals.concurrency + math.ceil(most_rps * duration_s)
                workload = workload.limited(count)
        elif measure.window_requests is not None:
            count = (measure.warmup_requests or 0) + measure.window_requests
            count += 1 + math.ceil(beyond * measure.window_requests)
            workload = workload.limited(count)
    return workload.generate(experiment.seed, duration_s=duration_s, base_dir=experiment.base_dir)
