"""The law to generate with: the best parametric one, or measured quantiles where none is close."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from workloads.batch import MAX_TOKENS
from workloads.fitting.ranking import (
    RankedLaw,
    as_law,
    best_law,
    ks_distance,
    rank_laws,
    rounded,
)
from workloads.fitting.sample import LengthSample
from workloads.laws.law import Law

CHECKED = (0.5, 0.9, 0.99)
MISS_SURE = 0.025
"""A law that misses p50, p90 or p99 by more is refused, with two exceptions: ..."""
MISS_CLOSE = 0.05  # ... it follows the whole distribution closely, with half the KS allowed, ...
MISS_CHANCE = 0.10  # ... or the miss may be chance, so few lengths are there
DEVIATIONS = 2.0  # of a sample's quantile, that is called chance
KS_MOST = 0.025  # or 1 / sqrt(n), what chance alone does to small samples
FEW_VALUES = 20
GAP = 1.02  # neighbouring lengths that differ by less are as good as next to each other
ZERO_MU, ZERO_SIGMA = -12.0, 1.0  # a log-normal that always rounds to 0


@dataclass(frozen=True, eq=False)
class FittedLengths:
    """What `fit_lengths` found.

    ranked: all candidates by AIC (of the lengths above 0). best: of those the one with the lowest
    BIC, None if hardly any lengths differ. fields, law: what to generate with, as YAML fields and
    as a law. ks: its distance from all lengths. why: why not `best`, empty if it is.
    """

    sample: LengthSample
    ranked: list[RankedLaw]
    best: RankedLaw | None
    fields: dict[str, Any]
    law: Law
    ks: float
    why: str


def fit_lengths(sample: LengthSample) -> FittedLengths:
    """The law of these lengths. Weights are taken as numbers of observations."""
    if len(sample.values) == 1:
        fields = {"kind": "constant", "tokens": int(sample.values[0])}
        return _chosen(sample, [], None, fields, "")
    ranked = rank_laws(sample) if sample.values[-1] > 0 else []
    best = best_law(ranked) if ranked else None
    if len(sample.values) <= FEW_VALUES:
        why = f"only {len(sample.values)} lengths differ"
        return _chosen(sample, ranked, best, _empirical_fields(sample), why)
    assert best is not None
    zeros = sample.zero_share if sample.zero_share * sample.total >= 0.5 else 0.0
    parametric = _with_zeros(best.fields, zeros)
    if parametric is None:
        why = f"{100 * sample.zero_share:.1f} % of lengths are 0, which this law has no place for"
    else:
        law = as_law(parametric)
        assert law is not None
        why = _refusal(sample, law)
        if not why:
            return _chosen(sample, ranked, best, parametric, "")
    return _chosen(sample, ranked, best, quantile_fields(sample), why)


def quantile_misses(sample: LengthSample, law: Law) -> dict[str, float]:
    """p50, p90 and p99 of a law relative to those of a sample, minus 1; half a token stands for 0.

    Keys are "p50", "p90", "p99".
    """
    found = np.maximum(law.quantile(np.array(CHECKED)), 0.5)
    measured = np.maximum(sample.quantile(CHECKED), 0.5)
    return {
        f"p{100 * p:g}": float(value)
        for p, value in zip(CHECKED, found / measured - 1, strict=True)
    }


def quantile_fields(sample: LengthSample, points: int = 200) -> dict[str, Any]:
    """The `quantiles` law of a sample: some `points` of its CDF evenly, and more in both tails.

    The CDF is met exactly at half a token above each chosen length, and also half a token below
    those that hold much of the weight: favourite lengths and caps stay what they are.
    """
    wanted = np.arange(1, points) / points
    tails = np.concatenate([10.0**-k * np.arange(1, 10) for k in (3, 4)])
    tails = tails[tails * sample.total >= 5]  # a quantile needs some lengths beyond it
    wanted = np.concatenate((wanted, tails, 1 - tails, CHECKED))
    below = sample.cumulative
    chosen = np.unique(np.searchsorted(below, wanted - 1e-12, side="left"))
    chosen = chosen[chosen < len(below) - 1]
    heavy = np.flatnonzero(sample.weights > sample.total / (2 * points))
    heavy = heavy[heavy > 0]
    probability = np.concatenate((below[chosen], below[heavy - 1]))
    tokens = np.concatenate((sample.values[chosen] + 0.5, sample.values[heavy] - 0.5))
    order = np.lexsort((tokens, probability))
    probability, tokens = probability[order].round(6), tokens[order]
    low, high = int(sample.values[0]), int(sample.values[-1])
    probability = np.concatenate(([0.0], probability, [1.0]))
    tokens = np.concatenate(([max(low - 0.5, 0.0)], tokens, [min(high + 0.5, MAX_TOKENS)]))
    # Two edges of one probability have no length between them: where that is a real gap both stay,
    # a hair apart, for probabilities must rise.
    last = np.concatenate((np.diff(probability) > 0, [True]))
    first = np.concatenate(([True], np.diff(probability) > 1e-6)) & (probability > 0)
    wide = np.concatenate((tokens[1:] > GAP * tokens[:-1], [False]))
    probability[~last & first & wide] -= 1e-6
    use = last | (first & wide)
    return {
        "kind": "quantiles",
        "probabilities": probability[use].round(6).tolist(),
        "tokens": tokens[use].tolist(),
        "min": low,
        "max": high,
    }


def _empirical_fields(sample: LengthSample) -> dict[str, Any]:
    return {
        "kind": "empirical",
        "tokens": sample.values.tolist(),
        "weights": rounded((sample.weights / sample.total).tolist()),
        "min": int(sample.values[0]),
    }


def _with_zeros(fields: dict[str, Any], share: float) -> dict[str, Any] | None:
    """The law with this share of lengths of 0 added; None if its kind cannot have them."""
    if share == 0:
        return fields
    if fields["kind"] not in ("lognormal", "lognormal_mixture"):
        return None
    alone = fields["kind"] == "lognormal"
    weights = [1.0] if alone else fields["weights"]
    mu = [fields["mu"]] if alone else fields["mu"]
    sigma = [fields["sigma"]] if alone else fields["sigma"]
    return {
        "kind": "lognormal_mixture",
        "weights": rounded([share, *((1 - share) * weight for weight in weights)]),
        "mu": [ZERO_MU, *mu],
        "sigma": [ZERO_SIGMA, *sigma],
        "min": 0,
        "max": fields["max"],
    }


def _refusal(sample: LengthSample, law: Law) -> str:
    """Why a law is not close enough to generate with; empty if it is."""
    ks, ks_most = ks_distance(sample, law), max(KS_MOST, 1 / np.sqrt(sample.total))
    if ks > ks_most:
        return f"KS {ks:.3f}"
    for p, (name, miss) in zip(CHECKED, quantile_misses(sample, law).items(), strict=True):
        # the order statistics between which a sample's quantile may well lie
        spread = DEVIATIONS * np.sqrt(p * (1 - p) / sample.total)
        low, high = sample.quantile([max(p - spread, 0.0), min(p + spread, 1.0)])
        by_chance = low <= float(law.quantile(np.array([p]))[0]) <= high
        allowed = MISS_CLOSE if ks <= ks_most / 2 else MISS_SURE
        if abs(miss) > max(allowed, MISS_CHANCE if by_chance else 0.0):
            return f"{name} off by {100 * miss:+.1f} %"
    return ""


def _chosen(
    sample: LengthSample,
    ranked: list[RankedLaw],
    best: RankedLaw | None,
    fields: dict[str, Any],
    why: str,
) -> FittedLengths:
    law = as_law(fields)
    assert law is not None, fields
    return FittedLengths(sample, ranked, best, fields, law, ks_distance(sample, law), why)
