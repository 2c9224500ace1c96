"""Guesses that get better while the request is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simulator.predictors.base import PREDICTORS, Predictor, Truth, standard_normal_errors


@PREDICTORS.register("refining")
@dataclass(eq=False)
class Refining(Predictor):
    """Guesses at what is left get better as tokens are seen: true times exp(sigma(g) e) after g.

    e is standard normal, one for each request. TRAIL predicts the remaining length anew at each
    token, from the model's own embeddings, and smooths the predictions by Bayes' rule. Looks that
    are independent and equally good, so combined, add up in precision: 1 / sigma(g)^2 grows in
    proportion to the tokens seen, so

        sigma(g) = sigma / sqrt(1 + 3 g / halved_after_tokens).

    Before the first token it is what `noisy` says with the same sigma. Too long stays too long
    and too short too short, by less and less. Guesses are cut at the client's cap.
    """

    source: ClassVar[str] = (
        "TRAIL: Shahout et al., Don't stop me now: embedding based scheduling for LLMs,"
        " arXiv:2410.01035"
    )

    sigma: Annotated[float, Field(ge=0.0, le=5.0)] = 0.5
    """Standard deviation of the logarithm of guess / truth before the first token."""

    halved_after_tokens: Annotated[float, Field(gt=0.0)] = 300.0
    """Output tokens after which sigma is half of that."""

    def start(self, truth: Truth, seed: int) -> None:
        """Draw the errors."""
        self._total = truth.output_tokens.astype(np.float64)
        self._cap = truth.cap_tokens
        self._error = self.sigma * standard_normal_errors(truth, seed)

    def total_tokens(
        self, rows: NDArray[np.int64], generated: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """What was generated, and what is thought to be left."""
        shrunk = np.sqrt(1.0 + (3.0 / self.halved_after_tokens) * generated)
        left = np.maximum(self._total[rows] - generated, 1.0)
        total: NDArray[np.float64] = generated + left * np.exp(self._error[rows] / shrunk)
        return np.maximum(np.minimum(total, self._cap[rows]), generated + 1)
