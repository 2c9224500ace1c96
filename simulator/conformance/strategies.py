"""All that is checked of a strategy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from simulator.batch_facts import facts_of
from simulator.cluster.outcome import Outcome
from simulator.cluster.replies import Replies
from simulator.config.experiment import Experiment
from simulator.config.resolve import resolve_pools, resolved
from simulator.conformance.checks import CONSERVES, SAME_BYTES, SAME_STEPPING, SERVES_ALL
from simulator.conformance.verdict import Verdict, enforce, judge
from simulator.engine.request import CANCELLED, COMPLETED, REJECTED
from simulator.errors import PonderError
from simulator.runner import plan_of, serve
from simulator.spending import judge_of
from simulator.strategies.base import Strategy
from simulator.strategies.plan import plan_requests

_QUALITY = {
    "curve": {"floor": 0.1, "ceiling": 0.7, "half_tokens": 600, "steepness": 1.2},
    "rho": 0.5,
    "dominant_share": 0.3,
    "reference_tokens": 1000,
}

# KV cache, seats: ample; and so little that requests wait for each other.
_CASES: tuple[dict[str, Any], ...] = ({}, {"num_gpu_blocks": 300, "max_model_len": 4096})


@cache
def _experiment(case: int, stepping: str) -> Experiment:
    pool = {
        "model": "r1-distill-qwen-7b",
        "gpu": "h100-sxm",
        "engine": {**_CASES[case], "stepping": stepping},
        "quality": _QUALITY,
    }
    classes = {
        name: {
            "prompt_tokens": {"kind": "lognormal", "mu": 5.0, "sigma": 0.5},
            "thinking_tokens": {"kind": "lognormal", "mu": mu, "sigma": 0.8, "max": 3000},
            "answer_tokens": {"kind": "constant", "tokens": 40},
            "difficulty": {},
            "value_usd": 0.02,
        }
        for name, mu in (("short", 4.0), ("long", 6.0))
    }
    return resolved(
        Experiment.model_validate(
            {
                "name": "conformance",
                "pools": {"first": {**pool, "replicas": 2}, "second": pool},
                "workload": {
                    "kind": "mix",
                    "num_requests": 40,
                    "arrivals": {"kind": "poisson", "rate_rps": 4.0},
                    "classes": classes,
                },
            }
        )
    )


def check_strategy(make: Callable[[], Strategy]) -> None:
    """Raise `ConformanceError`, an AssertionError, if a strategy lacks a property.

    `make` makes a new one, e.g. `MyStrategy` or `lambda: MyStrategy(samples=4)`. It meets two
    pools, `first` and `second`, and queries of two classes, `short` and `long`.
    """
    enforce(type(make()).__name__, strategy_verdicts(make))


def strategy_verdicts(make: Callable[[], Strategy]) -> list[Verdict]:
    """A verdict on each property that a strategy must have, always in the same order."""
    runs = [_Runs(make, case) for case in range(len(_CASES))]
    return [
        judge(SERVES_ALL, [run.serves_all() for run in runs]),
        judge(CONSERVES, [run.conserves() for run in runs]),
        judge(SAME_BYTES, [run.repeats() for run in runs]),
        judge(SAME_STEPPING, [run.steps() for run in runs]),
    ]


@dataclass(eq=False)
class _Runs:
    """The runs of one case, each made when it is first asked for."""

    make: Callable[[], Strategy]
    case: int

    def serves_all(self) -> str:
        """Every query comes to an end, and an answer is a number."""
        try:
            left = np.isnan(self._spans.done_s).sum()
        except PonderError as error:
            return str(error)
        return f"{left} queries have no end" if left else ""

    def conserves(self) -> str | None:
        """Requests complete, are cancelled or refused, and leave no KV block in use."""
        if self.serves_all():
            return None
        outcome = self._outcome
        if not np.isin(outcome.requests["status"], (COMPLETED, CANCELLED, REJECTED)).all():
            return "a request neither completed nor was cancelled or refused"
        usable = np.array([config.usable_blocks for config in outcome.configs])
        held = int((usable[outcome.pool_id] - outcome.states["free_blocks"]).sum())
        return f"{held} KV blocks are still in use" if held else ""

    def repeats(self) -> str | None:
        """The same again, if it is run again."""
        if self.serves_all():
            return None
        one, again = self._outcome, self._run("span")
        names = one.requests.dtype.names or ()  # what lies between the columns is nobody's
        pairs = [(one.requests[name], again.requests[name]) for name in names]
        pairs += [(self._spans.answer, _replies(again).answer)]
        pairs += [(self._spans.done_s, _replies(again).done_s)]
        same = all(first.tobytes() == second.tobytes() for first, second in pairs)
        return "" if same else "a second run with the same seed is another one"

    def steps(self) -> str | None:
        """The same times, whether the engine jumps from change to change or not."""
        if self.serves_all():
            return None
        stepped = _replies(self._run("iteration"))
        close = np.allclose(stepped.done_s, self._spans.done_s, rtol=1e-9, atol=1e-9)
        if not close or (stepped.answer != self._spans.answer).any():
            return "other answers or times where every iteration is a step of its own"
        return ""

    @cached_property
    def _outcome(self) -> Outcome:
        return self._run("span")

    @property
    def _spans(self) -> Replies:
        return _replies(self._outcome)

    def _run(self, stepping: str) -> Outcome:
        experiment = _experiment(self.case, stepping)
        queries = experiment.workload.generate(0)
        plan = plan_requests(
            queries,
            {},
            self.make(),
            lambda attempt: experiment.workload.attempt(0, queries, attempt),
            tuple(experiment.pools),
            judge=judge_of(experiment, queries),
        )
        return serve(
            [plan_of(pool) for pool in resolve_pools(experiment)],
            plan.requests,
            facts=facts_of(plan.requests, {}, None),
            plan=plan,
            check_integrity=stepping == "span",
        )


def _replies(outcome: Outcome) -> Replies:
    assert outcome.replies is not None
    return outcome.replies
