"""Mean accuracy of a model on a set of problems as a function of how long it thinks."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simulator.errors import InputError, Problem

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class AccuracyCurve:
    """acc(t) = [f + (A - f) / (1 + (t0 / (t - s))^k)] * exp(-(t / t1)^m), t in thinking tokens.

    floor (f): accuracy without any thinking; ceiling (A): what it rises to; half_tokens (t0): where
    half of the way is done; steepness (k). Around t0 the rise is linear in log t, as published
    (s1, arXiv 2501.19393; o1). onset_tokens (s, 0 if not given): thinking shorter than this helps
    nothing; s1 solves none of AIME 2024 in 500 tokens, which no curve that starts at 0 gives.
    decline_tokens (t1, infinite if not given) and decline_steepness (m): overthinking, which has
    been measured where a model is *made* to go on ("Wait", arXiv 2506.04210). The factor is left
    out of lengths that the model chose itself and of budgets that cut it short.

    Raises InputError with everything that is wrong.
    """

    floor: float
    ceiling: float
    half_tokens: float
    steepness: float
    onset_tokens: float = 0.0
    decline_tokens: float = math.inf
    decline_steepness: float = 1.0

    def __post_init__(self) -> None:
        problems = [
            Problem(f"must be {words}, not {value:g}", field=name)
            for name, value, ok, words in (
                ("floor", self.floor, 0.0 <= self.floor <= 1.0, "from 0 to 1"),
                ("ceiling", self.ceiling, 0.0 <= self.ceiling <= 1.0, "from 0 to 1"),
                ("half_tokens", self.half_tokens, 0 < self.half_tokens < math.inf, "positive"),
                ("steepness", self.steepness, 0 < self.steepness < math.inf, "positive"),
                ("onset_tokens", self.onset_tokens, 0 <= self.onset_tokens < math.inf, "0 or more"),
                ("decline_tokens", self.decline_tokens, self.decline_tokens > 0, "positive"),
                (
                    "decline_steepness",
                    self.decline_steepness,
                    0 < self.decline_steepness < math.inf,
                    "positive",
                ),
            )
            if not ok
        ]
        if self.ceiling < self.floor:
            message = f"must be at least the floor, {self.floor:g}, not {self.ceiling:g}"
            problems.append(Problem(message, field="ceiling"))
        if problems:
            raise InputError(problems)

    @classmethod
    def flat(cls, accuracy: float) -> AccuracyCurve:
        """A model that does not think: the same accuracy whatever the tokens."""
        return cls(floor=accuracy, ceiling=accuracy, half_tokens=1.0, steepness=1.0)

    def accuracy(self, thinking_tokens: ArrayLike, forced: ArrayLike = False) -> Floats:
        """Mean accuracy at so many thinking tokens, in the shape of the arguments together.

        `forced`: True where the model was made to think longer than it would have. Never falls with
        the tokens where it is False.
        """
        tokens = np.asarray(thinking_tokens, dtype=np.float64)
        beyond = np.maximum(tokens - self.onset_tokens, 0.0)
        with np.errstate(divide="ignore", over="ignore"):
            risen = 1.0 / (1.0 + (self.half_tokens / beyond) ** self.steepness)
        natural = self.floor + (self.ceiling - self.floor) * risen
        if self.decline_tokens == math.inf or not np.any(forced):
            return np.broadcast_to(natural, np.broadcast_shapes(natural.shape, np.shape(forced)))
        with np.errstate(over="ignore"):
            kept = np.exp(-((tokens / self.decline_tokens) ** self.decline_steepness))
        return np.where(forced, natural * kept, natural)

    def tokens_for(self, accuracy: ArrayLike) -> Floats:
        """Fewest thinking tokens that reach a mean accuracy, inf where none do (decline left out).

        The inverse of `accuracy` with `forced=False`; 0 where the floor is enough.
        """
        wanted = np.asarray(accuracy, dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            part = (wanted - self.floor) / (self.ceiling - self.floor)
            tokens = self.onset_tokens + self.half_tokens * (part / (1.0 - part)) ** (
                1.0 / self.steepness
            )
        tokens = np.where(wanted >= self.ceiling, np.inf, tokens)
        return np.where(wanted <= self.floor, 0.0, tokens)

    def scaled(self, factor: float) -> AccuracyCurve:
        """The curve times `factor` from 0 to 1, as of a lossy KV cache that keeps so much."""
        if not 0.0 <= factor <= 1.0:
            raise InputError(f"a factor of accuracy must be from 0 to 1, not {factor:g}")
        return replace(self, floor=self.floor * factor, ceiling=self.ceiling * factor)
