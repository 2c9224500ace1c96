"""95 % confidence intervals of means and percentiles from one autocorrelated run.

Latencies of neighbouring requests are alike: they met the same queue. Treating them as independent
makes intervals several times too narrow, so every interval here rests on batch means.

The observations, in order of arrival, are cut into 20 consecutive batches, long enough to be nearly
independent of each other (Law, "Simulation Modeling and Analysis", section 9.5.3; Schmeiser,
"Batch size effects in the analysis of simulation output", Operations Research 30, 1982, finds
little gain outside 10 to 30 batches). What correlation is left between batches is corrected for by
the factor (1 + phi)/(1 - phi) on the variance, phi being their lag-1 autocorrelation (Tafazzoli,
Steiger and Wilson, "N-Skart", IEEE Transactions on Automatic Control 56, 2011).

A percentile is handled through the share of observations below it, which is a mean (Woodruff,
"Confidence intervals for medians and other position measures", JASA 47, 1952; for dependent
sequences Heidelberger and Lewis, Operations Research 32, 1984): the interval of that share is
carried back through the empirical distribution. The percentiles of the batches themselves won't
do: the 99th percentile of 50 requests is close to their maximum. Simulated latencies are often
equal but for rounding; those within a billionth of the percentile count as equal to it, so that an
interval does not depend on the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BATCHES = 20
MIN_REQUESTS = 100  # fewer than five requests a batch say nothing about how batches vary
SAME = 1e-9  # relative, and in seconds: values that differ by less are equal but for rounding
MAX_AUTOCORRELATION = 0.8  # beyond it the estimate from 20 batches is mostly noise

Bounds = tuple[float, float]


def batch_bounds(count: int, batches: int = BATCHES) -> np.ndarray:
    """Where consecutive batches of nearly equal size begin and end; int64 `[batches + 1]`."""
    return np.arange(batches + 1) * count // batches


def autocorrelation_factor(residuals: np.ndarray) -> float:
    """How much positive lag-1 correlation of `residuals` inflates the variance of their mean.

    (1 + phi)/(1 - phi) with phi held to [0, `MAX_AUTOCORRELATION`]; 1 for no correlation.
    """
    variance = float(residuals @ residuals)
    if variance == 0.0:
        return 1.0
    phi = float(residuals[1:] @ residuals[:-1]) / variance
    phi = min(max(phi, 0.0), MAX_AUTOCORRELATION)
    return (1.0 + phi) / (1.0 - phi)


def ratio_half_width(sums: np.ndarray, weights: np.ndarray, confidence: float = 0.95) -> float:
    """Half-width of the interval of sum(sums)/sum(weights), given both per batch.

    With batch sizes as weights this is the interval of a mean; unequal weights are allowed.
    Returns NaN with fewer than two batches that weigh anything.
    """
    from scipy.special import stdtrit

    used = weights > 0
    sums, weights = sums[used], weights[used]
    batches = len(weights)
    if batches < 2:
        return float("nan")
    total = weights.sum()
    residuals = sums - sums.sum() / total * weights
    variance = float(residuals @ residuals) * batches / (batches - 1) / total**2
    quantile = float(stdtrit(batches - 1, 0.5 + confidence / 2))
    return quantile * float(np.sqrt(variance * autocorrelation_factor(residuals)))


def mean_half_width(values: np.ndarray, confidence: float = 0.95) -> float:
    """Half-width of the interval of the mean of `values`, which are in order of arrival.

    Returns NaN with fewer than `MIN_REQUESTS` values.
    """
    if len(values) < MIN_REQUESTS:
        return float("nan")
    bounds = batch_bounds(len(values))
    sums = np.add.reduceat(np.asarray(values, np.float64), bounds[:-1])
    return ratio_half_width(sums, np.diff(bounds).astype(np.float64), confidence)


def percentile_bounds(
    values: np.ndarray, percents: Sequence[float], confidence: float = 0.95
) -> list[Bounds]:
    """Lower and upper end of the interval of each percentile of `values` (in order of arrival).

    Both are NaN with fewer than `MIN_REQUESTS` values, or where the sample is too small to bound
    the percentile at all: the interval of the share of observations would pass 0 or 1. The 99th
    percentile of independent observations takes about 500 of them, of correlated ones more.
    """
    values = np.asarray(values, np.float64)
    count = len(values)
    if count < MIN_REQUESTS:
        return [(float("nan"), float("nan"))] * len(percents)
    bounds = batch_bounds(count)
    sizes = np.diff(bounds).astype(np.float64)
    ordered = np.sort(values)
    result = []
    for percent in percents:
        share = percent / 100
        estimate = _quantile(ordered, share)
        reached = values <= estimate + SAME * (1.0 + abs(estimate))
        below = np.add.reduceat(reached.astype(np.float64), bounds[:-1])
        reach = ratio_half_width(below, sizes, confidence)
        if share - reach <= 0 or share + reach >= 1:
            result.append((float("nan"), float("nan")))
        else:
            result.append((_quantile(ordered, share - reach), _quantile(ordered, share + reach)))
    return result


def percentile_half_widths(
    values: np.ndarray, percents: Sequence[float], confidence: float = 0.95
) -> list[float]:
    """The longer arm of `percentile_bounds` for each percentile, so that +- covers the interval."""
    estimates = np.percentile(values, percents) if len(values) else [float("nan")] * len(percents)
    bounds = percentile_bounds(values, percents, confidence)
    return [
        max(high - estimate, estimate - low)
        for estimate, (low, high) in zip(map(float, estimates), bounds, strict=True)
    ]


def _quantile(ordered: np.ndarray, share: float) -> float:
    """Linear interpolation between order statistics, numpy's default rule, on sorted values."""
    position = share * (len(ordered) - 1)
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return float(ordered[low] + (position - low) * (ordered[high] - ordered[low]))
