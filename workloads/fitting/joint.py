"""How the lengths of a request depend on each other: the copula of a class that generates them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.rng import uniforms
from workloads.fitting.dependence import LARGEST, correlations, normal_score, possible, spearman
from workloads.laws.copula import Correlation, problem_and_sample_uniforms, split_variance
from workloads.laws.law import Law
from workloads.queries import QueryLaws

WITHIN_SIGMA = float(QueryLaws.model_fields["within_problem_sigma"].default)
NARROWER = (0.5, 0.25, 0.0)
"""Of the standard deviation of the logarithm of all thinking: what attempts at a problem get."""
CLOSE, FAR = 0.02, 0.04
"""Rank correlations are met if they are off by no more, and said to be lost if by more."""
_DRAWN, _ROUNDS = 1 << 15, 5
_STREAMS = ("prompt", "thinking", "answer")


@dataclass(frozen=True, eq=False)
class Joint:
    """Fields of a class of queries besides its laws, remarks on them, and what is lost."""

    fields: dict[str, Any] = field(default_factory=dict)
    remarks: dict[str, list[str]] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)


def fit_joint(
    columns: dict[str, NDArray[np.int64]], laws: dict[str, Law], least_rows: int
) -> Joint:
    """The correlations with which `laws` have the rank correlations of `columns`.

    Columns, int64[n] each, are "prompt", "answer" and perhaps "thinking". Thinking is correlated
    through its problem, which decides only part of it: the correlation with the problem is larger
    by 1 / sqrt(that part). A trace shows one attempt at a problem, so where the usual
    `within_problem_sigma` leaves no room for its correlations, a smaller one is taken. With fewer
    than `least_rows` rows correlations are chance, and left out.
    """
    names = [name for name in _STREAMS if name in columns]
    if len(columns[names[0]]) < least_rows:
        few = f"how lengths depend on each other: fewer than {least_rows} rows show chance"
        return Joint(lost=[few])
    found = correlations({name: columns[name] for name in names})
    pairs = list(combinations(range(len(names)), 2))
    wanted = {(i, j): found[f"{names[i]}_{names[j]}"]["spearman"] for i, j in pairs}
    scores = {pair: normal_score(rho) for pair, rho in wanted.items()}
    best: tuple[float, dict[str, float], float | None, float] | None = None
    for _ in range(_ROUNDS):
        written, sigma, larger = _written(names, scores, columns, laws)
        drawn = _drawn(written, WITHIN_SIGMA if sigma is None else sigma, names, laws)
        ours = {(i, j): spearman(drawn[i], drawn[j]) for i, j in pairs}
        off = max(abs(ours[pair] - wanted[pair]) for pair in pairs)
        if best is None or off < best[0]:
            best, reached = (off, written, sigma, larger), ours
        if off <= CLOSE:
            break
        # ties weaken what ranks show of the scores: ask for more
        for pair in pairs:
            moved = scores[pair] + normal_score(wanted[pair]) - normal_score(ours[pair])
            scores[pair] = float(np.clip(moved, -LARGEST, LARGEST))
    assert best is not None
    _, written, sigma, larger = best
    fields: dict[str, Any] = {}
    remarks: dict[str, list[str]] = {}
    if sigma is not None:
        fields["within_problem_sigma"] = sigma
        remarks["within_problem_sigma"] = [
            "assumed, a trace shows one attempt at a problem: the usual "
            f"{WITHIN_SIGMA:g} leaves no room for the correlations of thinking"
        ]
    if written:
        fields["correlation"] = written
        remarks["correlation"] = ["of normal scores, from the rank correlations of the rows"]
        if larger != 1.0:
            through = f"thinking is correlated through its problem: x {larger:.3f}"
            remarks["correlation"].append(through)
    lost = [
        f"the rank correlation of {names[i]} and {names[j]}, {wanted[i, j]:.2f}: "
        f"drawn ones have {reached[i, j]:.2f}"
        for i, j in pairs
        if abs(reached[i, j] - wanted[i, j]) > FAR
    ]
    return Joint(fields, remarks, lost)


def _written(
    names: list[str],
    scores: dict[tuple[int, int], float],
    columns: dict[str, NDArray[np.int64]],
    laws: dict[str, Law],
) -> tuple[dict[str, float], float | None, float]:
    """The `correlation` field that gives attempts these normal scores, the `within_problem_sigma`
    if it is not the usual one, and how much larger correlations with the problem are.
    """
    matrix = np.eye(len(names))
    for (i, j), score in scores.items():
        matrix[i, j] = matrix[j, i] = score
    sigma, larger, asked = None, 1.0, matrix
    if "thinking" in names:
        k = names.index("thinking")
        spread = float(np.log(np.maximum(columns["thinking"], 1)).std())
        for sigma in (None, *(_round(part * spread) for part in NARROWER)):
            icc = split_variance(laws["thinking"], WITHIN_SIGMA if sigma is None else sigma)
            if icc == 0.0:
                continue
            larger = 1 / math.sqrt(icc)
            asked = matrix.copy()
            asked[k, :] *= larger
            asked[:, k] *= larger
            asked[k, k] = 1.0
            if _fits(asked):
                break
    asked = np.clip(asked, -LARGEST, LARGEST)
    np.fill_diagonal(asked, 1.0)
    asked = possible(asked)
    rounded = {
        f"{names[i]}_{names[j]}": round(float(asked[i, j]), 4)
        for i, j in combinations(range(len(names)), 2)
    }
    return {pair: value for pair, value in rounded.items() if value}, sigma, larger


def _fits(matrix: NDArray[np.float64]) -> bool:
    """Whether there are scores with these correlations."""
    inside = np.abs(matrix - np.eye(len(matrix))).max() <= LARGEST
    return bool(inside and np.linalg.eigvalsh(matrix)[0] >= 1e-3)


def _drawn(
    written: dict[str, float], within_sigma: float, names: list[str], laws: dict[str, Law]
) -> list[NDArray[np.int64]]:
    """Lengths of many requests as a class with these fields draws them, a column for each name."""
    luck = np.column_stack([uniforms(0, name, "fit", _DRAWN)[:, 0] for name in _STREAMS])
    luck = Correlation(**written).correlate(luck)
    drawn = []
    for name in names:
        uniform = luck[:, _STREAMS.index(name)]
        if name == "thinking":
            within = uniforms(0, "within_problem", "fit", _DRAWN)[:, 0]
            icc = split_variance(laws[name], within_sigma)
            uniform = problem_and_sample_uniforms(uniform, within, icc)
        drawn.append(laws[name].quantile(uniform))
    return drawn


def _round(value: float) -> float:
    return float(f"{value:.3g}")
