"""Closed forms of a span: when its iterations end, how many KV blocks they take, what they read.

A span is k iterations of one batch of B decoding requests. Iteration j (1-based) lasts a + b (j-1):
affine, because each iteration adds B tokens of context and decode attention is affine in context.
"""

from __future__ import annotations

import math

from simulator.engine.jit import Array, Record, entry, kernel
from simulator.engine.request import NEVER

RELATIVE_TOLERANCE = 1e-9
ABSOLUTE_TOLERANCE_S = 1e-12


@kernel
def reach_s(t_s: float) -> float:
    """Latest time that still counts as at the boundary `t_s`."""
    return t_s + RELATIVE_TOLERANCE * t_s + ABSOLUTE_TOLERANCE_S


@kernel
def end_s(s: Record, j: int) -> float:
    """Time at which iteration j of the span under way ends."""
    t_s: float = s.start_s + j * (s.a_s + s.b_s * (0.5 * (j - 1)))
    return t_s


@kernel
def boundary_s(s: Record, j: int) -> float:
    """Time at which iteration j + 1 is decided: at the end of iteration j, async of j - 1."""
    return end_s(s, j - s.lag)


@kernel
def _estimate(s: Record, t_s: float) -> float:
    """Real-valued inverse of `end_s`: the stable root of the quadratic, 0 before the start."""
    x = t_s - s.start_s
    if x <= 0.0:
        return 0.0
    c = s.a_s - 0.5 * s.b_s
    j: float = 2.0 * x / (c + math.sqrt(c * c + 2.0 * s.b_s * x))
    return min(j, float(s.k))


@entry
def boundary_at(s: Record, t_s: float) -> int:
    """First boundary j >= 1 of the span at which something of time `t_s` is seen."""
    j = max(int(_estimate(s, t_s)), 1)
    while j < s.k and reach_s(boundary_s(s, j)) < t_s:
        j += 1
    while j > 1 and reach_s(boundary_s(s, j - 1)) >= t_s:
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


@kernel
def blocks_per_cycle(s: Record) -> int:
    """Blocks that the decodes take while each of them adds `block_size` tokens."""
    blocks: int = s.kv_groups_full * s.num_decodes + s.kv_groups_window * s.num_below
    return blocks


@kernel
def context_read(s: Record, j: int) -> int:
    """Context tokens that the decodes read in the first j iterations of the span, summed."""
    read: int = j * s.decode_context + s.num_decodes * (j * (j + 1) // 2)
    return read


@entry
def blocks_taken(s: Record, phases: Array, j: int) -> int:
    """Blocks that the decodes take in the j iterations that follow the first of the span."""
    size = s.block_size
    cycles = j // size
    taken: int = cycles * blocks_per_cycle(s)
    for i in range(j - cycles * size):
        taken += phases[(s.n + 1 + i) % size]
    return taken


@kernel
def iterations_until_shortage(s: Record, phases: Array) -> int:
    """Iterations the span can run before the free blocks fall short, the first included."""
    size: int = s.block_size
    per_cycle = blocks_per_cycle(s)
    if per_cycle == 0:  # no decodes, or all of them in full windows
        return NEVER if s.num_decodes > 0 else 1
    cycles: int = s.free_blocks // per_cycle
    left = s.free_blocks - cycles * per_cycle
    for i in range(size):
        left -= phases[(s.n + 1 + i) % size]
        if left < 0:
            break
    return 1 + cycles * size + i
