"""Tokens by type of query: what ponder's classes of queries draw, beside the article's ranges."""

from __future__ import annotations

import numpy as np

from simulator.studies.articles.base import FULL_ARC, Row, Study, close
from workloads.tasks import TaskClass

TYPES = (
    ("simple factual question", "chat", (50, 100), (200, 500), (3, 5)),
    ("coding task", "coding", (200, 500), (2_000, 8_000), (10, 15)),
    ("math word problem", "math_word_problem", (100, 200), (3_000, 15_000), (30, 75)),
    ("competition math", "competition_math", (200, 500), (10_000, 50_000), (50, 100)),
    ("complex proof", "complex_proof", (500, 1_000), (20_000, 100_000), (40, 100)),
)
"""Type, preset of `workloads/task_presets.yaml`; tokens of a standard and of a reasoning model, and
the multiplier, as the article gives them."""

_EDGES = np.array([0.1, 0.5, 0.9])


def drawn(preset: str) -> tuple[list[int], list[int]]:
    """10th, 50th and 90th percentile of answer tokens and of thinking tokens."""
    task = TaskClass.model_validate({"preset": preset})
    assert task.answer_tokens is not None
    assert task.thinking_tokens is not None
    answer, thinking = (
        law.quantile(_EDGES).tolist() for law in (task.answer_tokens, task.thinking_tokens)
    )
    return answer, thinking


def _rows() -> list[Row]:
    rows = []
    for kind, preset, standard, reasoning, multiplier in TYPES:
        answer, thinking = drawn(preset)
        fits = all(
            close(ours, theirs, 0.05)
            for law, said in ((answer, standard), (thinking, reasoning))
            for ours, theirs in zip((law[0], law[-1]), said, strict=True)
        )
        low, high = multiplier
        rows.append(
            Row(
                f"{kind}: standard, reasoning, multiplier",
                f"{standard[0]}-{standard[1]}; {reasoning[0]:,}-{reasoning[1]:,}; {low}-{high}x",
                f"{answer[0]}-{answer[-1]}; {thinking[0]:,}-{thinking[-1]:,};"
                f" {thinking[1] / answer[1]:.0f}x at the medians",
                "fitted" if fits else "not reproduced",
                f"10th to 90th percentile of class {preset}, whose laws were set by this table",
            )
        )
    return rows


STUDY = Study("token_counts", "Tokens by type of query", FULL_ARC, _rows)
