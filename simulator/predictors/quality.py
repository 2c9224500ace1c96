"""How good a predictor is on given requests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.facts import LengthPredictor
from simulator.predictors.base import Truth

_MOST_REQUESTS = 20_000


@dataclass(frozen=True)
class Quality:
    """Kendall's tau (b) of guess and truth, and quantiles of guess / truth - 1.

    NaN where a predictor does not answer; `kendall_tau` also where all lengths are equal.
    """

    kendall_tau: float
    relative_error_p10: float
    relative_error_p50: float
    relative_error_p90: float
    mean_absolute_relative_error: float


def quality(predictor: LengthPredictor, truth: Truth, generated_tokens: int = 0) -> Quality:
    """What a started predictor says of requests that have `generated_tokens` and go on.

    Takes every k-th request where there are more than 20,000. Raises ValueError if no request is
    that long.
    """
    from scipy.stats import kendalltau

    rows = np.flatnonzero(truth.output_tokens > generated_tokens)
    if not len(rows):
        raise ValueError(f"no request has more than {generated_tokens} output tokens")
    rows = rows[:: -(-len(rows) // _MOST_REQUESTS)]
    true = truth.output_tokens[rows].astype(np.float64)
    said = predictor.total_tokens(rows, np.full(len(rows), generated_tokens))
    error = said / true - 1.0
    p10, p50, p90 = np.quantile(error, (0.1, 0.5, 0.9)).tolist()
    tau = float(kendalltau(said, true).statistic)
    return Quality(tau, p10, p50, p90, float(np.abs(error).mean()))
