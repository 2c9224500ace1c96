"""The requests that policies are tried on: mostly short, some long, of all kinds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from simulator.difficulty import NoisyClassifier
from simulator.engine.request import new_requests
from simulator.facts import RequestFacts
from simulator.predictors.base import Reordered, Truth
from simulator.predictors.noisy import Noisy
from simulator.prefix import PromptSegments
from simulator.rng import uniforms

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

CLASSES = ("quiet", "plain", "urgent")
CLIENTS = ("a", "b", "c")
LONGEST_TOKENS = 448
"""Of prompt and output, or prompt and cap."""

_OWN_FACTS = ("prompt_tokens", "max_tokens", "class_id", "client_id", "priority", "due_s")


@dataclass(frozen=True, eq=False)
class Workload:
    """n requests.

    arrival_s: float64[n], in order. prompt_tokens, thinking_tokens, output_tokens, max_tokens:
    int64[n]. `facts` is what policies see of them: the guesses of its predictor stay as they are
    when lengths change. difficulty: float64[n], what its classifier goes by.
    """

    arrival_s: Floats
    prompt_tokens: Ints
    thinking_tokens: Ints
    output_tokens: Ints
    max_tokens: Ints
    difficulty: Floats
    facts: RequestFacts

    def __len__(self) -> int:
        return len(self.arrival_s)

    def table(self) -> np.ndarray:
        """The requests as an engine takes them, not served yet."""
        return new_requests(
            self.arrival_s,
            self.prompt_tokens,
            self.output_tokens,
            self.thinking_tokens,
            self.max_tokens,
        )

    def later(self, shift_s: float) -> Workload:
        """The same, `shift_s` seconds later."""
        return replace(self, arrival_s=self.arrival_s + shift_s)

    def with_lengths(self, thinking_tokens: Ints, output_tokens: Ints) -> Workload:
        """The same to all who can't see the future."""
        return replace(self, thinking_tokens=thinking_tokens, output_tokens=output_tokens)

    def with_requests_of(self, rows: Ints) -> Workload:
        """The same arrivals, but what comes i-th is what came as `rows[i]` (int64[n]).

        Sessions and queries stay where they are, as they are named by their rows.
        """
        facts, difficulty = self.facts, self.difficulty[rows]
        segments = facts.segments
        if segments is not None:
            prompts = [segments.of(i) for i in rows.tolist()]
            segments = PromptSegments.from_lists(prompts, segments.output_id[rows])
        moved = replace(
            facts,
            **{name: getattr(facts, name)[rows] for name in _OWN_FACTS},
            predictor=Reordered(facts.predictor, rows),
            segments=segments,
            classifier=NoisyClassifier(difficulty, rows),
            origin=rows,
        )
        return Workload(
            arrival_s=self.arrival_s,
            prompt_tokens=self.prompt_tokens[rows],
            thinking_tokens=self.thinking_tokens[rows],
            output_tokens=self.output_tokens[rows],
            max_tokens=self.max_tokens[rows],
            difficulty=difficulty,
            facts=moved,
        )


def workload(name: str, count: int, span_s: float, *, shares_prompts: bool = False) -> Workload:
    """`count` requests over `span_s` seconds, the same under the same name.

    Two in five belong to sessions, half have a deadline, a third have a cap far above their length,
    and some end at their cap. `shares_prompts`: prompts begin alike, and those of a session go on
    from the answers before them.
    """
    luck = [uniforms(7, "conformance", name, count, sample=sample) for sample in (0, 1, 2)]
    u = np.concatenate(luck, axis=1)
    rows = np.arange(count, dtype=np.int64)
    prompt = 1 + np.floor(60.0 * u[:, 1] ** 2).astype(np.int64)
    output = 1 + np.floor(4.0 * np.exp(3.4 * u[:, 2])).astype(np.int64)
    output[rows % 15 == 4] = 280
    thinking = np.floor(output * u[:, 3]).astype(np.int64)
    capped = np.where(rows % 3 == 1, output + 100, np.where(rows % 7 == 2, output, 0))
    class_id = np.floor(3.0 * u[:, 4]).astype(np.int32)
    session = np.where(rows % 5 < 2, rows // 10, -1)
    truth = Truth(prompt, thinking, output - thinking, capped, class_id, CLASSES)
    predictor = Noisy(sigma=0.5)
    predictor.start(truth, seed=7)
    facts = RequestFacts(
        prompt_tokens=prompt,
        max_tokens=capped,
        class_id=class_id,
        client_id=np.floor(3.0 * u[:, 5] ** 2).astype(np.int32),
        session_id=session,
        query_id=np.where(session >= 0, rows - rows % 10, rows),
        priority=np.array([2, 1, 0])[class_id],
        due_s=np.where(u[:, 6] < 0.5, np.floor(16.0 + 200.0 * u[:, 7]), np.inf),
        predictor=predictor,
        class_names=CLASSES,
        client_names=CLIENTS,
        segments=_segments(prompt, session) if shares_prompts else None,
        classifier=NoisyClassifier(u[:, 8]),
    )
    for column in vars(facts).values():
        if isinstance(column, np.ndarray):
            column.flags.writeable = False  # nobody changes what is known
    arrival_s = np.sort(np.floor(u[:, 0] * span_s * 64.0) / 64.0)
    return Workload(arrival_s, prompt, thinking, output, capped, u[:, 8], facts)


def _segments(prompt_tokens: Ints, session: Ints) -> PromptSegments:
    """A system prompt of 12 tokens for all; after it a session's own text, which answers extend."""
    system, sessions, others = 0, 1, 1000
    own = np.where(session >= 0, sessions + session, others + np.arange(len(session)))
    prompts = [
        [(system, min(tokens, 12)), *([(segment, tokens - 12)] if tokens > 12 else [])]
        for tokens, segment in zip(prompt_tokens.tolist(), own.tolist(), strict=True)
    ]
    return PromptSegments.from_lists(prompts, np.stack([own, own], axis=1))
