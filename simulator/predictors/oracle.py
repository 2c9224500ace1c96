"""Knows every length: the best that any predictor could do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.predictors.base import PREDICTORS, Predictor, Truth


@PREDICTORS.register("oracle")
@dataclass(eq=False)
class Oracle(Predictor):
    """The true length, known beforehand. Nobody has it: a bound on what predicting can bring."""

    def start(self, truth: Truth, seed: int) -> None:
        """Note the lengths."""
        self._total = truth.output_tokens.astype(np.float64)

    def total_tokens(
        self, rows: NDArray[np.int64], generated: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """The true lengths."""
        return np.maximum(self._total[rows], generated + 1)
