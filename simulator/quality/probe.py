"""Early exit: ask the thinking model for its answer now and then, and stop when it is stable.

Dynasor (arXiv 2412.20993) probes every few tokens and stops when answers agree. What a probe says
here is whether the answer has become what it will be in the end, with stated error rates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simulator.errors import InputError, Problem
from simulator.quality.draws import PARTIAL, AttemptLuck
from simulator.quality.model import QualityModel
from simulator.rng import UNIFORMS_PER_ROW

Floats = NDArray[np.float64]

_HALVINGS = 24  # of the natural length: to a token in sixteen million
_PROBES_PER_SAMPLE = 1 << 24


def settled_tokens(
    model: QualityModel, difficulty: ArrayLike, luck: Floats, natural_tokens: ArrayLike
) -> Floats:
    """Thinking tokens from which on each attempt's answer is its final one, float64[...].

    An attempt that ends right is settled once it is right. One that ends wrong settles on its wrong
    answer anywhere on its way (uniform, by its luck): how early is not published. `luck`:
    float64[..., 4], of `AttemptLuck`; natural_tokens: where it would stop by itself.
    """
    natural = np.asarray(natural_tokens, dtype=np.float64)

    def right(part: Floats) -> NDArray[np.bool_]:
        return model.correct(difficulty, luck, model.effective_tokens(part * natural, natural))

    shape = np.broadcast_shapes(natural.shape, np.shape(difficulty), luck.shape[:-1])
    low, high = np.zeros(shape), np.ones(shape)
    in_the_end = right(high)
    at_once = right(low)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        found = right(middle)
        low, high = np.where(found, low, middle), np.where(found, middle, high)
    part = np.where(in_the_end, np.where(at_once, 0.0, high), luck[..., PARTIAL])
    return part * natural


@dataclass(frozen=True)
class StabilityProbe:
    """Asks every `every_tokens` thinking tokens; stops after `patience` times "stable" in a row.

    false_stable: P("stable" | the answer will still change), missed_stable: P("not yet" | it will
    not). tokens: what one probe generates, spent in any case.
    """

    every_tokens: int
    tokens: int = 20
    patience: int = 1
    false_stable: float = 0.0
    missed_stable: float = 0.0

    def __post_init__(self) -> None:
        problems = [
            Problem(f"must be a whole number of at least {least}, not {value!r}", field=name)
            for name, value, least in (
                ("every_tokens", self.every_tokens, 1),
                ("tokens", self.tokens, 0),
                ("patience", self.patience, 1),
            )
            if value != int(value) or value < least
        ]
        problems += [
            Problem(f"must be from 0 to 1, not {value:g}", field=name)
            for name, value in (
                ("false_stable", self.false_stable),
                ("missed_stable", self.missed_stable),
            )
            if not 0.0 <= value <= 1.0
        ]
        if problems:
            raise InputError(problems)

    def says_stable(
        self, thinking_tokens: ArrayLike, settled: ArrayLike, luck: ArrayLike
    ) -> NDArray[np.bool_]:
        """What probes after so many thinking tokens say, bool[...]; luck: of `luck_of`."""
        stable = np.asarray(thinking_tokens) >= np.asarray(settled)
        return np.asarray(luck) < np.where(stable, 1.0 - self.missed_stable, self.false_stable)

    def exit_tokens(
        self,
        settled: ArrayLike,
        natural_tokens: ArrayLike,
        luck: AttemptLuck,
        queries: ArrayLike,
        samples: ArrayLike,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where each attempt stops thinking, and how many probes it took: int64[n] both.

        settled: float64[n], of `settled_tokens`; natural_tokens: int64[n], where it stops anyway,
        unprobed. queries, samples: int64[n], whose probes they are. An attempt stopped at t
        gives the answer it has at t: `QualityModel.answers` at `effective_tokens(t, natural)`.
        """
        natural = np.asarray(natural_tokens, dtype=np.int64).ravel()
        settled, query, sample = (
            np.broadcast_to(np.asarray(column), natural.shape)
            for column in (settled, queries, samples)
        )
        stop, probes = natural.copy(), np.zeros(len(natural), dtype=np.int64)
        streak = np.zeros(len(natural), dtype=np.int64)
        going = np.arange(len(natural))
        number = 1
        while True:
            at = number * self.every_tokens
            going = going[natural[going] > at]
            if not len(going):
                return stop, probes
            probes[going] += 1
            drawn = self.luck_of(luck, query[going], sample[going], number)
            stable = self.says_stable(at, settled[going], drawn)
            streak[going] = np.where(stable, streak[going] + 1, 0)
            done = streak[going] >= self.patience
            stop[going[done]] = at
            going = going[~done]
            number += 1

    def luck_of(
        self, luck: AttemptLuck, queries: ArrayLike, samples: ArrayLike, number: int
    ) -> Floats:
        """The uniform of each attempt's probe `number`, from 1, float64[...].

        luck: of a stream of its own, `AttemptLuck(seed, entity, stream="probe")`.
        """
        word, column = divmod(number - 1, UNIFORMS_PER_ROW)
        address = np.asarray(samples, dtype=np.int64) * _PROBES_PER_SAMPLE + word
        return luck(queries, address)[..., column]
