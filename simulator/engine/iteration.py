"""Starting and ending a span: what its iterations cost, and what they leave behind."""

from __future__ import annotations

import math

from simulator.engine.itl import add_affine_gaps, add_gap, slice_of
from simulator.engine.jit import Array, Record, kernel
from simulator.engine.queueing import blocks_for, finish, start_decoding, stop_decoding
from simulator.engine.request import NEVER
from simulator.engine.scheduler import admissible_tokens, long_threshold, prefills_held
from simulator.engine.spans import blocks_taken, end_s, iterations_until_shortage
from simulator.engine.state import ROW_RUNNING, ROW_TOKENS


@kernel
def start_pure_span(
    s: Record, req: Array, lists: Array, phases: Array, token_s: Array, seq_s: Array
) -> None:
    """Span of decodes only: as many iterations as the batch surely stays the same."""
    d = s.num_decodes
    slope = seq_s[2, d]
    s.a_s = token_s[d] + seq_s[0, d] + seq_s[1, d] + slope * (s.decode_context + d)
    s.b_s = slope * d
    if s.next_finish_n < 0:
        earliest = NEVER
        for position in range(s.num_running):
            earliest = min(earliest, req[lists[ROW_RUNNING, position]].finish_n)
        s.next_finish_n = earliest
    k = min(s.next_finish_n - s.n, iterations_until_shortage(s, phases))
    if s.num_waiting > 0:
        if prefills_held(s):
            k = min(k, s.last_prefill_n + s.prefill_interval - s.n - 1)
        if s.num_evicted > 0 and k > 1:
            # Nobody was admitted in this iteration; the head may be in the next one.
            free = s.free_blocks - blocks_taken(s, phases, 1)
            head = req[s.wait_head]
            if admissible_tokens(s, head, s.budget_left, free, long_threshold(s), False) > 0:
                k = 1
    s.k = 1 if s.single_step else max(k, 1)


@kernel
def start_mixed_iteration(
    s: Record, req: Array, lists: Array, token_s: Array, seq_s: Array
) -> None:
    """One iteration with prefill chunks, or with decodes that the budget left out."""
    tokens = 0
    requests = 0
    decodes = 0
    decode_context = 0
    prefill = 0.0
    chunks = 0
    for position in range(s.num_running):
        n = lists[ROW_TOKENS, position]
        if n == 0:
            continue
        r = req[lists[ROW_RUNNING, position]]
        requests += 1
        tokens += n
        context = n + (s.n + r.offset if r.decoding else r.computed_tokens)
        if r.decoding or (n == 1 and context == r.prompt_tokens + r.generated_tokens):
            decodes += 1
            decode_context += context
        else:
            chunks += 1
            prefill += (
                s.prefill_token_s * n
                + s.prefill_context_s * context
                + s.prefill_pair_s * n * (context - 0.5 * (n - 1))
            )
    s.a_s = token_s[tokens] + seq_s[0, requests]
    if decodes > 0:
        s.a_s += seq_s[1, decodes] + seq_s[2, decodes] * decode_context
    if chunks > 0:
        s.a_s += s.prefill_fixed_s + prefill
    s.b_s = 0.0
    s.k = 1


