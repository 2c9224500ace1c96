"""KV compression of reasoning traces: what a request keeps of its KV cache is cut to a budget.

A model of H2O (2306.14048), SnapKV (2404.14469) and R-KV (2505.24133) as far as a scheduler can
tell: blocks, context read, and the time to choose what stays. R-KV lets a buffer of tokens fill up
and then compresses; here all over-budget requests do when the replica's count of iterations is a
multiple of the interval, so that one event serves the whole batch.
"""

from __future__ import annotations

import math

from simulator.engine.blocks import blocks_for
from simulator.engine.decoding import add_phase
from simulator.engine.jit import Array, Record, kernel
from simulator.engine.request import NEVER
from simulator.engine.state import ROW_RUNNING


@kernel
def kv_budget(s: Record, tokens: int) -> int:
    """KV tokens that a request of `tokens` tokens may keep, at least one."""
    if s.kv_budget_tokens > 0:
        fixed: int = s.kv_budget_tokens
        return fixed
    kept: int = max(math.ceil(s.kv_budget_frac * tokens), 1)
    return kept


@kernel
def compress(s: Record, req: Array, lists: Array, phases: Array) -> None:
    """Every decoding request drops the KV that it has above its budget."""
    for position in range(s.num_running):
        r = req[lists[ROW_RUNNING, position]]
        if not r.decoding:
            continue
        have = s.n + r.offset
        dropped = have - kv_budget(s, have + r.dropped_tokens)
        if dropped <= 0:
            continue
        add_phase(s, r, phases, -1)
        r.offset -= dropped
        add_phase(s, r, phases, 1)
        r.dropped_tokens += dropped
        s.decode_context -= dropped
        s.free_blocks += blocks_for(s, have) - blocks_for(s, have - dropped)
        s.transfer_s += have * s.compression_token_s


@kernel
def iterations_until_compression(s: Record, req: Array, lists: Array) -> int:
    """Iterations to the next multiple of the interval at which somebody will be over budget."""
    earliest = NEVER
    for position in range(s.num_running):
        r = req[lists[ROW_RUNNING, position]]
        if not r.decoding:
            continue
        have = s.n + r.offset
        spare = s.kv_budget_tokens - have
        if s.kv_budget_tokens == 0:
            part = s.kv_budget_frac
            spare = int((part * r.dropped_tokens - (1.0 - part) * have) / (1.0 - part))
        earliest = min(earliest, max(spare, 0))
    if earliest == NEVER:
        return NEVER
    interval: int = s.compression_interval
    over_n = s.n + earliest + 1
    left: int = max(-(-over_n // interval) * interval - s.n, 1)
    return left
