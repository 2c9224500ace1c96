"""What SimPy's side calls: advance a replica, hand it a request, take one back."""

from __future__ import annotations

import math

from simulator.engine.addresses import (
    costs_of,
    itl_of,
    kv_of,
    lists_of,
    phases_of,
    samples_of,
)
from simulator.engine.admission import could_be_admitted, free_for_queue
from simulator.engine.asking import anyone_fits, head_fits
from simulator.engine.blocks import decoded_tokens
from simulator.engine.caching import head_may_hit_more
from simulator.engine.closing import close_span, emit_late, land_flight
from simulator.engine.compression import compress
from simulator.engine.integrity import STUCK, integrity_error
from simulator.engine.jit import Array, Kv, Record, entry, kernel
from simulator.engine.prefix_cache import room_to_run
from simulator.engine.queueing import drop_cancelled
from simulator.engine.request import NONE, REJECTED
from simulator.engine.sampling import forget_in_flight, note, sample_until
from simulator.engine.scheduler import long_threshold, prefills_held, schedule, schedules_nothing
from simulator.engine.spans import (
    blocks_taken,
    boundary_at,
    boundary_s,
    iterations_done,
    reach_s,
)
from simulator.engine.starting import (
    iterations_until_review,
    start_mixed_iteration,
    start_pure_span,
)
from simulator.engine.state import (
    ASK_EVENTS,
    ASK_RANKS,
    ASK_ROOM,
    ASKED,
    BOUNDARY,
    DECIDED,
    IDLE,
    IN_SPAN,
    KV_SHARED,
    KV_START,
    ON_ADMISSION,
    ON_DISPLACE,
    ON_EVICTION,
    ON_FINISH,
    ON_REVIEW,
    ON_SELECT,
    OPEN,
    PREFILL_FIRST,
    ROW_RUNNING,
    ROW_TOKENS,
)
from simulator.engine.waiting import join_queue, next_up

# Whether `advance` stops when it has closed a span.
GO_ON, CLOSED = 0, 1

# Why a request is refused, as `offer` answers it.
TOO_LONG_PROMPT, TOO_LONG_TOTAL = -1, -2


@entry
def advance(
    req: Array,
    state: Array,
    horizon_s: float,
    stop: int,
    spans: int,
    check: bool,
) -> float:
    """Run span after span while nobody outside can tell, i.e. while they end before `horizon_s`.

    Ends the span under way (its last boundary must have come), then decides the next; goes on
    while that one's, with its tolerance, lies before the horizon, the time of the next event
    anywhere.
    `stop` CLOSED: return after any span, before the next decision, so that the successors of
    requests that finished, here or elsewhere, can be offered first. `spans`: most spans to begin.
    `check`: test the invariants at each boundary.

    Returns the time at which it must be called again (infinite: when a request comes); 0.0 if a
    span was closed and `stop` says so (call again after telling others who finished); minus the
    number of a broken invariant, or minus STUCK.
    """
    s = state[0]
    lists, phases, kv, itl = lists_of(s), phases_of(s), kv_of(s), itl_of(s)
    samples, marks = samples_of(s)
    token_s, seq_s = costs_of(s)
    while True:
        if s.prefix_caching and not room_to_run(s):
            return -float(ASK_ROOM)
        if s.phase == IN_SPAN:
            s.num_finished = 0
            sample_until(s, phases, samples, marks, boundary_s(s, s.k))
            close_span(s, req, lists, phases, kv, itl)
            open_boundary(s)
            if stop == CLOSED:
                return 0.0
        if s.stage == OPEN:
            if s.num_cancelled > 0:
                drop_cancelled(s, req, lists, phases, kv)
                s.event = 2
            if check:
                broken = integrity_error(s, req, lists, phases, kv)
                if broken > 0:
                    return -float(broken)
            s.start_s = max(s.now_s, s.flight_end_s)
            s.num_evicted = 0
            if s.kv_compression and s.n % s.compression_interval == 0:
                compress(s, req, lists, phases)
            if s.num_late > 0:  # nobody can take these tokens back any more
                s.flight_tokens += s.num_late
                emit_late(s, req, lists, s.start_s)
            asks = must_ask(s, req, lists, phases, kv)
            s.stage = ASKED
            if asks:
                return -float(ASK_EVENTS)
        if s.stage == ASKED:
            if s.num_running == 0 and s.num_waiting == 0:
                s.phase = IDLE
                return math.inf
            if spans <= 0:
                return reach_s(s.now_s)
            spans -= 1
        if s.stage < DECIDED:
            question = schedule(s, req, lists, phases, kv)
            if question > 0:
                return -float(question)
            if s.num_evicted == 0 and s.num_ending == 0 and schedules_nothing(s, lists):
                return -float(STUCK)
            if s.short:
                s.event = 2
            if s.num_evicted > 0 and s.asks & ON_EVICTION:
                return -float(ASK_RANKS)
        if s.pure:
            start_pure_span(s, req, lists, phases, kv, token_s, seq_s)
        else:
            start_mixed_iteration(s, req, lists, token_s, seq_s)
        s.spans += 1
        s.phase = IN_SPAN
        wake_s = reach_s(boundary_s(s, s.k))
        if wake_s >= horizon_s:
            return wake_s