@kernel
def close_pure_span(s: Record, req: Array, lists: Array, phases: Array, itl: Array) -> None:
    """The k iterations of a pure span are over."""
    k = s.k
    end = end_s(s, k)
    s.free_blocks -= blocks_taken(s, phases, k - 1)
    s.peak_blocks = max(s.peak_blocks, s.usable_blocks - s.free_blocks)
    if s.num_measured > 0:
        row = itl[slice_of(s, itl, s.now_s)]
        add_affine_gaps(row, s.a_s, s.b_s, k, s.num_measured)
    s.output_tokens += k * s.num_decodes
    if s.next_answer_n < 0 or s.next_answer_n <= s.n + k:
        mark_answers(s, req, lists, s.n + k)
    s.decode_context += k * s.num_decodes
    s.n += k
    s.busy_s += end - s.now_s
    s.now_s = end
    if s.next_finish_n <= s.n:
        kept = 0
        for position in range(s.num_running):
            i = lists[ROW_RUNNING, position]
            r = req[i]
            if r.finish_n == s.n:
                stop_decoding(s, r, phases)
                finish(s, r, lists, i)
            else:
                lists[ROW_RUNNING, kept] = i
                kept += 1
        s.num_running = kept


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
def close_mixed_iteration(s: Record, req: Array, lists: Array, phases: Array, itl: Array) -> None:
    """One general iteration is over: every request in it is visited, in order."""
    start = s.now_s
    end = end_s(s, 1)
    row = itl[slice_of(s, itl, start)]
    s.peak_blocks = max(s.peak_blocks, s.usable_blocks - s.free_blocks)
    s.n += 1
    s.now_s = end
    s.busy_s += end - start
    kept = 0
    for position in range(s.num_running):
        i = lists[ROW_RUNNING, position]
        r = req[i]
        tokens = lists[ROW_TOKENS, position]
        done = False
        if tokens > 0 and r.decoding:
            s.decode_context += 1
            emit(s, r, row, start, r.stalled == 0)
            if r.stalled:
                r.stalled = 0
                s.num_stalled -= 1
            if r.answer_n == s.n:
                r.first_answer_s = end
                r.answer_n = NEVER
                s.next_answer_n = -1
            if r.finish_n == s.n:
                stop_decoding(s, r, phases)
                done = True
        elif tokens > 0:
            r.computed_tokens += tokens
            s.prefill_tokens += tokens
            if r.computed_tokens == r.prompt_tokens + r.generated_tokens:
                emit(s, r, row, start, False)
                r.generated_tokens += 1
                if r.generated_tokens == r.thinking_tokens + 1:
                    r.first_answer_s = end
                if r.generated_tokens == r.target_tokens:
                    done = True
                else:
                    start_decoding(s, r, phases, r.computed_tokens)
        if done:
            finish(s, r, lists, i)
        else:
            lists[ROW_RUNNING, kept] = i
            kept += 1
    s.num_running = kept


@kernel
def emit(s: Record, r: Record, counts: Array, start_s: float, follows: bool) -> None:
    """Request r gets a token at `now`; `follows`: the one before came as the iteration began."""
    s.output_tokens += 1
    if follows:
        if r.measured:
            add_gap(counts, s.now_s - start_s, 1)
        return
    if math.isnan(r.first_token_s):
        r.first_token_s = s.now_s
        return
    if r.measured:
        add_gap(counts, s.now_s - r.last_token_s, 1)
    if not math.isnan(r.lost_since_s):
        if r.generated_tokens <= r.thinking_tokens:
            r.lost_thinking_s += s.now_s - r.lost_since_s
        else:
            r.lost_answer_s += s.now_s - r.lost_since_s
        r.lost_since_s = math.nan


@kernel
def integrity_error(s: Record, req: Array, lists: Array, phases: Array) -> int:
    """Number of the first invariant that does not hold at a boundary, or 0 (see integrity.py)."""
    held = 0
    decodes = 0
    context = 0
    stalled = 0
    for position in range(s.num_running):
        r = req[lists[ROW_RUNNING, position]]
        computed = s.n + r.offset if r.decoding else r.computed_tokens
        held += blocks_for(s, computed)
        if r.decoding:
            decodes += 1
            context += computed
            stalled += r.stalled
            if r.finish_n <= s.n:
                return 1
            if r.target_tokens - (computed + 1 - r.prompt_tokens) != r.finish_n - s.n:
                return 2
    if held + s.free_blocks != s.usable_blocks:
        return 3
    if s.free_blocks < 0:
        return 4
    if decodes != s.num_decodes or phases.sum() != decodes:
        return 5
    if context != s.decode_context:
        return 6
    if stalled != s.num_stalled:
        return 7
    if s.num_running > s.seat_limit:
        return 8
    count = 0
    i = s.wait_head
    while i >= 0:
        count += 1
        i = req[i].next
    if count != s.num_waiting:
        return 9
    return 0
