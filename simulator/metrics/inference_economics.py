"""Training against inference: where the FLOPs of a model's life go, and when serving overtakes.

Training takes 6 FLOPs per parameter and token, forward and backward (Kaplan et al., Scaling laws
for neural language models, arXiv 2001.08361), serving 2 per parameter and token, attention left
out. All functions take scalars or arrays, broadcast together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

TRAINING_FLOPS_PER_PARAMETER_TOKEN = 6.0
SERVING_FLOPS_PER_PARAMETER_TOKEN = 2.0


def training_flops(parameters: ArrayLike, training_tokens: ArrayLike) -> Floats:
    """FLOPs of training a model with so many (active) parameters on so many tokens: 6 N D."""
    n, d = _not_negative(parameters=parameters, training_tokens=training_tokens)
    return TRAINING_FLOPS_PER_PARAMETER_TOKEN * n * d


def serving_flops(parameters: ArrayLike, tokens: ArrayLike) -> Floats:
    """FLOPs of serving so many tokens, prompt or generated: 2 N per token, without attention."""
    n, t = _not_negative(parameters=parameters, tokens=tokens)
    return SERVING_FLOPS_PER_PARAMETER_TOKEN * n * t


def amortised_training_flops(
    parameters: ArrayLike, training_tokens: ArrayLike, queries: ArrayLike
) -> Floats:
    """A query's part of the training if so many (positive) queries are ever served."""
    (served,) = _not_negative(queries=queries)
    if np.any(served == 0):
        raise ValueError("training is shared by at least one query")
    return training_flops(parameters, training_tokens) / served


def crossover_queries(training_tokens: ArrayLike, tokens_per_query: ArrayLike) -> Floats:
    """Queries after which serving has taken as many FLOPs as training: 3 D / tokens per query.

    The parameters cancel. Infinite where a query has no tokens.
    """
    d, t = _not_negative(training_tokens=training_tokens, tokens_per_query=tokens_per_query)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = TRAINING_FLOPS_PER_PARAMETER_TOKEN / SERVING_FLOPS_PER_PARAMETER_TOKEN
        return np.where(t > 0, ratio * d / t, np.inf)


def inference_share(
    training_tokens: ArrayLike, tokens_per_query: ArrayLike, queries: ArrayLike
) -> Floats:
    """Part of all FLOPs that serving has taken after so many queries, from 0 to 1."""
    d, t, q = _not_negative(
        training_tokens=training_tokens, tokens_per_query=tokens_per_query, queries=queries
    )
    served = SERVING_FLOPS_PER_PARAMETER_TOKEN * t * q
    total = served + TRAINING_FLOPS_PER_PARAMETER_TOKEN * d
    return np.divide(served, total, out=np.zeros_like(total), where=total > 0)


def thinking_for_equal_flops(
    parameters: ArrayLike, tokens: ArrayLike, other_parameters: ArrayLike
) -> Floats:
    """Tokens that another model may spend on a query for the same serving FLOPs."""
    n, t, other = _not_negative(
        parameters=parameters, tokens=tokens, other_parameters=other_parameters
    )
    if np.any(other == 0):
        raise ValueError("a model has parameters")
    return n * t / other


def _not_negative(**given: ArrayLike) -> tuple[Floats, ...]:
    found = tuple(np.asarray(value, dtype=np.float64) for value in given.values())
    wrong = [name for name, value in zip(given, found, strict=True) if not np.all(value >= 0)]
    if wrong:
        raise ValueError(f"must not be negative: {', '.join(wrong)}")
    return found
