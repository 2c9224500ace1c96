"""Who knows how difficult queries are: a classifier that may tell, with stated errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.rng import luck


@dataclass(frozen=True, eq=False)
class NoisyClassifier:
    """A `simulator.facts.DifficultyClassifier` that errs at random, at the rates it is asked for.

    difficulty: float64[n] in [0, 1], the truth; a request of unknown difficulty (NaN) is easy.
    origin: int64[n], the row of each request when it was drawn; None: it has not moved.
    """

    difficulty: NDArray[np.float64]
    origin: NDArray[np.int64] | None = None

    def says_hard(
        self, seed: int, *, hard_above: float, easy_called_hard: float, hard_called_easy: float
    ) -> NDArray[np.bool_]:
        """Which requests it calls hard, bool[n].

        The draw behind a label belongs to the request (stream "difficulty_label"), so that two
        policies see the same labels, and a better classifier is right wherever a worse one was.
        """
        hard = self.difficulty > hard_above
        rows = np.arange(len(hard)) if self.origin is None else self.origin
        drawn = luck(seed, "difficulty_label", "", int(rows.max(initial=-1)) + 1)[rows]
        return np.where(hard, drawn >= hard_called_easy, drawn < easy_called_hard)
