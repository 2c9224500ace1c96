"""A population in a few figures: its largest clients one by one, the others together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.population.model import WINDOW_S, Client, ClientLengths, Population
from workloads.population.pmf import RatioPmf, TokenPmf

PROBABILITIES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999)


@dataclass(frozen=True, eq=False)
class Summary:
    """One client, or several pooled.

    requests: expected in the period; share: of all clients' requests. rate_rps: float64[steps].
    cv: mean CV of the gaps within windows; dispersion_cv: root of the mean of its square, the CV of
    one renewal process whose counts vary as much as the clients' do together. family: of most
    requests. All means are over requests. prompt, output, ratio: pooled distributions; ratio is
    None if some know no thinking.
    """

    name: str
    clients: int
    requests: float
    share: float
    rate_rps: NDArray[np.float64]
    cv: float
    dispersion_cv: float
    family: str
    prompt: TokenPmf
    output: TokenPmf
    ratio: RatioPmf | None


def summarise(population: Population, top: int, step_s: float) -> list[Summary]:
    """The `top` clients with most requests, in this order, then "others", if there are any.

    `step_s`: seconds of a step of the rates, a multiple of ten minutes. Raises ValueError for
    another one, or one that does not divide the period.
    """
    windows = round(step_s / WINDOW_S)
    if windows < 1 or windows * WINDOW_S != step_s or population.windows % windows:
        raise ValueError(f"step_s must divide the period into multiples of {WINDOW_S} s: {step_s}")
    total = population.expected_requests().sum()
    ranked = sorted(population.clients, key=lambda client: -client.rate_rps.sum())
    groups = [(client.name, [client]) for client in ranked[:top]]
    if ranked[top:]:
        groups.append(("others", ranked[top:]))
    return [_summary(name, clients, population, windows, total) for name, clients in groups]


def _summary(
    name: str, clients: list[Client], population: Population, windows: int, total: float
) -> Summary:
    rate = np.zeros(population.windows)
    for client in clients:
        rate[client.window] += client.rate_rps
    requests = np.concatenate([client.rate_rps for client in clients]) * WINDOW_S
    cv = np.concatenate([client.cv for client in clients])
    families = [family for client in clients for family in client.family]
    by_family = {
        family: sum(n for n, each in zip(requests, families, strict=True) if each == family)
        for family in sorted(set(families))
    }
    weights = _weights(clients)
    ratios = [(lengths.ratio, n) for lengths, n in weights if lengths.ratio is not None]
    return Summary(
        name=name,
        clients=len(clients),
        requests=float(requests.sum()),
        share=float(requests.sum() / total),
        rate_rps=rate.reshape(-1, windows).mean(axis=1),
        cv=float(np.average(cv, weights=requests)),
        dispersion_cv=math.sqrt(np.average(cv**2, weights=requests)),
        family=max(by_family, key=lambda family: by_family[family]),
        prompt=_pooled([(lengths.prompt, n) for lengths, n in weights]),
        output=_pooled([(lengths.output, n) for lengths, n in weights]),
        ratio=_pooled_ratio(ratios) if len(ratios) == len(weights) else None,
    )


def _weights(clients: list[Client]) -> list[tuple[ClientLengths, float]]:
    """The lengths that are drawn from, each with the requests expected to."""
    found: dict[ClientLengths, float] = {}
    for client in clients:
        for window, rate in zip(client.window, client.rate_rps, strict=True):
            lengths, _ = client.lengths_at(int(window))
            found[lengths] = found.get(lengths, 0.0) + float(rate) * WINDOW_S
    return list(found.items())


def _pooled(parts: list[tuple[TokenPmf, float]]) -> TokenPmf:
    return TokenPmf.of(
        np.concatenate([pmf.tokens for pmf, _ in parts]),
        np.concatenate([pmf.share * weight for pmf, weight in parts]),
    )


def _pooled_ratio(parts: list[tuple[RatioPmf, float]]) -> RatioPmf:
    """Of the finest binning among them; coarser bins are spread evenly."""
    bins = max(len(pmf.share) for pmf, _ in parts)
    edges = np.linspace(0.0, 1.0, bins + 1)
    below = np.zeros(bins + 1)
    for pmf, weight in parts:
        own = np.linspace(0.0, 1.0, len(pmf.share) + 1)
        below += weight * np.interp(edges, own, np.concatenate(([0.0], pmf.below)))
    return RatioPmf.of(np.diff(below))


def as_figures(summary: Summary) -> dict[str, Any]:
    """The summary in rounded numbers, quantiles at `PROBABILITIES`, for YAML or JSON."""
    u = np.array(PROBABILITIES)
    figures: dict[str, Any] = {
        "name": summary.name,
        "clients": summary.clients,
        "requests": round(summary.requests),
        "share": round(summary.share, 4),
        "cv": round(summary.cv, 3),
        "dispersion_cv": round(summary.dispersion_cv, 3),
        "family": summary.family,
        "rate_rps": [round(float(rate), 4) for rate in summary.rate_rps],
        "prompt_tokens": summary.prompt.quantile(u).tolist(),
        "output_tokens": summary.output.quantile(u).tolist(),
    }
    if summary.ratio is not None:
        figures["thinking_ratio"] = [round(float(x), 4) for x in summary.ratio.quantile(u)]
    return figures
