"""No prediction at all: the default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from simulator.predictors.base import PREDICTORS, Predictor, Truth


@PREDICTORS.register("none")
@dataclass(eq=False)
class NoPrediction(Predictor):
    """Knows nothing and answers NaN: policies that need a guess are refused beside it."""

    answers: ClassVar[bool] = False

    def start(self, truth: Truth, seed: int) -> None:
        """There is nothing to note."""

    def total_tokens(
        self, rows: NDArray[np.int64], generated: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """NaN for each: it spreads, so that nothing built on it by mistake looks like a number."""
        return np.full(len(rows), np.nan)