@kernel
def open_boundary(s: Record) -> None:
    """The next iteration is to be decided, from the start."""
    s.phase = BOUNDARY
    s.stage = OPEN
    if s.num_finished > 0:
        s.event = 2


@kernel
def must_ask(s: Record, req: Array, lists: Array, phases: Array, kv: Kv) -> bool:
    """Whether something has happened that the scheduler wants to be asked about.

    Who makes way for the first of the queue is a question only while that does not fit.
    """
    event: bool = s.event
    left: bool = s.event > 1
    s.event = 0
    if left:
        s.denied = NONE
    if s.asks == 0:
        return False
    if s.num_finished > 0 and s.asks & ON_FINISH:
        return True
    if s.num_waiting == 0:
        return False
    if event and s.asks & ON_SELECT:
        return True
    free = free_for_queue(s, phases)
    if event and s.asks & ON_ADMISSION and s.num_waiting > 1 and anyone_fits(s, req, kv, free):
        return True
    displace = s.asks & ON_DISPLACE and next_up(s) != s.denied
    if not displace and not (s.asks & ON_REVIEW and review_is_due(s, req, lists)):
        return False
    budget = s.max_num_batched_tokens - s.num_decodes
    return prefills_held(s) or not head_fits(s, req, kv, free, budget)


@kernel
def review_is_due(s: Record, req: Array, lists: Array) -> bool:
    """Whether the scheduler wanted to be asked about somebody by now."""
    left = iterations_until_review(s, req, lists)
    return bool(left <= 0 or s.next_review_s <= reach_s(s.now_s))


@kernel
def refusal(s: Record, r: Record) -> int:
    """Why request r could never be served here, 0 if it can: max_model_len tokens fit the cache."""
    if r.prompt_tokens >= s.max_model_len:
        return TOO_LONG_PROMPT
    if r.prompt_tokens + r.max_tokens > s.max_model_len:
        return TOO_LONG_TOTAL
    return 0


@kernel
def cap_output(s: Record, r: Record) -> None:
    """How many tokens request r will give here, and whether its end is foreseen by count."""
    cap = s.max_model_len - r.prompt_tokens
    if r.max_tokens > 0:
        cap = min(cap, r.max_tokens)
    r.target_tokens = min(r.output_tokens, cap)
    r.dead_tokens = s.lag if r.target_tokens < cap else 0


@entry
def offer(
    req: Array,
    state: Array,
    i: int,
) -> float:
    """Request i arrives at its arrival time t: it is refused, or joins the waiting queue.

    A pure span under way is cut at the first boundary at or after t if the request could be
    admitted there; if it could not, nothing but the queue changes.
    Returns the new time at which `advance` must be called, 0.0 if that has not changed, or, below
    zero, why the request is refused.
    """
    s = state[0]
    lists, phases, kv = lists_of(s), phases_of(s), kv_of(s)
    samples, marks = samples_of(s)
    r = req[i]
    t_s = r.arrival_s
    sample_until(s, phases, samples, marks, t_s)
    reason = refusal(s, r)
    if reason < 0:
        r.status = REJECTED
        r.finish_s = t_s
        return float(reason)
    cap_output(s, r)
    if s.prefix_caching:
        r.path = kv[KV_START][i]
        r.path_nodes = kv[KV_START][i + 1] - r.path
        r.shared_blocks = kv[KV_SHARED][i]
        r.hold = NONE
    join_queue(s, req, i, False)
    event = s.event
    s.event = max(s.event, 1)
    if s.phase == IDLE:
        s.phase = BOUNDARY
        s.stage = OPEN
        s.num_finished = 0
        s.now_s = max(t_s, s.flight_end_s)
        return reach_s(s.now_s)
    if s.phase != IN_SPAN or s.k == 1:
        return 0.0
    j = boundary_at(s, t_s)
    if j == s.k:
        return 0.0
    if not could_matter(s, req, lists, phases, kv, i, j):
        s.event = event
        j = until_review(s, req, lists, j)
        if j == s.k:
            return 0.0
    s.k = j
    return reach_s(boundary_s(s, j))


