"""One guess at the prompt, wrong by a log-normal factor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simulator.predictors.base import PREDICTORS, Predictor, Truth, standard_normal_errors


@PREDICTORS.register("noisy")
@dataclass(eq=False)
class Noisy(Predictor):
    """One guess from the prompt: the true length times exp(sigma e), e standard normal.

    Right in the median: half of the guesses are too long and half too short; their mean is
    exp(sigma^2 / 2) times too long. A guess is cut at the client's cap, which leaves the median
    right. A request that outlives its guess is expected to end with the next token.
    """

    source: ClassVar[str] = (
        "Qiu et al., Efficient interactive LLM serving with proxy model-based sequence length"
        " prediction, arXiv:2404.08509"
    )

    sigma: Annotated[float, Field(ge=0.0, le=5.0)] = 0.5
    """Standard deviation of the logarithm of guess / truth: at 0.5, two guesses in three lie
    within a factor of 1.65 of the truth."""

    def start(self, truth: Truth, seed: int) -> None:
        """Draw every guess."""
        factor = np.exp(self.sigma * standard_normal_errors(truth, seed))
        self._total = np.minimum(truth.output_tokens * factor, truth.cap_tokens)

    def total_tokens(
        self, rows: NDArray[np.int64], generated: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """The guesses."""
        return np.maximum(self._total[rows], generated + 1)
