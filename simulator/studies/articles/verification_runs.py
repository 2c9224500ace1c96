"""Some cells of the verification tables once more, by strategies in a simulated run."""

from __future__ import annotations

from functools import cache
from typing import Any

from simulator.quality import OutcomeVerifier, fit_d_prime, majority
from simulator.studies.articles.base import (
    FULL_ARC,
    NEW_AXIS,
    Row,
    Study,
    close,
    close_points,
    graded,
    percent,
    times,
)
from simulator.studies.articles.query_cost import usd_per_query
from simulator.studies.articles.runs import simulated
from simulator.studies.articles.verification import AIME, DOMINANT_SHARE, best_of, fitted_rho

ATTEMPT_TOKENS = 11_500
PROMPT_TOKENS = 1_000


@cache
def outcome(strategy: str, rho: float) -> tuple[float, float]:
    """Accuracy, and generated tokens per query, of a strategy in YAML."""
    quality = f"{{accuracy: {AIME.single}, rho: {rho}, dominant_share: {DOMINANT_SHARE}}}"
    result = simulated("verification", (f"strategy={strategy}", f"pools.main.quality={quality}"))
    summary: dict[str, Any] = result.summary
    return float(summary["accuracy"]), float(result.queries["generated_tokens"].mean())


def verdict_cost_share() -> float:
    """Cost of a process reward model's verdict on an attempt, by the cost of the attempt.

    The attempt: a 70B model that thinks 10,000 tokens; the verdict: an 8B model that reads all of
    it. Both on GPUs that are always busy.
    """
    attempt = usd_per_query(ATTEMPT_TOKENS - PROMPT_TOKENS - 500, 400)
    queries = 400
    summary = simulated(
        "query_cost",
        (
            "pools.main.model=llama-3.1-8b",
            "pools.main.tensor_parallel_size=1",
            "pools.main.weight_dtype=auto",
            f"workload.num_requests={queries}",
            f"workload.prompt_tokens.tokens={ATTEMPT_TOKENS}",
            "workload.answer_tokens.tokens=1",
        ),
    ).summary
    return float(summary["cost_usd"]) / queries / attempt


def _rows() -> list[Row]:
    rho = round(fitted_rho(AIME), 4)
    n, said = AIME.prm[0]
    d_prime = fit_d_prime(said, n, AIME.single, rho, 0.0)
    auc = round(OutcomeVerifier(d_prime).auc, 4)
    _, single_tokens = outcome("single", rho)
    rows = []
    for n, said in AIME.votes:
        found, tokens = outcome(f"{{kind: majority_vote, samples: {n}}}", rho)
        exact = float(majority(n, AIME.single, rho, DOMINANT_SHARE))
        rows.append(
            Row(
                f"AIME 2024, simulated: majority of {n}, and its cost",
                f"{percent(said, 0)}, {n}x",
                f"{percent(found)}, {times(tokens / single_tokens)}",
                graded(close_points(found, said) and close(tokens / single_tokens, n)),
                f"closed form {percent(exact)}; cost in generated tokens, 6,000 queries",
            )
        )
    share = verdict_cost_share()
    costs = []
    for (n, said), multiplier in zip(AIME.prm, (4.2, 8.5), strict=True):
        strategy = f"{{kind: best_of_n, verifier: prm, samples: {n}, auc: {auc}}}"
        found, tokens = outcome(strategy, rho)
        exact = best_of(n, AIME, rho, d_prime)
        cost = tokens / single_tokens * (1.0 + share)
        costs.append(cost)
        rows.append(
            Row(
                f"AIME 2024, simulated: best of {n} by PRM, and its cost",
                f"{percent(said, 0)}, {multiplier:g}x",
                f"{percent(found)}, {times(cost)}",
                graded(close_points(found, said) and close(cost, multiplier)),
                f"closed form {percent(exact)}; an 8B verifier reads each attempt of a 70B model of"
                f" 11,500 tokens, at {percent(share)} of its cost",
            )
        )
    rows.append(
        Row(
            "best of 4 to 8 by PRM: cost rises",
            "2-4x",
            " to ".join(times(cost) for cost in costs),
            "reproduced" if costs[0] <= 4.4 and costs[1] <= 4.4 else "article wrong",
            "N attempts cost N times one; the other article's table says 4.2x and 8.5x",
        )
    )
    return rows


STUDY = Study(
    "verification_runs",
    "Verification, simulated",
    f"{NEW_AXIS}; {FULL_ARC}",
    _rows,
    simulates=True,
)
