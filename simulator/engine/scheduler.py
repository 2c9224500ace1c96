"""vLLM V1's schedule(): which requests get how many tokens in the next iteration.

Rules of vLLM 0.33.0, `vllm/v1/core/sched/scheduler.py`. Running requests come first, in order of
admission; then the waiting queue, in order of arrival (fcfs) or of rank, whose blocked head blocks
everyone behind it. A request wants all its known tokens computed: a decode is the case where one is
missing, and needs no rule of its own. Async scheduling adds one: a request whose last token is in
flight keeps seat and blocks, and is passed over.

`schedule` can stop in the middle to be told something (`s.stage`, `s.position`, `s.budget_left`),
and goes on from there when it is called again.
"""

from __future__ import annotations

from simulator.engine.admission import admissible_tokens, last_parked, make_room
from simulator.engine.blocks import blocks_for, find_prefix, known_tokens, take_blocks
from simulator.engine.caching import settle_shared
from simulator.engine.decoding import stall
from simulator.engine.jit import Array, Kv, Record, kernel
from simulator.engine.prefix_cache import register, room_to_admit
from simulator.engine.queueing import admit, evict, unpark
from simulator.engine.request import NONE, NOTHING, ON_GPU
from simulator.engine.state import (
    ASK_ROOM,
    ASK_VICTIM,
    ASKED,
    DECIDED,
    KV_PATHS,
    KV_POOL,
    PREFILL_FIRST,
    PROMPTS_PASS,
    ROW_RUNNING,
    ROW_TOKENS,
    RUNNING_PASS,
    STATIC,
    VICTIM_LAST,
    VICTIM_TOLD,
    WAITING_PASS,
)
from simulator.engine.waiting import next_up


