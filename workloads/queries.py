"""What queries of one kind are like: how long prompt, thinking and answer are, and how hard."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from simulator.rng import luck
from workloads.batch import MAX_TOKENS
from workloads.laws.copula import Correlation, problem_and_sample_uniforms, split_variance
from workloads.laws.law import Law
from workloads.laws.ratio import RatioLaw, split_output
from workloads.lengths import ConstantLength, LengthLaw
from workloads.schema import Section

WITHIN_PROBLEM_SIGMA = 0.3
"""Standard deviation of the logarithm of thinking lengths of attempts at one problem."""

CHUNK_ROWS = 1 << 18  # bounds the memory of the uniforms, four to a row


class Difficulty(Section):
    """How hard queries are: 0 = anybody solves it, 1 = nobody; a beta law of shapes `a` and `b`.

    `thinking_correlation` is that of the normal scores of difficulty and of the problem's thinking
    length. No public data hold both for single problems, so it is 0 unless you know better.
    """

    a: float = Field(1.0, gt=0, le=1e6)
    b: float = Field(1.0, gt=0, le=1e6)
    thinking_correlation: float = Field(0.0, ge=-1, le=1)

    def quantile(self, uniform: NDArray[np.float64]) -> NDArray[np.float64]:
        """Difficulties float64[n] from uniforms float64[n] in (0, 1)."""
        if self.a == self.b == 1.0:
            return uniform
        from scipy.special import betaincinv

        difficulty: NDArray[np.float64] = betaincinv(self.a, self.b, uniform)
        return difficulty


@dataclass(frozen=True, eq=False)
class Drawn:
    """Lengths of n queries, int64[n] tokens each, and difficulty float64[n] or None."""

    prompt_tokens: NDArray[np.int64]
    thinking_tokens: NDArray[np.int64]
    answer_tokens: NDArray[np.int64]
    difficulty: NDArray[np.float64] | None


class QueryLaws(Section):
    """The laws of lengths of one class of queries.

    Answers have a law of their own, or `output_tokens` is divided by `thinking_ratio` into thinking
    and answer. The law of thinking (or of the output) is that of single attempts; the *problem*
    decides most of it, and attempts at one problem spread by `within_problem_sigma`, the standard
    deviation of the logarithm of their lengths. Default 0.3: DeepSeek-R1 on the MLPerf problems,
    0.29 within and 1.08 between problems.
    `correlation` is between the normal scores of prompt, problem and answer (a Gaussian copula).
    `shared_prefix_tokens` stand before every prompt, the same for all of the class.
    `max_tokens` caps thinking + answer.
    """

    prompt_tokens: LengthLaw
    thinking_tokens: LengthLaw = ConstantLength(tokens=0)
    answer_tokens: LengthLaw | None = None
    output_tokens: LengthLaw | None = None
    thinking_ratio: RatioLaw | None = None
    correlation: Correlation = Correlation()
    within_problem_sigma: float = Field(WITHIN_PROBLEM_SIGMA, ge=0, le=10)
    difficulty: Difficulty | None = None
    shared_prefix_tokens: int = Field(0, ge=0, le=MAX_TOKENS)
    max_tokens: int | None = Field(None, ge=1, le=MAX_TOKENS)

    @field_validator("prompt_tokens", "answer_tokens", "output_tokens")
    @classmethod
    def _never_empty(cls, law: Law | None) -> Law | None:
        if law is not None and law.support()[0] < 1:
            raise ValueError("a request needs at least 1 token here, and this law can draw 0")
        return law

    @model_validator(mode="after")
    def _one_way_to_an_answer(self) -> QueryLaws:
        whole = self.output_tokens is not None
        if whole == (self.answer_tokens is not None):
            raise ValueError("give either answer_tokens or output_tokens with thinking_ratio")
        if whole != (self.thinking_ratio is not None):
            raise ValueError("output_tokens and thinking_ratio go together")
        if self.difficulty is not None and abs(self._difficulty_share()) > 1.0:
            raise ValueError(
                f"difficulty.thinking_correlation {self.difficulty.thinking_correlation:g} and "
                f"correlation.prompt_thinking {self.correlation.prompt_thinking:g} contradict each "
                "other: difficulty does not depend on the prompt"
            )
        if whole and "thinking_tokens" in self.model_fields_set and self._thinks():
            raise ValueError("thinking_tokens follow from output_tokens and thinking_ratio here")
        return self

    def draw(self, seed: int, entity: str, count: int, start: int = 0, *, sample: int = 0) -> Drawn:
        """The lengths of queries `start` to `start + count - 1` of class `entity`.

        Query j's depend only on (seed, entity, j, sample); its prompt and difficulty are the same
        in every sample. Works in pieces, so that memory stays with the result.
        """
        columns = tuple(np.empty(count, dtype=np.int64) for _ in range(3))
        difficulty = None if self.difficulty is None else np.empty(count)
        for first in range(0, count, CHUNK_ROWS):
            piece = slice(first, min(first + CHUNK_ROWS, count))
            part = self._draw(seed, entity, piece.stop - first, start + first, sample)
            for column, values in zip(columns, part, strict=False):
                column[piece] = values
            if difficulty is not None:
                difficulty[piece] = part[3]
        prompt, thinking, answer = columns
        return Drawn(prompt, thinking, answer, difficulty)

    def _draw(
        self, seed: int, entity: str, count: int, start: int, sample: int
    ) -> tuple[NDArray[Any], ...]:
        def column(stream: str, sample: int = 0) -> NDArray[np.float64]:
            return luck(seed, stream, entity, count, start, sample=sample)

        problem, difficulty = self.problems(seed, entity, count, start)
        lengths = self.lengths(
            np.column_stack([column("prompt"), problem, column("answer", sample)]),
            column("within_problem", sample),
        )
        return (*lengths, *([] if difficulty is None else [difficulty]))

    def problems(
        self, seed: int, entity: str, count: int, start: int = 0
    ) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """How much the problems of queries make think, as uniforms, and how hard they are."""
        problem = luck(seed, "thinking", entity, count, start)
        if self.difficulty is None:
            return problem, None
        hardness = luck(seed, "difficulty", entity, count, start)
        problem = _correlated(hardness, problem, self._difficulty_share())
        return problem, self.difficulty.quantile(hardness)

    def difficulty_shapes(self) -> tuple[float, float] | None:
        """Shapes of the beta law of difficulty, None without one."""
        return None if self.difficulty is None else (self.difficulty.a, self.difficulty.b)

    def _difficulty_share(self) -> float:
        """Correlation of difficulty with what the prompt does not decide of the problem."""
        assert self.difficulty is not None
        wanted = self.difficulty.thinking_correlation
        return wanted / math.sqrt(1.0 - self.correlation.prompt_thinking**2)

    def lengths(
        self, uniforms: NDArray[np.float64], within: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Prompt, thinking and answer tokens from independent uniforms in (0, 1).

        `uniforms`: float64[n, 3] for prompt, problem and answer. `within`: float64[n], for the
        attempt at the problem.
        """
        score = self.correlation.correlate(uniforms)
        law = self.output_tokens or self.thinking_tokens
        icc = split_variance(law, self.within_problem_sigma)
        generated = law.quantile(problem_and_sample_uniforms(score[:, 1], within, icc))
        if self.thinking_ratio is not None:
            thinking, answer = split_output(generated, self.thinking_ratio.quantile(score[:, 2]))
        else:
            assert self.answer_tokens is not None
            thinking, answer = generated, self.answer_tokens.quantile(score[:, 2])
        prompt = self.shared_prefix_tokens + self.prompt_tokens.quantile(score[:, 0])
        return prompt, thinking, answer

    def provenance(self) -> dict[str, str]:
        """Where each column of the lengths comes from, in words."""
        prefix = self.shared_prefix_tokens
        before = f"{prefix:,} shared tokens, then " if prefix else ""
        sources = {"prompt_tokens": f"drawn: {before}{self.prompt_tokens.describe()}"}
        if self.output_tokens is not None and self.thinking_ratio is not None:
            output, ratio = self.output_tokens.describe(), self.thinking_ratio.describe()
            sources["thinking_tokens"] = f"drawn: share {ratio} of an output {output}"
            sources["answer_tokens"] = "drawn: the rest of that output"
        else:
            assert self.answer_tokens is not None
            sources["thinking_tokens"] = f"drawn: {self.thinking_tokens.describe()}"
            sources["answer_tokens"] = f"drawn: {self.answer_tokens.describe()}"
        return sources | {"lengths": self._dependence()}

    def _dependence(self) -> str:
        tied = {name: value for name, value in self.correlation if value}
        if not tied:
            return "of prompt, thinking and answer drawn independently of each other"
        words = ", ".join(f"{name.replace('_', ' and ')} {value:g}" for name, value in tied.items())
        return f"correlated, by their normal scores: {words}"

    def _thinks(self) -> bool:
        return self.thinking_tokens.support() != (0, 0)


def _correlated(
    given: NDArray[np.float64], free: NDArray[np.float64], correlation: float
) -> NDArray[np.float64]:
    """`free` moved so that its normal score has `correlation` with that of `given`."""
    if correlation == 0.0:
        return free
    from scipy.special import ndtr, ndtri

    rest = math.sqrt(1.0 - correlation**2)
    moved: NDArray[np.float64] = ndtr(correlation * ndtri(given) + rest * ndtri(free))
    return moved
