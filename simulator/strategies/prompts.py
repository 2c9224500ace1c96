"""Prompts of planned requests as columns: what stands in them, for every query at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Part:
    """A run of tokens of each query's prompt: segment ids int64[n], and how many tokens int64[n].

    0 tokens are none. A segment is quoted from its beginning (`simulator.prefix.PromptSegments`).
    """

    segment: Column
    tokens: Column


@dataclass(frozen=True, eq=False)
class Prompt:
    """The query's own prompt (`own_tokens`, int64[n]; 0: without it), and `parts` after it."""

    own_tokens: Column
    parts: tuple[Part, ...] = ()

    @property
    def tokens(self) -> Column:
        """Length of each prompt, int64[n]."""
        total = self.own_tokens.copy()
        for part in self.parts:
            total += part.tokens
        return total

    def then(self, part: Part) -> Prompt:
        """This prompt with `part` behind it; a longer quotation of its last segment replaces it."""
        if self.parts and (self.parts[-1].segment == part.segment).all():
            return Prompt(self.own_tokens, (*self.parts[:-1], part))
        return Prompt(self.own_tokens, (*self.parts, part))


def choose(prompts: Sequence[Prompt], which: Column) -> Prompt:
    """For each query the prompt `which` (int64[n]) of several, which all quote the own prompt."""
    depth = max(len(prompt.parts) for prompt in prompts)
    rows = np.arange(len(which))
    nothing = Part(np.full(len(which), -1, dtype=np.int64), np.zeros(len(which), dtype=np.int64))
    parts = []
    for level in range(depth):
        at = [p.parts[level] if level < len(p.parts) else nothing for p in prompts]
        parts.append(
            Part(
                np.stack([part.segment for part in at])[which, rows],
                np.stack([part.tokens for part in at])[which, rows],
            )
        )
    return Prompt(prompts[0].own_tokens, tuple(parts))