@kernel
def long_threshold(s: Record) -> int:
    """Most prompt tokens one request may get in an iteration; 0 = no such limit."""
    threshold: int = s.long_threshold
    if s.batching == PREFILL_FIRST:  # whole prompts
        return 0
    count = s.num_running + s.num_waiting
    if threshold > 0:
        if s.long_spares_lone and count <= 1:
            return 0
        if s.long_adaptive:
            threshold = max(threshold, s.max_num_batched_tokens // max(count, 1))
    return threshold


@kernel
def prefills_held(s: Record) -> bool:
    """Whether the prefill cadence (`prefill_schedule_interval`) keeps prompts back now."""
    if s.prefill_interval == 1 or s.capacity_bound or s.num_decodes + s.num_ending == 0:
        return False
    due: bool = s.n + 1 - s.last_prefill_n >= s.prefill_interval
    return not due


@kernel
def schedule(s: Record, req: Array, lists: Array, phases: Array, kv: Kv) -> int:
    """Decide the next iteration at a boundary; 0 when done, or what must be told first (ASK_...).

    Leaves `pure` (every running request decodes one token), the tokens of each running request
    (where not pure), those admitted (last in the running list) and evicted, and the budget left.
    """
    if s.stage == ASKED:
        s.num_admitted = 0
        s.short = 0
        s.threshold = long_threshold(s)
        s.held = prefills_held(s)
        s.budget_left = s.max_num_batched_tokens
        s.position = 0
        s.pure = (
            s.num_decodes == s.num_running
            and s.num_stalled == 0
            and s.num_running <= s.max_num_batched_tokens
            and phases[s.n % s.block_size] <= s.free_blocks
        )
        if s.prefix_caching and not s.pure:  # before prompts register what these may have filled
            settle_shared(s, req, lists, kv, False)
        s.may_admit = s.batching != STATIC or s.num_running == 0
        s.stage = PROMPTS_PASS if s.batching == PREFILL_FIRST else RUNNING_PASS
    if s.stage == PROMPTS_PASS:
        question = schedule_waiting(s, req, lists, kv)
        if question > 0:
            return question
        s.may_admit = 0
        s.stage = RUNNING_PASS
        if s.num_admitted > 0:  # prompts only, whole ones; every decode waits
            for position in range(s.num_running - s.num_admitted):
                lists[ROW_TOKENS, position] = 0
            s.pure = 0
            s.stage = WAITING_PASS
    if s.stage == RUNNING_PASS:
        if s.pure:
            take_blocks(s, phases[s.n % s.block_size])
            s.budget_left -= s.num_running
        elif not schedule_running(s, req, lists, phases, kv):
            return ASK_VICTIM
        s.stage = WAITING_PASS
    if s.may_admit and not s.short:
        question = schedule_waiting(s, req, lists, kv)
        if question > 0:
            return question
        if s.pure and s.num_admitted > 0:
            s.pure = 0
            for position in range(s.num_running - s.num_admitted):
                lists[ROW_TOKENS, position] = 1
    s.pure = s.pure and s.num_running > 0
    if not s.pure:
        for position in range(s.num_running):
            r = req[lists[ROW_RUNNING, position]]
            if r.decoding and lists[ROW_TOKENS, position] == 0:
                stall(s, r, phases)
        if s.prefill_interval > 1 and carries_prefill(s, req, lists):
            s.last_prefill_n = s.n + 1
    s.stage = DECIDED
    return 0


@kernel
def schedule_running(s: Record, req: Array, lists: Array, phases: Array, kv: Kv) -> bool:
    """Running pass in general; False if a scheduler must name a victim before it can go on."""
    while s.position < s.num_running and s.budget_left > 0:
        i = lists[ROW_RUNNING, s.position]
        r = req[i]
        if r.decoding:
            tokens = 1
            computed = s.n + r.offset
        elif s.held or r.ending:
            lists[ROW_TOKENS, s.position] = 0
            s.position += 1
            continue
        else:
            computed = r.computed_tokens
            tokens = known_tokens(r) - computed
            if 0 < s.threshold < tokens:
                tokens = s.threshold
            tokens = min(tokens, s.budget_left)
        need = blocks_for(s, computed + tokens) - blocks_for(s, computed)
        served = True
        while need > s.free_blocks and served:
            if s.num_parked > 0:
                unpark(s, req, kv, last_parked(s, req, NONE))
                continue
            victim = choose_victim(s, req, lists)
            if victim == NONE:
                return False
            served = victim != s.position
            scheduled = 0
            if victim < s.position:
                scheduled = lists[ROW_TOKENS, victim]
                s.budget_left += scheduled
                s.position -= 1
            evict(s, req, lists, phases, kv, victim, scheduled)
            s.short = 1
        if not served:  # it was the victim itself
            if s.victim_rule == VICTIM_LAST:
                break
            continue
        take_blocks(s, need)
        if s.prefix_caching and not r.decoding:
            full = min(computed + tokens, known_tokens(r))
            register(s, kv[KV_POOL], kv[KV_PATHS], r, full // s.block_size)
        lists[ROW_TOKENS, s.position] = tokens
        s.budget_left -= tokens
        s.position += 1
    for rest in range(s.position, s.num_running):
        lists[ROW_TOKENS, rest] = 0
    return True


@kernel
def choose_victim(s: Record, req: Array, lists: Array) -> int:
    """Place in the running list of the request to preempt; NONE if the scheduler must say."""
    if s.victim_rule == VICTIM_LAST:
        last: int = s.num_running - 1
        return last
    if s.victim_rule == VICTIM_TOLD:
        told: int = s.victim
        s.victim = NONE
        return told
    worst = 0
    for position in range(1, s.num_running):
        a, b = req[lists[ROW_RUNNING, position]], req[lists[ROW_RUNNING, worst]]
        if a.rank > b.rank or (a.rank == b.rank and a.arrival_s > b.arrival_s):
            worst = position
    return worst


@kernel
def schedule_waiting(s: Record, req: Array, lists: Array, kv: Kv) -> int:
    """Waiting pass: admit from the head until it does not fit; 0, or what must be told first.

    A static batch also takes requests whose tokens must wait for budget: their blocks are promised.
    """
    promised = 0
    if s.prefix_caching and s.num_waiting > 0:
        settle_shared(s, req, lists, kv, True)
    while s.num_waiting > 0:
        i = next_up(s)
        budget = s.budget_left
        if s.batching == STATIC:
            budget = max(budget, 1)
        free = make_room(s, req, kv, i, budget, promised)
        tokens = admissible_tokens(s, req, kv, i, budget, free, s.threshold, s.held)
        if tokens == 0:
            break
        if s.prefix_caching and not room_for(s, req, kv, i):
            return ASK_ROOM
        tokens = min(tokens, s.budget_left)
        admit(s, req, lists, kv, i, tokens)
        s.budget_left -= tokens
        if s.batching == STATIC:
            r = req[i]
            promised += blocks_for(s, known_tokens(r))
            promised -= blocks_for(s, r.computed_tokens + tokens)
    if not s.held:
        s.capacity_bound = s.num_waiting > 0
    return 0


@kernel
def room_for(s: Record, req: Array, kv: Kv, i: int) -> bool:
    """Whether the prefix cache has records left to admit request i."""
    runs = 0
    if req[i].keeps == NOTHING:
        _, _, runs = find_prefix(s, req, kv, i)
    return req[i].keeps == ON_GPU or room_to_admit(s, req[i], runs)


@kernel
def carries_prefill(s: Record, req: Array, lists: Array) -> bool:
    """Whether the iteration just decided computes prompt tokens, as the prefill cadence counts."""
    for position in range(s.num_running):
        r = req[lists[ROW_RUNNING, position]]
        if lists[ROW_TOKENS, position] == 0 or r.decoding:
            continue
        admitted = position >= s.num_running - s.num_admitted
        if not admitted or known_tokens(r) - r.computed_tokens > 1:
            return True
    return False


@kernel
def schedules_nothing(s: Record, lists: Array) -> bool:
    """Whether the iteration just decided would be empty."""
    if s.pure:
        return bool(s.num_running == 0)
    return bool(lists[ROW_TOKENS, : s.num_running].sum() == 0)
