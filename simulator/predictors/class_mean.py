"""The mean of a request's class: what anybody with a history has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.predictors.base import PREDICTORS, Predictor, Truth


@PREDICTORS.register("class_mean")
@dataclass(eq=False)
class ClassMean(Predictor):
    """The mean output length of the run's requests of the same class, cut at the client's cap.

    It tells classes apart, but no request from another one of its class.
    """

    def start(self, truth: Truth, seed: int) -> None:
        """Work out the means."""
        classes = len(truth.class_names)
        count = np.bincount(truth.class_id, minlength=classes)
        total = np.bincount(truth.class_id, weights=truth.output_tokens, minlength=classes)
        mean = total / np.maximum(count, 1)
        self._total = np.minimum(mean[truth.class_id], truth.cap_tokens)

    def total_tokens(
        self, rows: NDArray[np.int64], generated: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """The means of their classes."""
        return np.maximum(self._total[rows], generated + 1)
