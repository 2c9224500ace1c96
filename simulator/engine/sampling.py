"""State and counters of a replica noted at given times, without an event for it."""

from __future__ import annotations

import math

from simulator.engine.jit import Array, Record, entry, kernel
from simulator.engine.samples import MAX_SAMPLES
from simulator.engine.spans import blocks_taken, context_read, iterations_done
from simulator.engine.state import IN_SPAN, ROW_EVICTED, ROW_RUNNING


@kernel
def note(s: Record, phases: Array, row: Record, t_s: float) -> None:
    """Write what holds at time t into a SAMPLE record; t lies in the span under way, if any."""
    row.t_s = t_s
    row.running = s.num_running
    row.waiting = s.num_waiting
    row.preemptions = s.preemptions
    row.output_tokens = s.output_tokens
    row.prefill_tokens = s.prefill_tokens
    row.iterations = s.iterations
    row.context_tokens_read = s.context_tokens_read
    used = s.usable_blocks - s.free_blocks
    in_flight = t_s < s.flight_end_s
    if not in_flight:
        row.iterations += s.flight_iterations
        row.context_tokens_read += s.flight_context
        row.output_tokens += s.flight_tokens
        row.prefill_tokens += s.flight_prefill_tokens
    if s.phase == IN_SPAN and s.k > 1:  # a longer span is pure
        done = iterations_done(s, t_s)
        row.iterations += done
        row.output_tokens += done * s.num_decodes
        row.context_tokens_read += context_read(s, done)
        decided = done if in_flight else done + s.lag
        used += blocks_taken(s, phases, min(decided, s.k - 1))
    row.kv_used_blocks = used


@entry
def set_next_sample(s: Record, marks: Array) -> None:
    """The earlier of the next grid point and the next mark."""
    s.next_sample_s = s.num_samples * s.grid_s
    if s.num_marks < len(marks):
        s.next_sample_s = min(s.next_sample_s, marks[s.num_marks].t_s)


@kernel
def sample_until(s: Record, phases: Array, samples: Array, marks: Array, t_s: float) -> None:
    """Take all samples due before time t. A full table is thinned and its grid made coarser."""
    while s.next_sample_s < t_s:
        if s.num_marks < len(marks) and marks[s.num_marks].t_s <= s.next_sample_s:
            note(s, phases, marks[s.num_marks], marks[s.num_marks].t_s)
            s.num_marks += 1
        else:
            if s.num_samples == MAX_SAMPLES:
                for i in range(MAX_SAMPLES // 2):
                    samples[i] = samples[2 * i]
                s.num_samples = MAX_SAMPLES // 2
                s.grid_s *= 2.0
            note(s, phases, samples[s.num_samples], s.num_samples * s.grid_s)
            s.num_samples += 1
        set_next_sample(s, marks)


@kernel
def forget_in_flight(s: Record, req: Array, lists: Array, t_s: float) -> None:
    """The run ends at t: take back what the iteration in flight and the next would have brought."""
    for position in range(s.num_running):
        r = req[lists[ROW_RUNNING, position]]
        if r.ending or (r.decoding and (not r.stalled or r.last_token_s > t_s)):
            r.generated_tokens -= 1
        forget_after(r, t_s)
    if s.phase == IN_SPAN:
        for position in range(s.num_evicted):
            r = req[lists[ROW_EVICTED, position]]
            if r.last_token_s > t_s:
                r.generated_tokens -= 1
            forget_after(r, t_s)


@kernel
def forget_after(r: Record, t_s: float) -> None:
    """Unset the times of request r that lie after t."""
    if r.first_scheduled_s > t_s:
        r.first_scheduled_s = math.nan
    if r.first_token_s > t_s:
        r.first_token_s = math.nan
    if r.first_answer_s > t_s:
        r.first_answer_s = math.nan
