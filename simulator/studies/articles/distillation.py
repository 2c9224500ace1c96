"""Distilled reasoning models against R1: share of its accuracy, and of its cost on busy GPUs."""

from __future__ import annotations

from simulator.quality.presets import find_preset
from simulator.studies.articles.base import FULL_ARC, Row, Study, percent
from simulator.studies.articles.runs import simulated

THINKING_TOKENS = 10_000
BENCHMARKS = ("aime24", "math500", "gpqa-diamond")
TEACHER = ("deepseek-r1", "deepseek-r1", "h200-sxm", 8, 3_000)
STUDENTS = (
    ("R1-Distill-Qwen-7B", "r1-distill-qwen-7b", "h100-sxm", 1, 1_200),
    ("R1-Distill-Qwen-14B", "r1-distill-qwen-14b", "h100-sxm", 1, 500),
    ("R1-Distill-Qwen-32B", "r1-distill-qwen-32b", "h100-sxm", 2, 700),
)
"""Name, model and quality preset, GPU, tensor parallel size, and how many queries are served."""


def usd_per_million_tokens(model: str, gpu: str, size: int, queries: int) -> float:
    """Per million output tokens, US dollars, of a replica that is always busy."""
    summary = simulated(
        "query_cost",
        (
            f"pools.main.model={model}",
            f"pools.main.gpu={gpu}",
            f"pools.main.tensor_parallel_size={size}",
            "pools.main.weight_dtype=auto",
            "pools.main.engine.max_num_seqs=1024",
            f"workload.num_requests={queries}",
            f"workload.thinking_tokens.tokens={THINKING_TOKENS}",
        ),
    ).summary
    return float(summary["cost_usd_per_million_output_tokens"])


def accuracy_share(model: str, benchmark: str) -> float:
    """Accuracy of a distilled model by that of R1, where each stops by itself."""
    own, teacher = (find_preset(f"{name}/{benchmark}").pass_at_1 for name in (model, TEACHER[1]))
    assert own is not None
    assert teacher is not None
    return own / teacher


def _rows() -> list[Row]:
    dear = usd_per_million_tokens(*TEACHER[1:])
    rows = []
    for name, model, gpu, size, queries in STUDENTS:
        usd = usd_per_million_tokens(model, gpu, size, queries)
        shares = [accuracy_share(model, benchmark) for benchmark in BENCHMARKS]
        cheap, good = usd / dear <= 0.12, min(shares) >= 0.68
        rows.append(
            Row(
                f"{name}: accuracy and cost, of R1's",
                "70-80 % at 1/10",
                f"{percent(min(shares), 0)}-{percent(max(shares), 0)} at 1/{dear / usd:.1f}",
                "reproduced"
                if cheap and good
                else "direction only"
                if usd < dear
                else "not reproduced",
                f"accuracy on {', '.join(BENCHMARKS)} as measured; ${usd:.2f} against ${dear:.2f}"
                " per million tokens: R1 computes with 37B of its 671B parameters",
            )
        )
    return rows


STUDY = Study("distillation", "Distilled models", FULL_ARC, _rows, simulates=True)
