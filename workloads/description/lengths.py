"""How long prompts, thinking and answers of a trace are, and which laws that looks like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workloads.fitting.choice import FittedLengths, fit_lengths
from workloads.fitting.sample import LengthSample
from workloads.fitting.tail import GpdTail, Hill, fit_gpd_tail, hill

PERCENTS = (1, 5, 10, 25, 50, 75, 90, 95, 99, 99.9)
TAIL_PERCENT = 95


@dataclass(frozen=True, eq=False)
class LengthStatistics:
    """One column of lengths, tokens. Tails and laws are of the lengths above 0."""

    sample: LengthSample
    percentiles: dict[float, int]
    hill: Hill | None
    tail: GpdTail | None
    fitted: FittedLengths


def length_statistics(tokens: NDArray[np.int64]) -> LengthStatistics:
    """Statistics of lengths, int64[n], n at least 1."""
    sample = LengthSample.of(tokens)
    found = sample.quantile([percent / 100 for percent in PERCENTS])
    any_tokens = sample.values[-1] > 0
    return LengthStatistics(
        sample=sample,
        percentiles=dict(zip(PERCENTS, found.tolist(), strict=True)),
        hill=hill(sample) if any_tokens else None,
        tail=fit_gpd_tail(sample, TAIL_PERCENT / 100) if any_tokens else None,
        fitted=fit_lengths(sample),
    )
