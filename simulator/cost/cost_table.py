"""The table the engine reads its iteration times from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from simulator.cost.terms import FloatArray, chunk_terms


@dataclass(frozen=True)
class CostTable:
    """Iteration costs of one replica, all float64 seconds.

    An iteration of m tokens and b requests, d of them decoding with S tokens of context in all
    (after the step), and prefill chunks of n_i tokens reaching context C_i, takes

        max(floor_s[b],
            token_s[m] + seq_s[b]
            + [d > 0] (decode_fixed_s[d] + decode_context_s[d] S + decode_window_s[d] S_w)
            + [chunks] (p[0] + sum_i (p[1] n_i + p[2] C_i + p[3] n_i (C_i - (n_i - 1) / 2)
                                      + p[4] min(C_i, W + n_i - 1) + p[5] pairs_i)))

    with p = prefill_s; mixed_context_s[d] S comes on top where there are decodes and chunks. In the
    layers that see only the last W = window_tokens tokens, S_w is the sum of min(context, W) over
    the decodes, and pairs_i = sum_{j=1..n_i} min(C_i - n_i + j, W); W = 0: no such layers. For
    fixed m, b and d it is affine in S and S_w, above a floor. CUDA-graph padding is inside the
    tables; index 0 is never used by an iteration and holds 0.

    `decode_window_s`, `floor_s` and `mixed_context_s` may be omitted, and `prefill_s` may hold four
    values: the rest is then 0.
    """

    token_s: FloatArray  # [max_num_batched_tokens + 1]
    seq_s: FloatArray  # [max_num_seqs + 1]
    decode_fixed_s: FloatArray  # [max_num_seqs + 1]
    decode_context_s: FloatArray  # [max_num_seqs + 1]
    prefill_s: FloatArray  # [6]
    decode_window_s: FloatArray = field(default_factory=lambda: np.zeros(0))  # [max_num_seqs + 1]
    floor_s: FloatArray = field(default_factory=lambda: np.zeros(0))  # [max_num_seqs + 1]
    window_tokens: int = 0
    mixed_context_s: FloatArray = field(default_factory=lambda: np.zeros(0))  # [max_num_seqs + 1]

    def __post_init__(self) -> None:
        for name in ("decode_window_s", "floor_s", "mixed_context_s"):
            if len(getattr(self, name)) == 0:
                object.__setattr__(self, name, np.zeros_like(self.seq_s))
        padded = np.concatenate((self.prefill_s, np.zeros(6 - len(self.prefill_s))))
        object.__setattr__(self, "prefill_s", padded)

    @cached_property
    def by_requests_s(self) -> FloatArray:
        """The six columns that are indexed by a number of requests: float64[6, max_num_seqs + 1].

        One array, which all replicas of a pool read.
        """
        rows = (
            self.seq_s,
            self.decode_fixed_s,
            self.decode_context_s,
            self.decode_window_s,
            self.mixed_context_s,
            self.floor_s,
        )
        return np.ascontiguousarray(np.stack(rows), dtype=np.float64)

    def iteration_s(
        self,
        decodes: int,
        decode_context_tokens: int,
        chunks: Sequence[tuple[int, int]] = (),
        decode_window_tokens: int | None = None,
    ) -> float:
        """Seconds of one iteration; `chunks` are (new tokens, context after them) pairs.

        `decode_window_tokens` is S_w; left out, all decodes count as equally long.
        """
        requests = decodes + len(chunks)
        tokens = decodes + sum(new for new, _ in chunks)
        total = self.token_s[tokens] + self.seq_s[requests]
        if decodes:
            if decode_window_tokens is None:
                decode_window_tokens = min(decode_context_tokens, decodes * self.window_tokens)
            total += self.decode_fixed_s[decodes]
            total += self.decode_context_s[decodes] * decode_context_tokens
            total += self.decode_window_s[decodes] * decode_window_tokens
            if chunks:
                total += self.mixed_context_s[decodes] * decode_context_tokens
        if chunks:
            total += self.prefill_s[0]
            for new, context in chunks:
                total += self.prefill_s[1:] @ chunk_terms(new, context, self.window_tokens)
        return float(max(total, self.floor_s[requests]))
