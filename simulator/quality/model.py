"""How often one model is right on one set of problems, by problem and by attempt."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simulator.errors import InputError, Problem
from simulator.quality.curve import AccuracyCurve
from simulator.quality.draws import CORRECT, WRONG
from simulator.quality.heterogeneity import solve_probability, solves

Floats = NDArray[np.float64]

RIGHT, DOMINANT, SCATTERED = 0, 1, 2  # answers; scattered ones are SCATTERED + sample


@dataclass(frozen=True)
class QualityModel:
    """A curve of mean accuracy, how much problems differ, and how wrong answers agree.

    rho: intraclass correlation of attempts at one problem, in [0, 1); 0.58 to 0.85 for reasoning
    models on AIME 2025 (MathArena). dominant_share (s): part of the wrong answers to a problem that
    are the same one; a vote of many converges to the right answer where p > s (1 - p).
    reference_tokens: mean thinking tokens when the model stops by itself, where that is known;
    `effective_tokens` measures lengths in them. without_thinking: mean accuracy when it answers at
    once, in a mode of its own; None: the curve's floor.
    Arguments may be scalars or arrays, broadcast together.
    """

    curve: AccuracyCurve
    rho: float = 0.0
    dominant_share: float = 1.0
    reference_tokens: float | None = None
    without_thinking: float | None = None

    def __post_init__(self) -> None:
        problems = []
        if not 0.0 <= self.rho < 1.0:
            message = f"must be at least 0 and less than 1, not {self.rho:g}"
            problems.append(Problem(message, field="rho"))
        if not 0.0 <= self.dominant_share <= 1.0:
            message = f"must be from 0 to 1, not {self.dominant_share:g}"
            problems.append(Problem(message, field="dominant_share"))
        reference = self.reference_tokens
        if reference is not None and not 0.0 < reference < math.inf:
            message = f"must be positive, not {reference:g}"
            problems.append(Problem(message, field="reference_tokens"))
        at_once = self.without_thinking
        if at_once is not None and not 0.0 <= at_once <= 1.0:
            message = f"must be from 0 to 1, not {at_once:g}"
            problems.append(Problem(message, field="without_thinking"))
        if problems:
            raise InputError(problems)

    def accuracy(self, thinking_tokens: ArrayLike, forced: ArrayLike = False) -> Floats:
        """Mean over all problems; `forced` where the model was made to think on."""
        mean = self.curve.accuracy(thinking_tokens, forced)
        if self.without_thinking is None:
            return mean
        thinks = np.asarray(thinking_tokens, dtype=np.float64) > 0.0
        return np.where(thinks, mean, self.without_thinking)

    def solve_probability(
        self, difficulty: ArrayLike, thinking_tokens: ArrayLike, forced: ArrayLike = False
    ) -> Floats:
        """P(right) of one attempt at a problem of difficulty quantile u in (0, 1)."""
        return solve_probability(self.accuracy(thinking_tokens, forced), self.rho, difficulty)

    def correct(
        self,
        difficulty: ArrayLike,
        luck: Floats,
        thinking_tokens: ArrayLike,
        forced: ArrayLike = False,
    ) -> NDArray[np.bool_]:
        """Which attempts are right. `luck`: float64[..., 4], of `AttemptLuck`.

        With more thinking, short of what is forced, a right attempt stays right.
        """
        mean = self.accuracy(thinking_tokens, forced)
        return solves(mean, self.rho, difficulty, luck[..., CORRECT])

    def answers(
        self,
        difficulty: ArrayLike,
        luck: Floats,
        samples: ArrayLike,
        thinking_tokens: ArrayLike,
        forced: ArrayLike = False,
    ) -> NDArray[np.int64]:
        """What attempts answer: 0 right, 1 the dominant wrong answer, 2 + sample one of its own."""
        right = self.correct(difficulty, luck, thinking_tokens, forced)
        return answers(right, luck, samples, self.dominant_share)

    def effective_tokens(self, given_tokens: ArrayLike, natural_tokens: ArrayLike) -> Floats:
        """How far along the curve an attempt is that got `given` of the `natural` tokens it wants.

        given / natural times the reference: a long problem cut at 8,000 tokens has come less far
        than a short one. An attempt of its natural length is at the reference, so that a workload
        with other lengths than the benchmark's still has the accuracy measured there. Without a
        reference, or where an attempt wants no thinking, the tokens given.
        """
        given = np.asarray(given_tokens, dtype=np.float64)
        natural = np.asarray(natural_tokens, dtype=np.float64)
        if self.reference_tokens is None:
            return given
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = self.reference_tokens * given / natural
        return np.where(natural > 0.0, relative, given)

    def lossy(self, factor: float) -> QualityModel:
        """The same with accuracy times `factor`, such as what a compressed KV cache retains."""
        at_once = self.without_thinking
        kept = None if at_once is None else at_once * factor
        return replace(self, curve=self.curve.scaled(factor), without_thinking=kept)


def answers(
    right: ArrayLike, luck: Floats, samples: ArrayLike, dominant_share: ArrayLike
) -> NDArray[np.int64]:
    """Answers of attempts, int64[...]: 0 where `right`, else 1 (dominant wrong) or 2 + sample."""
    share = np.asarray(dominant_share, dtype=np.float64)
    wrong = np.where(luck[..., WRONG] < share, DOMINANT, SCATTERED + np.asarray(samples))
    return np.where(right, RIGHT, wrong).astype(np.int64)


def independent(accuracy: float) -> QualityModel:
    """The naive model of textbooks: every problem equally hard, all wrong answers the same one.

    Its majority vote is the plain binomial one, which is far too optimistic (docs/quality.md).
    """
    return QualityModel(AccuracyCurve.flat(accuracy), rho=0.0, dominant_share=1.0)
