"""How long to think when a right answer is worth something and tokens cost something."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simulator.quality.model import QualityModel

Floats = NDArray[np.float64]

_GRID = 160  # log-spaced lengths, 6 % apart over four decades, between which there is one optimum
_GOLDEN = 0.5 * (5.0**0.5 - 1.0)
_TABULATED = 1024  # difficulties in a table, for more queries than that


def optimal_tokens(
    model: QualityModel,
    value_usd: ArrayLike,
    usd_per_token: ArrayLike,
    *,
    difficulty: ArrayLike | None = None,
    max_tokens: float = 1e6,
    forced: bool = False,
) -> Floats:
    """Thinking tokens t in [0, max_tokens] with the greatest value * P(right | t) - price * t.

    value_usd, usd_per_token, difficulty: scalars or arrays, broadcast together. difficulty: the
    problem's quantile in (0, 1), true or predicted; None: only the mean accuracy is known. forced:
    the model is made to think that long, so overthinking counts.

    Numerical, as the problem has several local optima (thinking nothing is often one): a grid over
    four decades, then golden section around its best point. With floor 0, steepness 1 and neither
    onset nor decline the answer is sqrt(V A t0 / price) - t0. Of more than 1,024 problems with one
    value and price the difficulties are rounded to 1,024 steps.
    Raises ValueError for a negative value or price, or max_tokens that is not positive.
    """
    value = np.asarray(value_usd, dtype=np.float64)
    price = np.asarray(usd_per_token, dtype=np.float64)
    if np.any(value < 0) or np.any(price < 0) or not max_tokens > 0:
        raise ValueError("values and prices must not be negative, and max_tokens positive")
    if difficulty is not None and value.ndim == price.ndim == 0:
        u = np.asarray(difficulty, dtype=np.float64)
        if u.size > _TABULATED:
            steps = (np.arange(_TABULATED) + 0.5) / _TABULATED
            table = _search(model, value, price, steps, max_tokens, forced)
            return table[np.minimum((u * _TABULATED).astype(np.int64), _TABULATED - 1)]
    return _search(model, value, price, difficulty, max_tokens, forced)


def _search(
    model: QualityModel,
    value: Floats,
    price: Floats,
    difficulty: ArrayLike | None,
    max_tokens: float,
    forced: bool,
) -> Floats:
    u = None if difficulty is None else np.asarray(difficulty, dtype=np.float64)[..., None]
    shape = np.broadcast_shapes(value.shape, price.shape, () if u is None else u.shape[:-1])

    def gain(tokens: Floats) -> Floats:
        if u is None:
            chance = model.accuracy(tokens, forced)
        else:
            chance = model.solve_probability(u, tokens, forced)
        return value[..., None] * chance - price[..., None] * tokens

    # More than value / price tokens cost more than a right answer is worth.
    with np.errstate(divide="ignore", invalid="ignore"):
        most = np.minimum(np.where(price > 0, value / price, np.inf), max_tokens)
    top = np.broadcast_to(np.maximum(most, 1e-6), shape)[..., None]
    low = np.minimum(1.0, top * 1e-4)
    lengths = low * (top / low) ** np.linspace(0.0, 1.0, _GRID)
    lengths = np.concatenate([np.zeros_like(top), lengths], axis=-1)
    best = np.argmax(gain(lengths), axis=-1)[..., None]
    last = lengths.shape[-1] - 1
    a = np.take_along_axis(lengths, np.maximum(best - 1, 0), axis=-1)
    b = np.take_along_axis(lengths, np.minimum(best + 1, last), axis=-1)
    at_grid = np.take_along_axis(lengths, best, axis=-1)
    for _ in range(48):
        c, d = b - _GOLDEN * (b - a), a + _GOLDEN * (b - a)
        left = gain(c) >= gain(d)
        a, b = np.where(left, a, c), np.where(left, d, b)
    refined = 0.5 * (a + b)
    return np.where(gain(refined) > gain(at_grid), refined, at_grid)[..., 0]
