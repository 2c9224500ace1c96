"""Quantities of an iteration (seconds, bytes, operations) as terms of what is in its batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Batch:
    """What one iteration works on.

    `decodes` requests hold `context_tokens` in all after the step, of which `window_tokens` lie in
    the sliding window; `chunks` are (new tokens, context after them) of prefilling requests.
    """

    decodes: int
    context_tokens: int
    window_tokens: int = 0
    chunks: tuple[tuple[int, int], ...] = ()

    @property
    def tokens(self) -> int:
        """Tokens of the iteration."""
        return self.decodes + sum(new for new, _ in self.chunks)

    @property
    def requests(self) -> int:
        """Requests in the iteration."""
        return self.decodes + len(self.chunks)


@dataclass(frozen=True)
class Terms:
    """A quantity that is affine in the contexts of a batch (the sum in `CostTable`'s formula).

    `token` [tokens + 1] is what m tokens cost, `request` [requests + 1] what b requests do,
    `decode`, `context` and `window` [requests + 1] what d decodes do at once, per token of their
    summed context and per token of it inside the window, and `prefill` [6] what chunks do. `mixed`
    [requests + 1] comes on top of `context` where there are chunks. Index 0 is 0.
    """

    token: FloatArray
    request: FloatArray
    decode: FloatArray
    context: FloatArray
    window: FloatArray
    prefill: FloatArray
    mixed: FloatArray

    def at(self, batch: Batch, sliding_window: int) -> float:
        """The quantity for one batch; `sliding_window` in tokens, 0 if the model has none."""
        d = batch.decodes
        total = self.token[batch.tokens] + self.request[batch.requests]
        if d:
            total += self.decode[d]
            total += self.context[d] * batch.context_tokens
            total += self.window[d] * batch.window_tokens
            if batch.chunks:
                total += self.mixed[d] * batch.context_tokens
        if batch.chunks:
            total += self.prefill[0]
            for new, context in batch.chunks:
                total += self.prefill[1:] @ chunk_terms(new, context, sliding_window)
        return float(total)

    def scaled(self, factor: float) -> Terms:
        """These terms times a factor."""
        return Terms(**{f.name: factor * getattr(self, f.name) for f in fields(self)})


def chunk_terms(new: int, context: int, sliding_window: int) -> FloatArray:
    """What the last five prefill terms are multiplied by for one chunk."""
    pairs = new * (context - (new - 1) / 2)
    if not sliding_window:
        return np.array([new, context, pairs, 0.0, 0.0])
    seen = min(context, sliding_window + new - 1)
    return np.array([new, context, pairs, seen, window_pairs(new, context, sliding_window)])


def window_pairs(new: int, context: int, window: int) -> float:
    """Query-key pairs of a chunk of `new` tokens that reaches `context`, none seeing > `window`.

    That is sum over j = 1..new of min(context - new + j, window).
    """
    before = context - new
    growing = min(max(window - before, 0), new)
    return growing * (before + (growing + 1) / 2) + (new - growing) * window


class TermsBuilder:
    """Makes `Terms` of the right lengths from arrays that start at 1."""

    def __init__(self, max_num_batched_tokens: int, max_num_seqs: int) -> None:
        self.tokens = np.arange(1.0, max_num_batched_tokens + 1.0)
        self.requests = np.arange(1.0, max_num_seqs + 1.0)

    def __call__(
        self,
        *,
        token: FloatArray | float = 0.0,
        request: FloatArray | float = 0.0,
        decode: FloatArray | float = 0.0,
        context: FloatArray | float = 0.0,
        window: FloatArray | float = 0.0,
        prefill: Sequence[float] | FloatArray = (),
        mixed: FloatArray | float = 0.0,
    ) -> Terms:
        """Terms with these entries; a number stands for the same one at every count."""
        padded = np.zeros(6)
        padded[: len(prefill)] = prefill
        return Terms(
            token=_from_zero(token, len(self.tokens)),
            request=_from_zero(request, len(self.requests)),
            decode=_from_zero(decode, len(self.requests)),
            context=_from_zero(context, len(self.requests)),
            window=_from_zero(window, len(self.requests)),
            prefill=padded,
            mixed=_from_zero(mixed, len(self.requests)),
        )


def add(terms: Iterable[Terms]) -> Terms:
    """The sum of several terms (at least one)."""
    several = list(terms)
    return Terms(
        **{
            f.name: np.sum([getattr(term, f.name) for term in several], axis=0)
            for f in fields(Terms)
        }
    )


def _from_zero(values: FloatArray | float, length: int) -> FloatArray:
    """Prepend the entry for 0 tokens or requests.

    The tables stay writable: Numba compiles a function anew for read-only arrays.
    """
    result = np.zeros(length + 1)
    result[1:] = values
    return result