@kernel
def could_matter(
    s: Record, req: Array, lists: Array, phases: Array, kv: Kv, i: int, j: int
) -> bool:
    """Whether the arrival of request i could change the batch at boundary j of the span."""
    if s.asks & ON_SELECT or s.prefill_interval > 1:
        return True
    decodes_before = j - (s.batching == PREFILL_FIRST)
    free = s.free_blocks - blocks_taken(s, phases, decodes_before)
    if s.asks & ON_ADMISSION:  # another one may be ranked first
        return bool(s.asks & ON_DISPLACE) or anyone_fits(s, req, kv, free)
    if next_up(s) != i and not s.long_adaptive:
        return False  # behind a head that stays blocked while the batch only grows
    if s.asks & ON_DISPLACE:
        return True
    if s.prefix_caching and head_may_hit_more(s, req, lists, kv):
        return True
    return bool(could_be_admitted(s, req, kv, free, long_threshold(s)))


@kernel
def until_review(s: Record, req: Array, lists: Array, j: int) -> int:
    """The boundary at which a review is due now that somebody waits: j or later, at most k."""
    if not s.asks & ON_REVIEW:
        k: int = s.k
        return k
    due = min(s.k, iterations_until_review(s, req, lists))
    if s.next_review_s < math.inf:
        due = min(due, boundary_at(s, s.next_review_s))
    boundary: int = max(due, j)
    return boundary


@entry
def withdraw(
    req: Array,
    state: Array,
    i: int,
    t_s: float,
) -> float:
    """Cancel request i at time t, with effect at the first boundary at or after t.

    Returns the new wake time, 0.0 if that has not changed. The request must be waiting or running.
    """
    s = state[0]
    phases = phases_of(s)
    samples, marks = samples_of(s)
    sample_until(s, phases, samples, marks, t_s)
    if req[i].cancelled == 0:
        req[i].cancelled = 1
        s.num_cancelled += 1
    if s.phase == IN_SPAN and s.k > 1:
        s.k = boundary_at(s, t_s)
        return reach_s(boundary_s(s, s.k))
    return 0.0


@entry
def finish_run(
    req: Array,
    state: Array,
    t_s: float,
) -> None:
    """The run ends at time t: what is due until then is sampled, counted and written back.

    An iteration that has not ended counts for nothing.
    """
    s = state[0]
    lists, phases, kv, itl = lists_of(s), phases_of(s), kv_of(s), itl_of(s)
    samples, marks = samples_of(s)
    sample_until(s, phases, samples, marks, reach_s(t_s))
    while s.num_marks < len(marks):
        note(s, phases, marks[s.num_marks], t_s)
        s.num_marks += 1
    left_out = s.phase == IN_SPAN and s.num_stalled > 0
    if s.phase == IN_SPAN and t_s >= s.flight_end_s:
        ended = iterations_done(s, t_s) if s.pure else 0
        if ended > 0:
            s.k = ended
            s.num_finished = 0
            close_span(s, req, lists, phases, kv, itl)
            s.phase = BOUNDARY
    if s.lag > 0 and t_s >= s.flight_end_s:
        land_flight(s, lists, itl)
    for position in range(s.num_running):
        r = req[lists[ROW_RUNNING, position]]
        if r.decoding:
            r.generated_tokens = decoded_tokens(s, r)
            if left_out and lists[ROW_TOKENS, position] == 0:
                r.generated_tokens += 1  # its offset counts on the end of the iteration
    if t_s < s.flight_end_s:
        forget_in_flight(s, req, lists, t_s)
