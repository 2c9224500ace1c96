"""What every predictor can do, what it is told, and where it is filed.

Predictors are the only policies that are told how long requests will be: what they hand out is a
guess of a stated quality. Their errors are drawn like everything else of the workload, from the
seed, so that two schedulers under one seed are misled in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NoReturn

import numpy as np
from numpy.typing import NDArray

from simulator.errors import IntegrityError, Problem
from simulator.facts import LengthPredictor, freeze
from simulator.policy import Policy, blame, kind_of
from simulator.registry import Registry
from simulator.rng import uniforms


@dataclass(frozen=True, eq=False)
class Truth:
    """The n requests of a run as they will turn out, row by row.

    prompt_tokens, thinking_tokens, answer_tokens: int64[n]. max_tokens: int64[n], the client's cap
    on thinking and answer together, 0 for none. class_id: int32[n], index into `class_names`.
    Read-only.
    """

    prompt_tokens: NDArray[np.int64]
    thinking_tokens: NDArray[np.int64]
    answer_tokens: NDArray[np.int64]
    max_tokens: NDArray[np.int64]
    class_id: NDArray[np.int32]
    class_names: tuple[str, ...] = ("default",)

    def __post_init__(self) -> None:
        freeze(self)

    def __len__(self) -> int:
        return len(self.prompt_tokens)

    @cached_property
    def cap_tokens(self) -> NDArray[np.float64]:
        """What the client lets a request generate at most, float64[n]; infinite without a cap."""
        return np.where(self.max_tokens > 0, self.max_tokens, np.inf)

    @cached_property
    def output_tokens(self) -> NDArray[np.int64]:
        """Thinking and answer, cut at the client's cap, int64[n].

        Not at a pool's max_model_len: which pool will get the request is not known.
        """
        wanted = self.thinking_tokens + self.answer_tokens
        return np.where(self.max_tokens > 0, np.minimum(wanted, self.max_tokens), wanted)


class Predictor(Policy):
    """Guesses output lengths; a `simulator.facts.LengthPredictor` once it is started.

    `answers` is False of one that knows nothing: policies that need a guess are refused with it.
    """

    answers: ClassVar[bool] = True

    def start(self, truth: Truth, seed: int) -> None:
        """A run of these requests begins. Whatever is slow is done here."""
        raise NotImplementedError

    def total_tokens(
        self, rows: NDArray[np.int64], generated: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Output tokens in all that requests `rows` (int64[k]) are expected to have, float64[k].

        `generated` (int64[k]) tokens of each have been seen, and at least one more will come. The
        answer depends on nothing else, so that it does not matter who asks when.
        """
        raise NotImplementedError


PREDICTORS: Registry[type[Predictor]] = Registry("predictor")


class Reordered:
    """A started predictor whose requests have moved: request i is what `rows[i]` (int64[n]) was.

    For runs of the same requests in another order, as when the times at which clients send are
    learnt in a rehearsal: errors belong to requests, not to places in the table.
    """

    def __init__(self, predictor: LengthPredictor, rows: NDArray[np.int64]) -> None:
        self._predictor = predictor
        self._rows = rows

    def total_tokens(
        self, rows: NDArray[np.int64], generated: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """As the predictor answers for the rows that these requests had."""
        return self._predictor.total_tokens(self._rows[rows], generated)


class _Checked:
    """A started predictor that is held to what it answers."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def total_tokens(
        self, rows: NDArray[np.int64], generated: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        try:
            guess = np.asarray(self._predictor.total_tokens(rows, generated), dtype=np.float64)
        except (Exception, SystemExit) as error:
            raise blame("predictor", self._predictor, error) from error
        if guess.shape != rows.shape:
            self._wrong(f"one guess for each of {len(rows)} requests, not {guess.shape}")
        if not (guess >= 0.0).all():
            self._wrong(f"tokens, 0 or more, not {guess[~(guess >= 0.0)][0]!r}")
        return guess

    def _wrong(self, what: str) -> NoReturn:
        error = IntegrityError(f"total_tokens must return {what}")
        raise blame("predictor", self._predictor, error)


def checked(predictor: Predictor) -> LengthPredictor:
    """`predictor`, which has started; `IntegrityError` for guesses that are none, with its name.

    One that does not answer says nothing but NaN, and is left alone.
    """
    return _Checked(predictor) if predictor.answers else predictor


def unanswered(predictor: Predictor, policies: Mapping[str, Policy]) -> list[Problem]:
    """What is wrong with a predictor that knows nothing beside these policies (by YAML field).

    A policy with a true `needs_prediction` can't do without a guess.
    """
    if predictor.answers:
        return []
    return [
        Problem(
            f"{kind_of(policy)} goes by predicted lengths: choose a predictor that has some",
            field=field,
        )
        for field, policy in policies.items()
        if getattr(policy, "needs_prediction", False)
    ]


def draws(truth: Truth, seed: int) -> NDArray[np.float64]:
    """Two independent uniforms in (0, 1) for each request, float64[n, 2].

    The j-th request of a class has the same ones whatever other classes there are. The columns
    are for the error, and for whatever else a predictor leaves to chance.
    """
    drawn = np.empty((len(truth), 2))
    for index, name in enumerate(truth.class_names):
        rows = np.flatnonzero(truth.class_id == index)
        drawn[rows] = uniforms(seed, "prediction", name, len(rows))[:, :2]
    return drawn


def standard_normal_errors(truth: Truth, seed: int) -> NDArray[np.float64]:
    """Independent draws of mean 0 and variance 1, one a request, float64[n]."""
    from scipy.special import ndtri

    errors: NDArray[np.float64] = ndtri(draws(truth, seed)[:, 0])
    return errors
