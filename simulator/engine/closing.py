"""Ending a span: what its iterations leave behind."""

from __future__ import annotations

import math

from simulator.engine.blocks import known_tokens, take_blocks
from simulator.engine.decoding import fill_window, fill_windows, start_decoding
from simulator.engine.itl import add_affine_gaps, add_gap, bin_of, slice_end_s, slice_of
from simulator.engine.jit import Array, Kv, Record, kernel
from simulator.engine.queueing import finish_evicted, finish_running
from simulator.engine.request import NEVER
from simulator.engine.spans import blocks_taken, boundary_s, context_read, end_s, iterations_done
from simulator.engine.state import ROW_LATE, ROW_RUNNING, ROW_TOKENS


@kernel
def close_span(s: Record, req: Array, lists: Array, phases: Array, kv: Kv, itl: Array) -> None:
    """The last boundary of a span: its iterations are over, but for those in flight (async)."""
    if s.lag > 0:
        land_flight(s, lists, itl)
    counts = itl[slice_of(s, itl, s.start_s)]
    if s.pure:
        commit_pure_span(s, req, lists, phases, kv, itl)
    elif s.empty:
        launch_flight(s, 0, 0, 0, 0, 0)
    else:
        commit_mixed_iteration(s, req, lists, phases, counts)
    boundary = boundary_s(s, s.k)
    s.busy_s += boundary - s.start_s
    s.now_s = boundary
    if s.next_limit_n <= s.n or s.num_ending > 0 or (s.lag > 0 and s.num_stalled > 0):
        finish_running(s, req, lists, phases, kv)
    if s.lag > 0 and s.num_evicted > 0:
        finish_evicted(s, req, lists, kv)


@kernel
def land_flight(s: Record, lists: Array, itl: Array) -> None:
    """The iteration that was in flight at the last boundary has ended."""
    s.busy_s += s.flight_gap_s
    s.output_tokens += s.flight_tokens
    s.prefill_tokens += s.flight_prefill_tokens
    s.iterations += s.flight_iterations
    s.context_tokens_read += s.flight_context
    counts = itl[slice_of(s, itl, s.now_s)]
    if s.flight_measured > 0:
        add_gap(counts, s.flight_gap_s, s.flight_measured)
    count_late_gaps(s, lists, counts)
    s.flight_tokens = s.flight_measured = s.flight_prefill_tokens = 0
    s.flight_iterations = s.flight_context = 0
    s.flight_gap_s = 0.0


@kernel
def launch_flight(
    s: Record, iterations: int, context: int, tokens: int, measured: int, prefill_tokens: int
) -> None:
    """Async: the last iteration of the span starts at the boundary, and is what is in flight."""
    s.flight_iterations = iterations
    s.flight_context = context
    s.flight_end_s = end_s(s, s.k)
    s.flight_gap_s = s.a_s + s.b_s * (s.k - 1)
    s.flight_tokens = tokens
    s.flight_measured = measured
    s.flight_prefill_tokens = prefill_tokens


@kernel
def commit_pure_span(
    s: Record, req: Array, lists: Array, phases: Array, kv: Kv, itl: Array
) -> None:
    """The k iterations of a pure span were scheduled, and all but those in flight have ended."""
    k = s.k
    ended = k - s.lag
    take_blocks(s, blocks_taken(s, phases, k - 1))
    s.peak_blocks = max(s.peak_blocks, s.usable_blocks - s.free_blocks)
    if s.num_measured > 0 and ended > 0:
        add_span_gaps(s, itl, ended)
    s.output_tokens += ended * s.num_decodes
    s.iterations += ended
    s.context_tokens_read += context_read(s, ended)
    if s.lag > 0:
        last = context_read(s, k) - context_read(s, ended)
        launch_flight(s, 1, last, s.num_decodes, s.num_measured, 0)
    if s.next_answer_n <= s.n + k:
        mark_answers(s, req, lists, s.n + k)
    s.decode_context += k * s.num_decodes
    s.window_context += k * s.num_below
    s.n += k
    if s.num_below > 0 and s.next_knee_n <= s.n:
        fill_windows(s, req, lists, phases)


