"""Which law describes lengths best: all candidates by AIC and KS, and the one to generate with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from workloads.fitting.families import FAMILIES, Fitted
from workloads.fitting.mixture import Mixture, fit_mixture
from workloads.fitting.sample import LengthSample
from workloads.fitting.spliced import FREE, fit_spliced
from workloads.laws.law import Law

MIXTURES = {1: "log-normal", 2: "log-normal mixture of 2", 3: "log-normal mixture of 3"}
TITLES = {
    "gamma": "gamma",
    "weibull": "Weibull",
    "burr": "Burr XII",
    "gpd": "generalised Pareto (Lomax)",
    "pareto": "Pareto",
    "spliced": "log-normal with a Pareto tail",
}


@dataclass(frozen=True, eq=False)
class RankedLaw:
    """One candidate: its YAML fields, and how well it describes the lengths above 0.

    ks: largest distance of the distribution functions, as the law is drawn (rounded, bounded).
    aic, bic: of the density per token, over binned lengths; a cap is censored.
    """

    title: str
    fields: dict[str, Any]
    law: Law
    free: int
    log_likelihood: float
    aic: float
    bic: float
    ks: float


def rank_laws(sample: LengthSample) -> list[RankedLaw]:
    """All candidates that exist as a law, best AIC first; empty if fewer than 3 lengths differ.

    Weights are taken as numbers of observations.
    """
    positive = sample.positive()
    if len(positive.values) < 3:
        return []
    ranked = []
    for title, fields, free, log_likelihood in _candidates(positive):
        law = as_law(fields)
        if law is None:
            continue
        ranked.append(
            RankedLaw(
                title=title,
                fields=fields,
                law=law,
                free=free,
                log_likelihood=log_likelihood,
                aic=2 * free - 2 * log_likelihood,
                bic=float(np.log(positive.total)) * free - 2 * log_likelihood,
                ks=ks_distance(positive, law),
            )
        )
    return sorted(ranked, key=lambda fitted: fitted.aic)


def best_law(ranked: list[RankedLaw]) -> RankedLaw:
    """The law with the lowest BIC, which asks more of every further parameter than AIC does.

    So a log-normal is not called a mixture because three of them fit its noise a little better.
    """
    return min(ranked, key=lambda fitted: fitted.bic)


def _candidates(positive: LengthSample) -> Iterator[tuple[str, dict[str, Any], int, float]]:
    """Title, YAML fields, number of parameters and log-likelihood of each."""
    bounds = {"min": int(positive.values[0]), "max": positive.cap or int(positive.values[-1])}
    for components, title in MIXTURES.items():
        mixture = fit_mixture(positive.bins, components)
        fields = rounded(_mixture_fields(mixture)) | bounds
        yield title, fields, 3 * components - 1, mixture.log_likelihood
    for kind, fit in FAMILIES.items():
        fitted = fit(positive)
        fields = rounded(_family_fields(fitted)) | bounds
        yield TITLES[kind], fields, fitted.free, fitted.log_likelihood
    spliced = fit_spliced(positive)
    if spliced is not None:
        yield TITLES["spliced"], rounded(spliced[0]) | bounds, FREE, spliced[1]


def _mixture_fields(mixture: Mixture) -> dict[str, Any]:
    if len(mixture.mu) == 1:
        return {
            "kind": "lognormal",
            "mu": float(mixture.mu[0]),
            "sigma": float(mixture.sigma[0]),
        }
    return {
        "kind": "lognormal_mixture",
        "weights": mixture.weights.tolist(),
        "mu": mixture.mu.tolist(),
        "sigma": mixture.sigma.tolist(),
    }


def _family_fields(fitted: Fitted) -> dict[str, Any]:
    if fitted.kind == "gpd":
        return {"kind": "pareto", **fitted.parameters}
    if fitted.kind == "pareto":
        start, alpha = fitted.parameters["location"], fitted.parameters["alpha"]
        return {"kind": "pareto", "xi": 1 / alpha, "scale": start / alpha, "location": start}
    return {"kind": fitted.kind, **fitted.parameters}


def rounded(fields: Any, digits: int = 6) -> Any:
    """The same with every float, at any depth, to so many significant digits."""
    if isinstance(fields, float):
        return float(f"{fields:.{digits}g}")
    if isinstance(fields, dict):
        return {key: rounded(value, digits) for key, value in fields.items()}
    if isinstance(fields, list):
        return [rounded(value, digits) for value in fields]
    return fields


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[Law]:
    from workloads.lengths import LengthLaw

    return TypeAdapter(LengthLaw)


def as_law(fields: dict[str, Any]) -> Law | None:
    """The law these YAML fields stand for, None if a parameter is beyond what laws allow."""
    try:
        return _adapter().validate_python(fields)
    except ValidationError:
        return None


def ks_distance(sample: LengthSample, law: Law) -> float:
    """The largest distance between the distribution functions of a sample and a law."""
    above = law.survival(sample.values)
    just_below = law.survival(sample.values - 1)
    measured = 1 - sample.cumulative
    before = np.concatenate(([1.0], measured[:-1]))
    return float(max(np.abs(above - measured).max(), np.abs(just_below - before).max()))
