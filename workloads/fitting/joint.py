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
CHANCE = 2.0  # standard deviations of a correlation that is 0
_DRAWN, _ROUNDS = 1 << 15, 5
_STREAMS = ("prompt", "thinking", "answer")

Pair = tuple[int, int]  # of columns


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
    if "thinking" in names and split_variance(laws["thinking"], WITHIN_SIGMA) == 0.0:
        k = names.index("thinking")
        of_thinking = {pair: rho for pair, rho in wanted.items() if k in pair}
        if max(map(abs, of_thinking.values())) < CHANCE / math.sqrt(len(columns["thinking"])):
            wanted |= dict.fromkeys(of_thinking, 0.0)  # no reason to assume another sigma
    best = _closest(names, wanted, columns, laws)
    fields: dict[str, Any] = {}
    remarks: dict[str, list[str]] = {}
    if best.sigma is not None:
        fields["within_problem_sigma"] = best.sigma
        remarks["within_problem_sigma"] = [
            "assumed, as a trace shows one attempt at a problem:",
            f"with the usual {WITHIN_SIGMA:g} thinking can't be correlated as it is in the rows",
        ]
    if best.fields:
        fields["correlation"] = best.fields
        remarks["correlation"] = ["of normal scores, from the rank correlations of the rows"]
        if best.larger > 1.0:
            through = f"thinking is correlated through its problem: x {best.larger:.3f}"
            remarks["correlation"].append(through)
    lost = [
        f"the rank correlation of {names[i]} and {names[j]}, {wanted[i, j]:.2f}: "
        f"drawn ones have {best.reached[i, j]:.2f}"
        for i, j in pairs
        if abs(best.reached[i, j] - wanted[i, j]) > FAR
    ]
    if best.sigma == 0.0:
        lost.append("how attempts at one problem differ: correlated so closely, they think alike")
    return Joint(fields, remarks, lost)


@dataclass(frozen=True, eq=False)
class _Copula:
    """Fields of `correlation`, the `within_problem_sigma` if it is not the usual one, how much
    larger correlations with the problem are, and the rank correlations of what is drawn.
    """

    fields: dict[str, float]
    sigma: float | None
    larger: float
    reached: dict[Pair, float]


def _closest(
    names: list[str],
    wanted: dict[Pair, float],
    columns: dict[str, NDArray[np.int64]],
    laws: dict[str, Law],
) -> _Copula:
    """The copula whose draws have rank correlations closest to those wanted."""
    scores = {pair: normal_score(rho) for pair, rho in wanted.items()}
    tried = []
    for _ in range(_ROUNDS):
        copula = _copula(names, scores, columns, laws)
        off = max(abs(copula.reached[pair] - rho) for pair, rho in wanted.items())
        tried.append((off, copula))
        if off <= CLOSE:
            break
        # ties weaken what ranks show of the scores: ask for more
        for pair, rho in wanted.items():
            moved = scores[pair] + normal_score(rho) - normal_score(copula.reached[pair])
            scores[pair] = float(np.clip(moved, -LARGEST, LARGEST))
    return min(tried, key=lambda each: each[0])[1]


def _copula(
    names: list[str],
    scores: dict[Pair, float],
    columns: dict[str, NDArray[np.int64]],
    laws: dict[str, Law],
) -> _Copula:
    """The copula that gives attempts these normal scores, as near as there is one."""
    matrix = np.eye(len(names))
    for (i, j), score in scores.items():
        matrix[i, j] = matrix[j, i] = score
    sigma, larger = None, 1.0
    if "thinking" in names:
        k = names.index("thinking")
        sigma, larger = _through_problem(matrix, k, columns["thinking"], laws["thinking"])
        matrix = _enlarged(matrix, k, larger)
    matrix = np.clip(matrix, -LARGEST, LARGEST)
    np.fill_diagonal(matrix, 1.0)
    matrix = possible(matrix)
    rounded = {f"{names[i]}_{names[j]}": round(float(matrix[i, j]), 4) for i, j in scores}
    fields = {pair: value for pair, value in rounded.items() if value}
    drawn = _drawn(fields, WITHIN_SIGMA if sigma is None else sigma, names, laws)
    reached = {(i, j): spearman(drawn[i], drawn[j]) for i, j in scores}
    return _Copula(fields, sigma, larger, reached)


def _through_problem(
    matrix: NDArray[np.float64], k: int, thinking: NDArray[np.int64], law: Law
) -> tuple[float | None, float]:
    """The `within_problem_sigma`, None for the usual one, and by how much the correlations of
    thinking, column `k` of the matrix of attempts, are larger for its problem.
    """
    spread = float(np.log(np.maximum(thinking, 1)).std())
    found: tuple[float | None, float] = (None, 0.0)
    if spread == 0.0 or not np.delete(matrix[k], k).any():
        return found
    for sigma in (None, *(_round(part * spread) for part in NARROWER)):
        icc = split_variance(law, WITHIN_SIGMA if sigma is None else sigma)
        if icc > 0.0:
            found = sigma, 1 / math.sqrt(icc)
            if _fits(_enlarged(matrix, k, found[1])):
                break
    return found


def _enlarged(matrix: NDArray[np.float64], k: int, factor: float) -> NDArray[np.float64]:
    """The matrix with the correlations of column `k` times `factor`."""
    off = np.arange(len(matrix)) != k
    out = matrix.copy()
    out[k, off] *= factor
    out[off, k] *= factor
    return out


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
