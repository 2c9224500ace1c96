"""Votes over answers: exact odds for a set of problems, and the counting itself.

Of n attempts at one problem x are right, and each wrong one gives the dominant wrong answer with
probability s or else an answer nobody else gives. Which answer has most votes depends on x and on
chance alone, so every figure here is a sum over x of P(x) times the odds at x: P(x) is binomial for
one problem, Beta-binomial over a set of them. Exact for any n; nothing is sampled.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln, gammaln, xlog1py, xlogy

from simulator.quality.heterogeneity import RHO_OF_EQUALS, beta_shapes

Floats = NDArray[np.float64]
Ties = Literal["split", "lose"]

NOBODY = -1  # an attempt without an answer: cancelled, cut off or pruned


def right_pmf(n: int, accuracy: ArrayLike, rho: float = 0.0) -> Floats:
    """P(x of n attempts at one problem are right), float64[..., n + 1] for accuracies [...].

    rho = 0: binomial, of one problem whose solve probability is `accuracy`, or of a set of equal
    ones. rho > 0: Beta-binomial, of a problem drawn from a set with that mean. ValueError if n < 1.
    """
    _at_least_one(n)
    mean = np.asarray(accuracy, dtype=np.float64)[..., None]
    x = np.arange(n + 1)
    log_ways = gammaln(n + 1) - gammaln(x + 1) - gammaln(n - x + 1)
    if rho < RHO_OF_EQUALS:
        return np.asarray(np.exp(log_ways + xlogy(x, mean) + xlog1py(n - x, -mean)))
    a, b = beta_shapes(mean, rho)
    pmf = np.exp(log_ways + betaln(a + x, b + n - x) - betaln(a, b))
    return np.asarray(np.where(mean <= 0.0, x == 0, np.where(mean >= 1.0, x == n, pmf)))


def vote_odds(n: int, dominant_share: float = 1.0, ties: Ties = "split") -> Floats:
    """P(the vote is right | x of n are right), float64[n + 1].

    ties: "split" = one of the answers with most votes is taken at random; "lose" = a tie is wrong.
    With dominant_share 1 this is the majority of right over wrong.
    """
    _at_least_one(n)
    odds = np.zeros(n + 1)
    split = ties == "split"
    for x in range(1, n + 1):
        dominant = right_pmf(n - x, dominant_share) if x < n else np.ones(1)  # P(d of n - x)
        if x == 1 and n > 1:
            # One vote wins only if nobody has two: then all n attempts tie.
            odds[x] = dominant[:2].sum() / n if split else 0.0
        else:
            tied = dominant[x] if x < len(dominant) else 0.0
            odds[x] = dominant[:x].sum() + (0.5 * tied if split else 0.0)
    return odds


def majority(
    n: int,
    accuracy: ArrayLike,
    rho: float = 0.0,
    dominant_share: float = 1.0,
    ties: Ties = "split",
) -> Floats:
    """Accuracy of a vote of n, for mean accuracies [...] of single attempts.

    The defaults are the naive model `independent`: every problem equally hard and all wrong answers
    the same (Wang et al., "Self-consistency", arXiv 2203.11171, as articles quote it).
    """
    return right_pmf(n, accuracy, rho) @ vote_odds(n, dominant_share, ties)


def converges_to(dominant_share: float, accuracy: ArrayLike, rho: float) -> Floats:
    """Accuracy of a vote of infinitely many: the part of the problems with p > s (1 - p)."""
    from scipy.special import betaincc

    threshold = dominant_share / (1.0 + dominant_share)
    mean = np.asarray(accuracy, dtype=np.float64)
    if rho < RHO_OF_EQUALS:
        return np.where(mean == threshold, 0.5, np.where(mean > threshold, 1.0, 0.0))
    a, b = beta_shapes(mean, rho)
    return np.asarray(betaincc(a, b, threshold))


def plurality(
    answers: ArrayLike, tie_luck: ArrayLike, weights: ArrayLike | None = None
) -> NDArray[np.int64]:
    """The answer with most votes, int64[q], of answers int64[q, n] as `QualityModel` numbers them.

    tie_luck: float64[q] in (0, 1), chooses among the tied. weights: float64[q, n], what each vote
    counts for, such as a verifier's probability; 1 without. NOBODY does not vote; where nobody
    votes, the answer is NOBODY.
    """
    given = np.asarray(answers, dtype=np.int64)
    weight = np.ones(given.shape) if weights is None else np.asarray(weights, dtype=np.float64)
    own = np.where(given >= 2, weight, -np.inf)
    shared = []
    for answer in (0, 1):
        voted = given == answer
        total = np.where(voted, weight, 0.0).sum(axis=1)
        shared.append(np.where(voted.any(axis=1), total, -np.inf))
    totals = np.column_stack([*shared, own])
    most = totals.max(axis=1, keepdims=True)
    tied = (totals == most) & np.isfinite(totals)
    place = np.floor(np.asarray(tie_luck) * tied.sum(axis=1))[:, None]
    chosen = np.argmax(tied & (tied.cumsum(axis=1) > place), axis=1)
    known = np.column_stack([np.zeros(len(given)), np.ones(len(given)), given]).astype(np.int64)
    winner = known[np.arange(len(given)), chosen]
    return np.where(tied.any(axis=1), winner, NOBODY)


def decided(answers: ArrayLike, remaining: ArrayLike) -> NDArray[np.bool_]:
    """Whether votes still to come cannot change who wins, bool[q].

    answers: int64[q, n] so far, NOBODY where there is none yet; remaining: int64[q], how many are
    to come, all of which might agree on anything.
    """
    given = np.asarray(answers, dtype=np.int64)
    counts = np.sort(
        np.column_stack([(given == 0).sum(1), (given == 1).sum(1), (given >= 2).any(1)]), axis=1
    )
    second = np.maximum(counts[:, 1], ((given >= 2).sum(1) > 1) & (counts[:, 2] == 1))
    return np.asarray(counts[:, 2] - second > np.asarray(remaining))


def _at_least_one(n: int) -> None:
    if n < 1:
        raise ValueError(f"a vote needs at least one attempt, not {n}")
