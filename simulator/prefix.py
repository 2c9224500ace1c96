"""What prompts are made of, so that a cache can tell which tokens two of them share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class PromptSegments:
    """The prompts of `n` requests as runs of tokens that other prompts may hold too.

    Two positions hold the same token if and only if their segment and their offset in it are equal;
    a segment always starts at its offset 0. Prompt i is made of the segments `start[i]` to
    `start[i + 1] - 1`, in order: `segment_id[j]`, `tokens[j]` long. What request i generates is its
    thinking and then its answer, of the segments `output_id[i]`. A generated part whose segment
    stands already in the prompt (or in the thinking) goes on where that ended: a conversation that
    keeps everything is one growing segment.

    start: int64[n + 1], from 0. segment_id, tokens: int64[m]; tokens at least 1.
    output_id: int64[n, 2], never negative; -1 where nobody quotes it.
    Raises ValueError if the columns break any of this.
    """

    start: NDArray[np.int64]
    segment_id: NDArray[np.int64]
    tokens: NDArray[np.int64]
    output_id: NDArray[np.int64]

    def __post_init__(self) -> None:
        n, m = len(self), len(self.segment_id)
        for name, column, shape in (
            ("start", self.start, (n + 1,)),
            ("segment_id", self.segment_id, (m,)),
            ("tokens", self.tokens, (m,)),
            ("output_id", self.output_id, (n, 2)),
        ):
            if column.dtype != np.int64 or column.shape != shape:
                raise ValueError(f"{name}: expected int64{list(shape)}")
        if self.start[0] != 0 or self.start[-1] != m or (np.diff(self.start) < 0).any():
            raise ValueError("start: must rise from 0 to the number of segments")
        if m and self.tokens.min() < 1:
            raise ValueError("tokens: a segment has at least one")

    def __len__(self) -> int:
        return len(self.start) - 1

    def of(self, i: int) -> list[tuple[int, int]]:
        """Prompt `i` as [(segment_id, tokens), ...]."""
        part = slice(int(self.start[i]), int(self.start[i + 1]))
        return list(zip(self.segment_id[part].tolist(), self.tokens[part].tolist(), strict=True))

    def prompt_tokens(self) -> NDArray[np.int64]:
        """Length of each prompt, int64[n]."""
        total = np.concatenate(([0], np.cumsum(self.tokens)))
        return np.asarray(total[self.start[1:]] - total[self.start[:-1]], dtype=np.int64)

    @property
    def highest_id(self) -> int:
        """The highest id of any segment; -1 if there is none."""
        highest = int(self.segment_id.max(initial=-1))
        return max(highest, int(self.output_id.max(initial=-1)))

    def renamed(self, by: int) -> PromptSegments:
        """The same prompts, `by` added to the id of every segment that has one."""
        return PromptSegments(
            start=self.start,
            segment_id=self.segment_id + by,
            tokens=self.tokens,
            output_id=np.where(self.output_id >= 0, self.output_id + by, -1),
        )

    def take(self, rows: NDArray[np.int64]) -> PromptSegments:
        """The prompts of `rows` (int64[k]), in that order."""
        counts = np.diff(self.start)[rows]
        start = np.concatenate(([0], np.cumsum(counts)))
        within = np.arange(start[-1]) - np.repeat(start[:-1], counts)
        chosen = np.repeat(self.start[rows], counts) + within
        return PromptSegments(
            start=start.astype(np.int64),
            segment_id=self.segment_id[chosen],
            tokens=self.tokens[chosen],
            output_id=self.output_id[rows],
        )

    @classmethod
    def from_lists(
        cls,
        prompts: Sequence[Sequence[tuple[int, int]]],
        output_id: NDArray[np.int64] | None = None,
    ) -> PromptSegments:
        """From [(segment_id, tokens), ...] of each prompt; no `output_id` if left out."""
        counts = [len(prompt) for prompt in prompts]
        flat = np.array([pair for prompt in prompts for pair in prompt], dtype=np.int64)
        flat = flat.reshape(-1, 2)
        if output_id is None:
            output_id = np.full((len(prompts), 2), -1, dtype=np.int64)
        return cls(
            start=np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
            segment_id=flat[:, 0].copy(),
            tokens=flat[:, 1].copy(),
            output_id=output_id,
        )

    @classmethod
    def concatenate(cls, parts: Sequence[PromptSegments]) -> PromptSegments:
        """The prompts of all parts, one after the other; segment ids are taken as they are."""
        offsets = np.cumsum([0, *(len(part.segment_id) for part in parts)])
        starts = [part.start[:-1] + offset for part, offset in zip(parts, offsets, strict=False)]
        return cls(
            start=np.concatenate([*starts, offsets[-1:]]).astype(np.int64),
            segment_id=np.concatenate([part.segment_id for part in parts]),
            tokens=np.concatenate([part.tokens for part in parts]),
            output_id=np.concatenate([part.output_id for part in parts]),
        )
