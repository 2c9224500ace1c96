"""Small experiments with strategies, for tests."""

from __future__ import annotations

from typing import Any

from simulator.config.experiment import Experiment
from simulator.runner import simulate
from simulator.simulation import Simulation

QUALITY = {
    "curve": {"floor": 0.1, "ceiling": 0.7, "half_tokens": 600, "steepness": 1.2},
    "rho": 0.5,
    "dominant_share": 0.3,
    "reference_tokens": 1000,
}
LARGE = {"accuracy": 0.85, "rho": 0.5, "dominant_share": 0.3}

# Every strategy, with parameters that make it do what it is for on short thinking.
EXAMPLES: dict[str, dict[str, Any]] = {
    "single": {},
    "budget": {"max_thinking_tokens": 200, "min_thinking_tokens": 50},
    "adaptive_budget": {"value_usd": 0.02, "usd_per_million_tokens": 5.0},
    "hybrid": {},
    "majority_vote": {"samples": 5, "stop_when_decided": True},
    "best_of_n": {"samples": 3, "verifier_pool": "second"},
    "cascade": {"samples": 3},
    "early_exit": {"probe_every_tokens": 64},
    "memoryless": {"round_tokens": 100, "carried_tokens": 20},
    "agent": {"searches": 3, "gain": 0.3},
    "routed": {"hard": {"kind": "early_exit", "probe_every_tokens": 64}},
    "semantic_cache": {"otherwise": {"kind": "majority_vote", "samples": 3}},
    "sart": {"samples": 4, "enough": 2, "check_every_tokens": 100, "verifier_s": 0.01},
    "beam_search": {"width": 2, "branches": 2, "step_tokens": 64, "verifier_pool": "second"},
    "tree_search": {"expansions": 5, "branches": 2, "step_tokens": 64, "verifier_s": 0.01},
}


def experiment(
    kind: str,
    parameters: dict[str, Any] | None = None,
    *,
    num_requests: int = 60,
    rate_rps: float = 4.0,
    replicas: int = 2,
    seed: int = 0,
    mean_log_thinking: float = 5.3,
    sigma: float = 0.8,
    engine: dict[str, Any] | None = None,
    quality: Any = QUALITY,
    **more: Any,
) -> Experiment:
    """Two pools of a small model; queries that think some 270 tokens in the mean."""
    pool = {"model": "r1-distill-qwen-7b", "gpu": "h100-sxm", "engine": engine or {}}
    return Experiment.model_validate(
        {
            "name": "strategies",
            "seed": seed,
            "pools": {
                "first": {**pool, "replicas": replicas, "quality": quality},
                "second": {**pool, "quality": None if quality is None else LARGE},
            },
            "router": "session_affinity",
            "strategy": {"kind": kind, **(EXAMPLES[kind] if parameters is None else parameters)},
            "workload": {
                "kind": "synthetic",
                "num_requests": num_requests,
                "arrivals": {"kind": "poisson", "rate_rps": rate_rps},
                "prompt_tokens": {"kind": "lognormal", "mu": 5.0, "sigma": 0.5},
                "thinking_tokens": {"kind": "lognormal", "mu": mean_log_thinking, "sigma": sigma},
                "answer_tokens": {"kind": "constant", "tokens": 40},
                "difficulty": {},
            },
            **more,
        }
    )


def served(kind: str, parameters: dict[str, Any] | None = None, **options: Any) -> Simulation:
    """The run of such an experiment."""
    return simulate(experiment(kind, parameters, **options))
