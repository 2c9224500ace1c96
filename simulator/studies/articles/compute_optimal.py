"""A larger model thinking less or a smaller one thinking more, serving cost and queues included."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from simulator.quality.presets import find_preset
from simulator.studies.articles.base import FULL_ARC, NEW_AXIS, Row, Study, graded, percent
from simulator.studies.articles.runs import experiment_file
from simulator.studies.frontier import frontier

POOLS = {
    "7B": "{model: r1-distill-qwen-7b, gpu: h100-sxm, replicas: 8,"
    " quality: r1-distill-qwen-7b/aime24}",
    "32B": "{model: r1-distill-qwen-32b, gpu: h100-sxm, replicas: 8, weight_dtype: fp8,"
    " quality: r1-distill-qwen-32b/aime24}",
    "70B": "{model: r1-distill-llama-70b, gpu: h100-sxm, replicas: 4, tensor_parallel_size: 2,"
    " weight_dtype: fp8, quality: r1-distill-llama-70b/aime24}",
}
"""Eight H100s each."""
BUDGETS = {
    "2K": "{kind: budget, max_thinking_tokens: 2048}",
    "8K": "{kind: budget, max_thinking_tokens: 8192}",
    "no cap": "single",
}
VALUES_USD = (0.01, 0.1, 1.0)


@dataclass(frozen=True)
class Choice:
    """A model with a budget, under the load of `experiments/articles/compute_optimal.yaml`."""

    name: str
    accuracy: float
    usd_per_query: float
    p99_tta_s: float | None
    overloaded: bool
    dominated_by: str | None

    def net_benefit_usd(self, value_usd: float) -> float:
        """What an answer is worth on average, less what it costs; an overloaded one nothing."""
        return float("-inf") if self.overloaded else value_usd * self.accuracy - self.usd_per_query


@cache
def choices() -> tuple[Choice, ...]:
    """All models with all budgets, on `ponder frontier`'s machinery."""
    vary = (
        f"pools.main=[{', '.join(POOLS.values())}]",
        f"strategy=[{', '.join(BUDGETS.values())}]",
    )
    found = frontier(experiment_file("compute_optimal"), vary)
    names = [f"{model}, {budget}" for model in POOLS for budget in BUDGETS]
    name_of = {choice.label: name for choice, name in zip(found, names, strict=True)}
    return tuple(
        Choice(
            name=name_of[choice.label],
            accuracy=choice.accuracy,
            usd_per_query=choice.cost_usd_per_query_at_capacity or float("inf"),
            p99_tta_s=choice.p99_tta_s,
            overloaded=choice.verdict == "OVERLOADED",
            dominated_by=None if choice.dominated_by is None else name_of[choice.dominated_by],
        )
        for choice in found
    )


def _rows() -> list[Row]:
    found = choices()
    best = {
        value: max(found, key=lambda choice: choice.net_benefit_usd(value)) for value in VALUES_USD
    }
    dominated = [choice.name for choice in found if choice.dominated_by]
    small = find_preset("r1-distill-qwen-7b/aime24").build().accuracy(10_000)
    direct = find_preset("gpt-4o/aime24").build().accuracy(0)
    return [
        Row(
            "the sweet spot: a medium model that thinks moderately",
            "70B, 8K tokens",
            "; ".join(f"{choice.name} (${value:g})" for value, choice in best.items()),
            graded(False, "8K" in best[0.1].name),
            "greatest net benefit on AIME 2024 by what a right answer is worth; eight H100s, 0.4"
            f" queries/s, queueing included. Dominated: {'; '.join(dominated)}",
        ),
        Row(
            "a 7B model with 10K thinking tokens beats a large one that answers at once",
            "yes",
            f"{percent(float(small), 0)} against {percent(float(direct), 0)}",
            "reproduced" if small > direct else "not reproduced",
            "R1-Distill-Qwen-7B cut at 10,000 tokens, GPT-4o as measured, AIME 2024",
        ),
    ]


STUDY = Study(
    "compute_optimal",
    "Compute-optimal choice of model and thinking",
    f"{FULL_ARC}; {NEW_AXIS}",
    _rows,
    simulates=True,
)
