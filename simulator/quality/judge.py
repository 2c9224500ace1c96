"""Judges the attempts of a run: the models of its pools at the problems of its queries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from simulator.quality.draws import CORRECT, AttemptLuck
from simulator.quality.heterogeneity import solve_probability, solves
from simulator.quality.model import QualityModel, answers
from simulator.quality.voting import NOBODY

Floats = NDArray[np.float64]
Column = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Judge:
    """Knows what attempts at n problems answer.

    models: for each pool the quality model of each class, or None for a pool that answers nothing,
    such as a verifier's. class_id: int[n]. difficulty: float64[n], each problem's quantile in
    (0, 1). query: int64[n], the number that its luck goes by.
    """

    models: Sequence[Sequence[QualityModel] | None]
    class_id: NDArray[np.integer]
    difficulty: Floats
    query: Column
    luck: AttemptLuck

    def take(self, rows: Column) -> Judge:
        """The same for some of the problems."""
        return replace(
            self,
            class_id=self.class_id[rows],
            difficulty=self.difficulty[rows],
            query=self.query[rows],
        )

    def answers(
        self, attempt: int, given_tokens: Column, natural_tokens: Column, lift: Floats | float
    ) -> Column:
        """Answer ids int64[pools, n]; see `Draft.answers`."""
        luck = self.luck(self.query, attempt)
        said = np.full((len(self.models), len(self.query)), NOBODY, dtype=np.int64)
        for pool, model, rows in self.parts():
            mean = _mean(model, given_tokens[rows], natural_tokens[rows], _of(lift, rows))
            drawn = luck[rows]
            right = solves(mean, model.rho, self.difficulty[rows], drawn[..., CORRECT])
            said[pool, rows] = answers(right, drawn, attempt, model.dominant_share)
        return said

    def chances(
        self, given_tokens: Column, natural_tokens: Column, lift: Floats | float = 0.0
    ) -> Floats:
        """Chances that attempts are right, float64[pools, n]; NaN of pools that answer nothing."""
        found = np.full((len(self.models), len(self.query)), np.nan)
        for pool, model, rows in self.parts():
            mean = _mean(model, given_tokens[rows], natural_tokens[rows], _of(lift, rows))
            found[pool, rows] = solve_probability(mean, model.rho, self.difficulty[rows])
        return found

    def of_pool(
        self, pool: int, value: Callable[[QualityModel, Column], NDArray[np.float64]]
    ) -> Floats:
        """`value(model, rows)` for the queries of each class, put together: float64[n]."""
        found = np.full(len(self.query), np.nan)
        for index, model, rows in self.parts():
            if index == pool:
                found[rows] = value(model, rows)
        return found

    def uniforms(self, attempt: int) -> Floats:
        """The luck of attempts, float64[n, 4] in (0, 1); see `simulator.quality.draws`."""
        return self.luck(self.query, attempt)

    def parts(self) -> Iterator[tuple[int, QualityModel, Column]]:
        """Pools and classes that there are: the pool's number, the model, the rows int64[k]."""
        present = [(k, np.flatnonzero(self.class_id == k)) for k in np.unique(self.class_id)]
        for pool, models in enumerate(self.models):
            if models is not None:
                for class_id, rows in present:
                    yield pool, models[class_id], rows


def _of(lift: Floats | float, rows: Column) -> Floats | float:
    return lift[rows] if isinstance(lift, np.ndarray) else lift


def _mean(model: QualityModel, given: Column, natural: Column, lift: Floats | float) -> Floats:
    """Mean accuracy over problems of attempts that think so long, as if all were like this one."""
    reached = model.accuracy(model.effective_tokens(given, natural), given > natural)
    return reached + lift * (1.0 - reached)
