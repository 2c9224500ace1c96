"""Equal replicas that are sent equal work come to their boundaries at the same instant.

Rounding decides which is a little earlier, and differently in spans than in single iterations; so
nothing may hang on it: all who finish at an instant are told before any replica decides what next.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from simulator.config.experiment import Experiment
from simulator.runner import simulate

CASES = list(
    itertools.product(
        (4, 9, 16),
        (2, 3, 4),
        ("round_robin", "random", "least_kv_tokens"),
        (True, False),
    )
)


def finish_s(stepping, clients, replicas, router, asynchronous, thinking):
    engine = {"stepping": stepping, "async_scheduling": asynchronous}
    experiment = Experiment.model_validate(
        {
            "name": "ties",
            "pools": {
                "main": {
                    "model": "r1-distill-qwen-7b",
                    "gpu": "h100-sxm",
                    "replicas": replicas,
                    "engine": engine,
                }
            },
            "router": router,
            "workload": {
                "kind": "synthetic",
                "num_requests": 120,
                "arrivals": {"kind": "closed_loop", "concurrency": clients},
                "prompt_tokens": {"kind": "constant", "tokens": 100},
                "thinking_tokens": thinking,
                "answer_tokens": {"kind": "constant", "tokens": 20},
            },
        }
    )
    return simulate(experiment).outcome.requests["finish_s"]


@pytest.mark.parametrize(("clients", "replicas", "router", "asynchronous"), CASES)
def test_ties_between_replicas_do_not_depend_on_the_stepping(
    clients, replicas, router, asynchronous
):
    thinking = {"kind": "uniform", "min": 100, "max": 110}
    if router == "least_kv_tokens":
        thinking = {"kind": "constant", "tokens": 200}
    spans, steps = (
        finish_s(stepping, clients, replicas, router, asynchronous, thinking)
        for stepping in ("span", "iteration")
    )
    np.testing.assert_allclose(spans, steps, rtol=1e-9)