@kernel
def add_span_gaps(s: Record, itl: Array, ended: int) -> None:
    """Count the gaps of the first `ended` iterations, each in the slice of time it starts in."""
    done = 0
    while done < ended:
        start = end_s(s, done)
        until = slice_end_s(s, itl, start)
        started = ended
        if end_s(s, ended - 1) >= until:
            j = iterations_done(s, until)
            started = j if end_s(s, j) >= until else j + 1
            started = min(max(started, done + 1), ended)
        counts = itl[slice_of(s, itl, start)]
        add_affine_gaps(counts, s.a_s + s.b_s * done, s.b_s, started - done, s.num_measured)
        done = started


@kernel
def mark_answers(s: Record, req: Array, lists: Array, last_n: int) -> None:
    """Date the first answer tokens that fall inside the span, by its closed form."""
    earliest = NEVER
    for position in range(s.num_running):
        r = req[lists[ROW_RUNNING, position]]
        if r.answer_n <= last_n:
            r.first_answer_s = end_s(s, r.answer_n - s.n)
            r.answer_n = NEVER
        else:
            earliest = min(earliest, r.answer_n)
    s.next_answer_n = earliest


@kernel
def commit_mixed_iteration(
    s: Record, req: Array, lists: Array, phases: Array, counts: Array
) -> None:
    """One general iteration was scheduled: every request in it is visited, in order.

    A token that does not simply follow the one before goes on the late list.
    """
    s.peak_blocks = max(s.peak_blocks, s.usable_blocks - s.free_blocks)
    if s.next_answer_n <= s.n + 1:
        mark_answers(s, req, lists, s.n + 1)
    s.n += 1
    follows = 0
    measured = 0
    prefill_tokens = 0
    s.num_late = 0
    for position in range(s.num_running):
        tokens = lists[ROW_TOKENS, position]
        if tokens == 0:
            continue
        i = lists[ROW_RUNNING, position]
        r = req[i]
        late = False
        if r.decoding:
            s.decode_context += 1
            if r.below:
                s.window_context += 1
                if s.n + r.offset >= s.window_tokens:
                    fill_window(s, r, phases)
            if r.stalled:
                r.stalled = 0
                s.num_stalled -= 1
                late = True
            else:
                follows += 1
                measured += r.measured
        else:
            r.computed_tokens += tokens
            prefill_tokens += tokens
            if r.computed_tokens == known_tokens(r):
                r.generated_tokens += 1
                start_decoding(s, r, phases, r.computed_tokens)
                late = True
        if late:
            lists[ROW_LATE, s.num_late] = i
            s.num_late += 1
    if s.lag > 0:
        launch_flight(s, 1, s.mixed_context, follows, measured, prefill_tokens)
        return
    s.iterations += 1
    s.context_tokens_read += s.mixed_context
    s.prefill_tokens += prefill_tokens
    s.output_tokens += follows + s.num_late
    if measured > 0:
        add_gap(counts, end_s(s, 1) - s.start_s, measured)
    emit_late(s, req, lists, end_s(s, 1))
    count_late_gaps(s, lists, counts)


@kernel
def emit_late(s: Record, req: Array, lists: Array, t_s: float) -> None:
    """The requests on the late list get their token at time t: the first, or one after a pause.

    The bins of their gaps take their place on the list.
    """
    for position in range(s.num_late):
        r = req[lists[ROW_LATE, position]]
        if r.generated_tokens == r.thinking_tokens + 1 and math.isnan(r.first_answer_s):
            r.first_answer_s = t_s
        if math.isnan(r.first_token_s):
            r.first_token_s = t_s
            continue
        if r.measured:
            lists[ROW_LATE, s.num_late_gaps] = bin_of(t_s - r.last_token_s)
            s.num_late_gaps += 1
        if not math.isnan(r.lost_since_s):
            if r.generated_tokens <= r.thinking_tokens + 1:
                r.lost_thinking_s += t_s - r.lost_since_s
            else:
                r.lost_answer_s += t_s - r.lost_since_s
            r.lost_since_s = math.nan
    s.num_late = 0


@kernel
def count_late_gaps(s: Record, lists: Array, counts: Array) -> None:
    """Count the gaps that `emit_late` left on the late list."""
    for position in range(s.num_late_gaps):
        counts[lists[ROW_LATE, position]] += 1
    s.num_late_gaps = 0
