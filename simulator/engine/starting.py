"""Starting a span: what its iterations cost, and how many there can be."""

from __future__ import annotations

import math

from simulator.engine.blocks import known_tokens
from simulator.engine.caching import head_may_hit_more
from simulator.engine.compression import iterations_until_compression
from simulator.engine.decoding import fill_windows
from simulator.engine.jit import Array, Kv, Record, kernel
from simulator.engine.request import NEVER
from simulator.engine.scheduler import prefills_held
from simulator.engine.spans import boundary_at, iterations_until_shortage
from simulator.engine.state import (
    ON_REVIEW,
    ROW_CONTEXT,
    ROW_FIXED,
    ROW_FLOOR,
    ROW_MIXED,
    ROW_RUNNING,
    ROW_SEQ,
    ROW_TOKENS,
    ROW_WINDOW,
)


@kernel
def start_pure_span(
    s: Record, req: Array, lists: Array, phases: Array, kv: Kv, token_s: Array, seq_s: Array
) -> None:
    """Span of decodes only: as many iterations as the batch surely stays the same."""
    d = s.num_decodes
    context_s = seq_s[ROW_CONTEXT, d]
    window_s = seq_s[ROW_WINDOW, d]
    s.a_s = token_s[d] + seq_s[ROW_SEQ, d] + seq_s[ROW_FIXED, d]
    s.a_s += context_s * (s.decode_context + d) + window_s * (s.window_context + s.num_below)
    s.b_s = context_s * d + window_s * s.num_below
    if s.next_limit_n < 0:
        earliest = NEVER
        for position in range(s.num_running):
            earliest = min(earliest, req[lists[ROW_RUNNING, position]].limit_n)
        s.next_limit_n = earliest
    k = min(s.next_limit_n - s.n, iterations_until_shortage(s, phases))
    if s.num_below > 0:
        if s.next_knee_n < 0:
            fill_windows(s, req, lists, phases)
        k = min(k, s.next_knee_n - s.n)
    k = min(k, flat_iterations(s, seq_s[ROW_FLOOR, d]))
    if s.kv_compression:
        k = min(k, iterations_until_compression(s, req, lists))
    if s.num_evicted > 0:
        k = 1  # one put off now may be let in again in the next, or have its last token in flight
    if s.num_waiting > 0:
        if prefills_held(s):
            k = min(k, s.last_prefill_n + s.prefill_interval - s.n - 1)
        k = min(k, iterations_until_review(s, req, lists))
        if s.prefix_caching and head_may_hit_more(s, req, lists, kv):
            k = 1
    s.k = 1 if s.single_step else max(k, 1)
    if s.transfer_s > 0.0:
        spend_transfer(s)
    elif s.num_waiting > 0 and s.next_review_s < math.inf:
        s.k = boundary_at(s, s.next_review_s)


@kernel
def iterations_until_review(s: Record, req: Array, lists: Array) -> int:
    """How long the span can be until the scheduler is to be asked about a decoding request."""
    if not s.asks & ON_REVIEW:
        return NEVER
    if s.next_review_n < 0:
        earliest = NEVER
        for position in range(s.num_running):
            r = req[lists[ROW_RUNNING, position]]
            if r.decoding:
                earliest = min(earliest, r.review_n)
        s.next_review_n = earliest
    left: int = s.next_review_n - s.n
    return left


@kernel
def spend_transfer(s: Record) -> None:
    """The iteration waits until KV has moved between GPU and host."""
    s.a_s += s.transfer_s
    s.b_s = 0.0
    s.k = 1
    s.transfer_s = 0.0


@kernel
def flat_iterations(s: Record, floor_s: float) -> int:
    """Where the floor is above the affine cost, take it; how long it stays so."""
    if s.a_s >= floor_s:
        return NEVER
    k = NEVER
    if s.b_s > 0.0:
        k = int(min((floor_s - s.a_s) / s.b_s, 1e15)) + 1
    s.a_s = floor_s
    s.b_s = 0.0
    return k


@kernel
def start_mixed_iteration(
    s: Record, req: Array, lists: Array, token_s: Array, seq_s: Array
) -> None:
    """One iteration with prefill chunks, or in which some decode gets no token; or an empty one."""
    tokens = 0
    requests = 0
    decodes = 0
    decode_context = 0
    window_context = 0
    chunk_context = 0
    prefill = 0.0
    chunks = 0
    window = s.window_tokens
    for position in range(s.num_running):
        n = lists[ROW_TOKENS, position]
        if n == 0:
            continue
        r = req[lists[ROW_RUNNING, position]]
        requests += 1
        tokens += n
        context = n + (s.n + r.offset if r.decoding else r.computed_tokens)
        if r.decoding or (n == 1 and context == known_tokens(r)):
            decodes += 1
            decode_context += context
            window_context += min(context, window)
        else:
            chunks += 1
            chunk_context += context
            prefill += (
                s.prefill_token_s * n
                + s.prefill_context_s * context
                + s.prefill_pair_s * n * (context - 0.5 * (n - 1))
            )
            if window > 0:
                prefill += s.prefill_seen_s * min(context, window + n - 1)
                prefill += s.prefill_window_pair_s * window_pairs(n, context, window)
    s.b_s = 0.0
    s.k = 1
    s.mixed_context = decode_context + chunk_context
    s.empty = tokens == 0
    if s.empty:
        s.a_s = 0.0
        return
    s.a_s = token_s[tokens] + seq_s[ROW_SEQ, requests]
    if decodes > 0:
        s.a_s += seq_s[ROW_FIXED, decodes] + seq_s[ROW_CONTEXT, decodes] * decode_context
        s.a_s += seq_s[ROW_WINDOW, decodes] * window_context
        if chunks > 0:
            s.a_s += seq_s[ROW_MIXED, decodes] * decode_context
    if chunks > 0:
        s.a_s += s.prefill_fixed_s + prefill
    s.a_s = max(s.a_s, seq_s[ROW_FLOOR, requests])
    if s.transfer_s > 0.0:
        spend_transfer(s)


@kernel
def window_pairs(n: int, context: int, window: int) -> float:
    """Query-key pairs of a chunk of n tokens that reaches `context`, none seeing > `window`."""
    before = context - n
    growing = min(max(window - before, 0), n)
    return growing * (before + 0.5 * (growing + 1)) + float((n - growing) * window)
