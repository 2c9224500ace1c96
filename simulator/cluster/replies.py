"""How the queries of a run ended."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.engine.request import COMPLETED, NEW
from simulator.quality import NOBODY
from simulator.strategies.plan import Plan


@dataclass(frozen=True, eq=False)
class Replies:
    """What each of the q queries of `plan` was answered, and when.

    answer: int64[q], the id of the answer, `NOBODY` for none. done_s: float64[q], seconds, NaN
    if the run ended first. arrival_s: float64[q], when it came (seconds), NaN if it did not.
    """

    plan: Plan
    answer: NDArray[np.int64]
    done_s: NDArray[np.float64]
    arrival_s: NDArray[np.float64]

    @classmethod
    def of_single_requests(
        cls, plan: Plan, requests: np.ndarray, pool_id: NDArray[np.int64]
    ) -> Replies:
        """Of queries that are one request each; `requests`: the REQUEST table after the run."""
        answer = np.full(len(plan.queries), NOBODY, dtype=np.int64)
        done_s = np.full(len(plan.queries), np.nan)
        over = np.flatnonzero(np.isfinite(requests["finish_s"]) & (requests["status"] >= COMPLETED))
        done_s[plan.query[over]] = requests["finish_s"][over]
        whole = requests["generated_tokens"][over] == requests["output_tokens"][over]
        said = over[whole & (requests["status"][over] == COMPLETED)]
        pools = pool_id[requests["replica"][said]]
        answer[plan.query[said]] = plan.answers[pools, said]
        arrival_s = np.full(len(plan.queries), np.nan)
        came = requests["status"] != NEW
        arrival_s[plan.query[came]] = requests["arrival_s"][came]
        return cls(plan, answer, done_s, arrival_s)
