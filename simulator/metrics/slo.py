"""Goodput: requests that met every objective they were promised.

Follows `vllm bench serve --goodput` (and Zhong et al., "DistServe", OSDI 2024): a request counts if
it meets *all* objectives given. A request of one token has no tpot and meets that objective, as
there. What vLLM's client does not have to face: the share is taken of all measured requests sent,
so a request that was rejected, cancelled or left unfinished is one that missed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from simulator.metrics.latency import request_latencies

OBJECTIVES = ("ttft_s", "ttfo_s", "tpot_s", "e2el_s")


@dataclass(frozen=True)
class Goodput:
    """How many measured requests met the objectives.

    `attainment` is `good / sent`, `by_objective` the share of requests sent that met each single
    objective; both are NaN if nothing was sent.
    """

    sent: int
    good: int
    attainment: float
    by_objective: dict[str, float]


def goodput(
    measured: pd.DataFrame,
    slo: dict[str, float],
    class_slo: dict[str, dict[str, float]] | None = None,
) -> Goodput | None:
    """Judge all measured requests against `slo` (keys of `OBJECTIVES`, limits in seconds).

    `class_slo` takes its place for the classes it names. Returns None without objectives. Raises
    ValueError for an objective that is not known.
    """
    if class_slo:
        return _goodput_by_class(measured, slo, class_slo)
    unknown = sorted(set(slo) - set(OBJECTIVES))
    if unknown:
        raise ValueError(f"unknown objectives {unknown}; known: {list(OBJECTIVES)}")
    if not slo:
        return None
    completed = measured["status"].to_numpy() == "completed"
    latencies = request_latencies(measured)
    met = {}
    for name in OBJECTIVES:
        if name in slo:
            # NaN (say, cut before the first answer token) compares false: not met
            within = latencies[name].to_numpy() <= slo[name]
            if name == "tpot_s":
                within |= measured["generated_tokens"].to_numpy() <= 1
            met[name] = completed & within
    good = int(np.logical_and.reduce(list(met.values())).sum())
    sent = len(measured)
    share = {name: float(ok.sum()) / sent if sent else float("nan") for name, ok in met.items()}
    return Goodput(sent, good, good / sent if sent else float("nan"), share)


def _goodput_by_class(
    measured: pd.DataFrame, slo: dict[str, float], class_slo: dict[str, dict[str, float]]
) -> Goodput | None:
    """All classes together, each judged by its own objectives; without any, completing is enough.

    The share of an objective is taken of the requests that had it.
    """
    parts: list[Goodput] = []
    free_sent = free_good = 0
    for name, requests in measured.groupby("class", observed=True, sort=False):
        judged = goodput(requests, class_slo.get(str(name), slo))
        if judged is None:
            free_sent += len(requests)
            free_good += int((requests["status"] == "completed").sum())
        else:
            parts.append(judged)
    if not parts:
        return None
    sent = free_sent + sum(part.sent for part in parts)
    good = free_good + sum(part.good for part in parts)
    share = {}
    for objective in OBJECTIVES:
        having = [part for part in parts if objective in part.by_objective]
        if having:
            met = sum(part.by_objective[objective] * part.sent for part in having)
            share[objective] = met / sum(part.sent for part in having)
    return Goodput(sent, good, good / sent, share)
