"""Judges the attempts of a run: the models of its pools at the problems of its queries."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from simulator.quality.draws import CORRECT, AttemptLuck
from simulator.quality.heterogeneity import solve_probability, solves
from simulator.quality.model import QualityModel, answers

Floats = NDArray[np.float64]
Column = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PoolJudge:
    """A `simulator.strategies.answers.Judge` by the quality models of the pools, one each.

    difficulty: float64[n], each problem's quantile in (0, 1). query: int64[n], the number that its
    luck goes by.
    """

    models: tuple[QualityModel, ...]
    difficulty: Floats
    query: Column
    luck: AttemptLuck

    def take(self, rows: Column) -> PoolJudge:
        """The same for some of the problems."""
        return replace(self, difficulty=self.difficulty[rows], query=self.query[rows])

    def answers(
        self, attempt: int, given_tokens: Column, natural_tokens: Column, lift: Floats | float
    ) -> Column:
        """Answer ids int64[pools, n]; see `Draft.answers`."""
        luck = self.luck(self.query, attempt)
        said = []
        for model in self.models:
            mean = _mean(model, given_tokens, natural_tokens, lift)
            right = solves(mean, model.rho, self.difficulty, luck[..., CORRECT])
            said.append(answers(right, luck, attempt, model.dominant_share))
        return np.stack(said)

    def chances(
        self, given_tokens: Column, natural_tokens: Column, lift: Floats | float = 0.0
    ) -> Floats:
        """Chances that attempts are right, float64[pools, n]."""
        return np.stack(
            [
                solve_probability(
                    _mean(model, given_tokens, natural_tokens, lift), model.rho, self.difficulty
                )
                for model in self.models
            ]
        )

    def uniforms(self, attempt: int) -> Floats:
        """The luck of attempts, float64[n, 4] in (0, 1); see `simulator.quality.draws`."""
        return self.luck(self.query, attempt)


def _mean(model: QualityModel, given: Column, natural: Column, lift: Floats | float) -> Floats:
    """Mean accuracy over problems of attempts that think so long, as if all were like this one."""
    reached = model.accuracy(model.effective_tokens(given, natural), given > natural)
    return reached + lift * (1.0 - reached)
