"""Closed forms of a span: when its iterations end, and how many KV blocks they take.

A span is k iterations of one batch of B decoding requests. Iteration j (1-based) lasts a + b (j-1):
affine, because each iteration adds B tokens of context and decode attention is affine in context.
"""

from __future__ import annotations

import math

from simulator.engine.jit import Array, Record, entry, kernel

RELATIVE_TOLERANCE = 1e-9
ABSOLUTE_TOLERANCE_S = 1e-12


@kernel
def reach_s(t_s: float) -> float:
    """Latest time that still counts as at the boundary `t_s`."""
    return t_s + RELATIVE_TOLERANCE * t_s + ABSOLUTE_TOLERANCE_S


@kernel
def end_s(s: Record, j: int) -> float:
    """Time at which iteration j of the span under way ends."""
    t_s: float = s.now_s + j * (s.a_s + s.b_s * (0.5 * (j - 1)))
    return t_s


@kernel
def _estimate(s: Record, t_s: float) -> float:
    """Real-valued inverse of `end_s`: the stable root of the quadratic, 0 before the start."""
    x = t_s - s.now_s
    if x <= 0.0:
        return 0.0
    c = s.a_s - 0.5 * s.b_s
    j: float = 2.0 * x / (c + math.sqrt(c * c + 2.0 * s.b_s * x))
    return min(j, float(s.k))


@entry
def boundary_at(s: Record, t_s: float) -> int:
    """First iteration j >= 1 of the span at whose end something of time `t_s` is seen."""
    j = max(int(_estimate(s, t_s)), 1)
    while j < s.k and reach_s(end_s(s, j)) < t_s:
        j += 1
    while j > 1 and reach_s(end_s(s, j - 1)) >= t_s:
        j -= 1
    return j


@kernel
def iterations_done(s: Record, t_s: float) -> int:
    """Iterations of the span that have ended by `t_s` (0..k)."""
    j = int(_estimate(s, t_s))
    while j < s.k and end_s(s, j + 1) <= t_s:
        j += 1
    while j > 0 and end_s(s, j) > t_s:
        j -= 1
    return j


@entry
def blocks_taken(s: Record, phases: Array, j: int) -> int:
    """Blocks that the decodes take in the j iterations that follow the first of the span."""
    size = s.block_size
    cycles = j // size
    taken: int = cycles * s.num_decodes
    for i in range(j - cycles * size):
        taken += phases[(s.n + 1 + i) % size]
    return taken


@kernel
def iterations_until_shortage(s: Record, phases: Array) -> int:
    """Iterations the span can run before the free blocks fall short, the first included."""
    size: int = s.block_size
    if s.num_decodes == 0:
        return 1
    cycles: int = s.free_blocks // s.num_decodes
    left = s.free_blocks - cycles * s.num_decodes
    for i in range(size):
        left -= phases[(s.n + 1 + i) % size]
        if left < 0:
            break
    return 1 + cycles * size + i
