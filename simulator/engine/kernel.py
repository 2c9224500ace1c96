"""What SimPy's side calls: advance a replica, hand it a request, take one back."""

from __future__ import annotations

import math

from simulator.engine.iteration import (
    close_mixed_iteration,
    close_pure_span,
    integrity_error,
    start_mixed_iteration,
    start_pure_span,
)
from simulator.engine.jit import Array, Record, kernel
from simulator.engine.queueing import blocks_for, drop_cancelled, push_back
from simulator.engine.request import REJECTED
from simulator.engine.sampling import sample_until
from simulator.engine.scheduler import admissible_tokens, long_threshold, schedule
from simulator.engine.spans import blocks_taken, boundary_at, end_s, reach_s
from simulator.engine.state import BOUNDARY, IDLE, IN_SPAN, STUCK

# Why a request is refused, as `offer` returns it; 0 = accepted.
TOO_LONG_PROMPT, TOO_LONG_TOTAL, TOO_LARGE_FOR_KV = 1, 2, 3

# Offset of `advance`'s answers that report a broken invariant.
BROKEN = 100


@kernel
def advance(
    req: Array,
    state: Array,
    lists: Array,
    phases: Array,
    token_s: Array,
    seq_s: Array,
    itl: Array,
    samples: Array,
    marks: Array,
    horizon_s: float,
    stop: bool,
    spans: int,
    check: bool,
) -> int:
    """Run span after span while nobody outside can tell, i.e. while they end before `horizon_s`.

    Ends the span under way (its end must have come), then decides the next; goes on while the next
    one's end, with its tolerance, lies before the horizon, the time of the next event anywhere.
    `stop`: return after a span in which requests finished, before the next decision, so that
    their successors can be offered first. `spans`: most spans to begin. `check`: test
    the invariants at each boundary.

    Returns 0, or BROKEN + the number of the broken invariant. The state's phase says where the
    replica is: IDLE, BOUNDARY (call again to decide), IN_SPAN (call again when it ends) or STUCK.
    """
    s = state[0]
    while True:
        if s.phase == IN_SPAN:
            s.num_finished = 0
            sample_until(s, phases, samples, marks, end_s(s, s.k))
            if s.pure:
                close_pure_span(s, req, lists, phases, itl)
            else:
                close_mixed_iteration(s, req, lists, phases, itl)
            s.phase = BOUNDARY
            if stop and s.num_finished > 0:
                return 0
        if s.num_cancelled > 0:
            drop_cancelled(s, req, lists, phases)
        if check:
            broken = integrity_error(s, req, lists, phases)
            if broken > 0:
                return BROKEN + broken
        if s.num_running == 0 and s.num_waiting == 0:
            s.phase = IDLE
            return 0
        if spans <= 0:
            return 0
        spans -= 1
        schedule(s, req, lists, phases)
        if s.num_running == 0:
            s.phase = STUCK
            return 0
        if s.pure:
            start_pure_span(s, req, lists, phases, token_s, seq_s)
        else:
            start_mixed_iteration(s, req, lists, token_s, seq_s)
        s.spans += 1
        s.phase = IN_SPAN
        if reach_s(end_s(s, s.k)) >= horizon_s:
            return 0


@kernel
def wake_s(state: Array) -> float:
    """When `advance` must next be called: the end of the span under way, or the boundary, late by
    the tolerance within which an arrival counts as at it; infinite when idle."""
    s = state[0]
    if s.phase == IN_SPAN:
        return reach_s(end_s(s, s.k))
    if s.phase == BOUNDARY:
        return reach_s(s.now_s)
    return math.inf


@kernel
def refusal(s: Record, r: Record) -> int:
    """Why request r could never be served here, 0 if it can."""
    if r.prompt_tokens >= s.max_model_len:
        return TOO_LONG_PROMPT
    most = s.max_model_len
    if r.max_tokens > 0:
        most = r.prompt_tokens + r.max_tokens
        if most > s.max_model_len:
            return TOO_LONG_TOTAL
    if blocks_for(s, most - 1) > s.usable_blocks:
        return TOO_LARGE_FOR_KV
    return 0


@kernel
def offer(
    req: Array,
    state: Array,
    lists: Array,
    phases: Array,
    token_s: Array,
    seq_s: Array,
    itl: Array,
    samples: Array,
    marks: Array,
    i: int,
    t_s: float,
) -> int:
    """Request i arrives at time t: it is refused, or joins the waiting queue.

    A pure span under way is cut at the first boundary at or after t if the request could be
    admitted there; if it could not, nothing but the queue changes.
    Returns 0 (queued, wake time unchanged), -1 (queued, wake time changed), or why it is refused.
    """
    s = state[0]
    r = req[i]
    sample_until(s, phases, samples, marks, t_s)
    reason = refusal(s, r)
    if reason > 0:
        r.status = REJECTED
        r.finish_s = t_s
        return reason
    r.target_tokens = min(r.output_tokens, s.max_model_len - r.prompt_tokens)
    if r.max_tokens > 0:
        r.target_tokens = min(r.target_tokens, r.max_tokens)
    push_back(s, req, i)
    if s.phase == IDLE:
        s.phase = BOUNDARY
        s.now_s = t_s
        return -1
    if s.phase != IN_SPAN or s.k == 1:
        return 0
    if s.num_waiting > 1 and not s.long_adaptive and s.prefill_interval == 1:
        return 0  # behind a head that stays blocked while the batch only grows
    j = boundary_at(s, t_s)
    if j == s.k:
        return 0
    if s.prefill_interval == 1:
        free = s.free_blocks - blocks_taken(s, phases, j)
        head = req[s.wait_head]
        if admissible_tokens(s, head, s.budget_left, free, long_threshold(s), False) == 0:
            return 0
    s.k = j
    return -1


@kernel
def withdraw(
    req: Array,
    state: Array,
    lists: Array,
    phases: Array,
    token_s: Array,
    seq_s: Array,
    itl: Array,
    samples: Array,
    marks: Array,
    i: int,
    t_s: float,
) -> int:
    """Cancel request i at time t, with effect at the first boundary at or after t.

    Returns -1 if the wake time changed, else 0. The request must be waiting or running here.
    """
    s = state[0]
    sample_until(s, phases, samples, marks, t_s)
    if req[i].cancelled == 0:
        req[i].cancelled = 1
        s.num_cancelled += 1
    if s.phase == IN_SPAN and s.k > 1:
        s.k = boundary_at(s, t_s)
        return -1
    return 0
