"""Accuracy: how often a model is right on a problem when it has thought for so long.

    from simulator.quality import AccuracyCurve, AttemptLuck, QualityModel, majority, plurality

    curve = AccuracyCurve(floor=0.0, ceiling=0.8, half_tokens=2760, steepness=0.92)
    model = QualityModel(curve, rho=0.65, dominant_share=0.4)
    model.accuracy(8000)                            # mean over the problems
    model.solve_probability(0.9, [2000, 8000])      # of a hard problem, at two lengths
    luck = AttemptLuck(seed=1)(queries=7, samples=[0, 1, 2])   # float64[3, 4]
    model.correct(0.9, luck, 8000)                  # which of three attempts are right
    model.answers(0.9, luck, [0, 1, 2], 8000)       # 0 right, 1 the usual mistake, 2.. others
    majority(64, model.accuracy(8000), model.rho, model.dominant_share)    # exact

Imports nothing of the engine; everything takes scalars or arrays. See docs/quality.md.
"""

from simulator.quality.coverage import pass_at_k, pass_at_k_from_counts
from simulator.quality.curve import AccuracyCurve
from simulator.quality.draws import CORRECT, PARTIAL, SCORE, WRONG, AttemptLuck
from simulator.quality.heterogeneity import (
    beta_shapes,
    difficulty_quantile,
    solve_probability,
    solves,
)
from simulator.quality.model import (
    DOMINANT,
    RIGHT,
    SCATTERED,
    QualityModel,
    answers,
    independent,
)
from simulator.quality.optimum import optimal_tokens
from simulator.quality.probe import StabilityProbe, settled_tokens
from simulator.quality.selection import (
    accepted_odds,
    best_odds,
    best_scored,
    fit_d_prime,
    selected_accuracy,
)
from simulator.quality.verifiers import (
    CheckingVerifier,
    OutcomeVerifier,
    ProcessVerifier,
    step_probability,
)
from simulator.quality.voting import (
    NOBODY,
    converges_to,
    decided,
    majority,
    plurality,
    right_pmf,
    vote_odds,
)

__all__ = [
    "CORRECT",
    "DOMINANT",
    "NOBODY",
    "PARTIAL",
    "RIGHT",
    "SCATTERED",
    "SCORE",
    "WRONG",
    "AccuracyCurve",
    "AttemptLuck",
    "CheckingVerifier",
    "OutcomeVerifier",
    "ProcessVerifier",
    "QualityModel",
    "StabilityProbe",
    "accepted_odds",
    "answers",
    "best_odds",
    "best_scored",
    "beta_shapes",
    "converges_to",
    "decided",
    "difficulty_quantile",
    "fit_d_prime",
    "independent",
    "majority",
    "optimal_tokens",
    "pass_at_k",
    "pass_at_k_from_counts",
    "plurality",
    "right_pmf",
    "selected_accuracy",
    "settled_tokens",
    "solve_probability",
    "solves",
    "step_probability",
    "vote_odds",
]
