"""Verifiers that err: outcome and process reward models as noisy scorers, and yes-or-no checks.

Scores belong to attempts (`AttemptLuck`), so two strategies hear the same of the same attempt.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from simulator.errors import InputError, Problem
from simulator.quality.draws import PARTIAL, SCORE
from simulator.quality.selection import accepted_odds, best_odds
from simulator.rng import luck

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class OutcomeVerifier:
    """An outcome reward model (Cobbe et al., arXiv 2110.14168): one score for a whole attempt.

    Right attempts score N(d_prime, 1), wrong ones N(0, 1); the chance that a right one beats a
    wrong one (AUC) is Phi(d_prime / sqrt(2)). lured: part of the problems whose dominant wrong
    answer looks right, so that it scores like the right one; it keeps best of n from perfection
    when n grows.
    """

    d_prime: float
    lured: float = 0.0

    def __post_init__(self) -> None:
        problems = []
        if not 0.0 <= self.d_prime < math.inf:
            problems.append(_wrong("d_prime", "0 or more", self.d_prime))
        if not 0.0 <= self.lured <= 1.0:
            problems.append(_wrong("lured", "from 0 to 1", self.lured))
        if problems:
            raise InputError(problems)

    @classmethod
    def from_auc(cls, auc: float, lured: float = 0.0) -> OutcomeVerifier:
        """The verifier with this area under the ROC curve, 0.5 (blind) up to, not including, 1."""
        if not 0.5 <= auc < 1.0:
            raise InputError(_wrong("auc", "at least 0.5 and less than 1", auc))
        return cls(math.sqrt(2.0) * float(ndtri(auc)), lured)

    @property
    def auc(self) -> float:
        """P(a right attempt scores above a wrong one), on problems that do not lure it."""
        return float(ndtr(self.d_prime / math.sqrt(2.0)))

    def is_lured(self, seed: int, entity: str, count: int, start: int = 0) -> NDArray[np.bool_]:
        """By which of the problems `start` to `start + count - 1` it is lured, bool[count]."""
        return np.asarray(luck(seed, "verifier", entity, count, start) < self.lured)

    def scores(self, answers: ArrayLike, luck: Floats, lured: ArrayLike = False) -> Floats:
        """Scores of attempts, float64[...]: normal noise, plus d_prime where they look right.

        answers: int64[...] as of `QualityModel.answers`. luck: float64[..., 4], of `AttemptLuck`.
        lured: bool, of the problem each belongs to.
        """
        return np.asarray(self.d_prime * looks_right(answers, lured) + ndtri(luck[..., SCORE]))

    def odds(self, n: int, dominant_share: float = 0.0) -> Floats:
        """P(the best of n is right | x are right), float64[n + 1] (`selected_accuracy`)."""
        odds = (1.0 - self.lured) * best_odds(n, self.d_prime)
        if self.lured > 0.0:
            odds += self.lured * best_odds(n, self.d_prime, dominant_share)
        return np.asarray(odds)


@dataclass(frozen=True)
class ProcessVerifier(OutcomeVerifier):
    """A process reward model (Lightman et al., arXiv 2305.20050): scores a chain while it grows.

    After a part f of its tokens a chain scores N(d_prime sqrt(f), 1) if it will be right, with
    noise that correlates sqrt(f) with that of the final score: evidence adds up as a random walk
    does. At f = 1 it is an `OutcomeVerifier`.
    """

    def partial_scores(
        self, answers: ArrayLike, luck: Floats, fraction: ArrayLike, lured: ArrayLike = False
    ) -> Floats:
        """Scores of chains of which the part `fraction`, from 0 to 1, has been seen.

        `answers`: what they will answer in the end. Two fractions of one chain share all their
        noise, so ask a chain once, or give `luck` of another sample number for a second look.
        """
        seen = np.clip(np.asarray(fraction, dtype=np.float64), 0.0, 1.0)
        noise = np.sqrt(seen) * ndtri(luck[..., SCORE])
        noise = noise + np.sqrt(1.0 - seen) * ndtri(luck[..., PARTIAL])
        return np.asarray(self.d_prime * np.sqrt(seen) * looks_right(answers, lured) + noise)

    def step_scores(self, sound: ArrayLike, luck: Floats) -> Floats:
        """Scores of single steps of a search, float64[...]: d_prime where a step is `sound`.

        luck: of steps numbered as samples, of a stream of their own.
        """
        return np.asarray(self.d_prime * np.asarray(sound, dtype=bool) + ndtri(luck[..., SCORE]))


@dataclass(frozen=True)
class CheckingVerifier:
    """A verifier that says yes or no, such as unit tests or a proof checker, and may be wrong.

    sensitivity: P(yes | right); specificity: P(no | wrong).
    """

    sensitivity: float
    specificity: float

    def __post_init__(self) -> None:
        problems = [
            _wrong(name, "from 0 to 1", value)
            for name, value in vars(self).items()
            if not 0.0 <= value <= 1.0
        ]
        if problems:
            raise InputError(problems)

    def accepts(self, answers: ArrayLike, luck: Floats) -> NDArray[np.bool_]:
        """Which attempts it says yes to; `answers`, `luck` as in `OutcomeVerifier.scores`."""
        right = np.asarray(answers) == 0
        yes = np.where(right, self.sensitivity, 1.0 - self.specificity)
        return np.asarray(luck[..., SCORE] < yes)

    def odds(self, n: int) -> Floats:
        """P(a random accepted one of n is right | x are right), float64[n + 1]."""
        return accepted_odds(n, self.sensitivity, self.specificity)


def step_probability(solve_probability: ArrayLike, steps: int) -> Floats:
    """P(one step is sound) if a chain of so many independent steps is right with this chance."""
    return np.asarray(np.asarray(solve_probability, dtype=np.float64) ** (1.0 / steps))


def looks_right(answers: ArrayLike, lured: ArrayLike = False) -> NDArray[np.bool_]:
    """Attempts that are right or, on problems that lure the verifier, give the dominant answer."""
    given = np.asarray(answers)
    return np.asarray((given == 0) | ((given == 1) & np.asarray(lured)))


def _wrong(field: str, words: str, value: float) -> Problem:
    return Problem(f"must be {words}, not {value:g}", field=field)
