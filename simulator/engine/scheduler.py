"""vLLM V1's schedule(): which requests get how many tokens in the next iteration.

Rules of vLLM 0.33.0, `vllm/v1/core/sched/scheduler.py`, for policy fcfs without prefix cache.
Async scheduling adds one: a request whose last token is in flight keeps seat and blocks, and is
passed over. Running requests come first, in order of admission; then the waiting queue, whose
blocked head blocks everyone behind it. A request wants all its known tokens computed: a decode is
the case where one is missing, and needs no rule of its own.
"""

from __future__ import annotations

from simulator.engine.decoding import stall
from simulator.engine.jit import Array, Record, kernel
from simulator.engine.queueing import admit, blocks_for, evict_last
from simulator.engine.state import ROW_RUNNING, ROW_TOKENS


@kernel
def long_threshold(s: Record) -> int:
    """Most prompt tokens one request may get in an iteration; 0 = no such limit."""
    threshold: int = s.long_threshold
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
def admissible_tokens(
    s: Record, r: Record, budget: int, free: int, threshold: int, held: bool
) -> int:
    """Tokens the waiting request r would get now, 0 if it must wait."""
    known = r.prompt_tokens + r.generated_tokens
    if budget <= 0 or s.num_running >= s.seat_limit or (held and known > 1):
        return 0
    tokens: int = known
    if 0 < threshold < tokens:
        tokens = threshold
    if not s.chunked and tokens > budget:
        return 0
    tokens = min(tokens, budget)
    if s.num_running > 0:
        free -= s.watermark_blocks
    if s.reserve_full_isl and blocks_for(s, min(known, s.max_model_len)) > free:
        return 0
    if blocks_for(s, min(tokens, s.max_model_len)) > free:
        return 0
    return tokens


@kernel
def schedule_decodes(s: Record, req: Array, lists: Array, phases: Array) -> int:
    """Running pass when every running request decodes: nobody is visited but the victims."""
    while s.num_running > 0 and phases[s.n % s.block_size] > s.free_blocks:
        evict_last(s, req, lists, phases)
    s.free_blocks -= phases[s.n % s.block_size]
    budget: int = s.max_num_batched_tokens - s.num_running
    return budget


@kernel
def schedule_running(
    s: Record, req: Array, lists: Array, phases: Array, threshold: int, held: bool
) -> int:
    """Running pass in general: prompts in mid-prefill, or decodes beyond the token budget."""
    budget: int = s.max_num_batched_tokens
    position = 0
    while position < s.num_running and budget > 0:
        i = lists[ROW_RUNNING, position]
        r = req[i]
        if r.decoding:
            tokens = 1
            computed = s.n + r.offset
        elif held or r.ending:
            lists[ROW_TOKENS, position] = 0
            position += 1
            continue
        else:
            computed = r.computed_tokens
            tokens = r.prompt_tokens + r.generated_tokens - computed
            if 0 < threshold < tokens:
                tokens = threshold
            tokens = min(tokens, budget)
        need = blocks_for(s, computed + tokens) - blocks_for(s, computed)
        while need > s.free_blocks and position < s.num_running:
            evict_last(s, req, lists, phases)
        if position == s.num_running:  # it was the victim itself
            break
        s.free_blocks -= need
        lists[ROW_TOKENS, position] = tokens
        budget -= tokens
        position += 1
    for rest in range(position, s.num_running):
        lists[ROW_TOKENS, rest] = 0
    return budget


@kernel
def schedule_waiting(
    s: Record, req: Array, lists: Array, budget: int, threshold: int, held: bool
) -> int:
    """Waiting pass: admit from the head until it does not fit."""
    while s.num_waiting > 0:
        tokens = admissible_tokens(s, req[s.wait_head], budget, s.free_blocks, threshold, held)
        if tokens == 0:
            break
        lists[ROW_TOKENS, s.num_running] = tokens
        admit(s, req, lists, s.wait_head, tokens)
        budget -= tokens
    if not held:
        s.capacity_bound = s.num_waiting > 0
    return budget


@kernel
def carries_prefill(s: Record, req: Array, lists: Array) -> bool:
    """Whether the iteration just decided computes prompt tokens, as the prefill cadence counts."""
    for position in range(s.num_running):
        r = req[lists[ROW_RUNNING, position]]
        if lists[ROW_TOKENS, position] == 0 or r.decoding:
            continue
        admitted = position >= s.num_running - s.num_admitted
        if not admitted or r.prompt_tokens + r.generated_tokens > 1:
            return True
    return False


@kernel
def schedule(s: Record, req: Array, lists: Array, phases: Array) -> None:
    """Decide the next iteration at a boundary.

    Leaves `pure` (every running request decodes one token), the tokens of each running request
    (where not pure), those admitted (last in the running list) and evicted, and the budget left.
    """
    s.num_admitted = 0
    s.num_evicted = 0
    threshold = long_threshold(s)
    held = prefills_held(s)
    s.pure = (
        s.num_decodes == s.num_running
        and s.num_stalled == 0
        and s.num_running <= s.max_num_batched_tokens
    )
    if s.pure:
        budget = schedule_decodes(s, req, lists, phases)
        s.pure = s.num_running > 0
        if s.num_evicted == 0 and s.num_waiting > 0:
            decodes = s.num_running
            budget = schedule_waiting(s, req, lists, budget, threshold, held)
            if s.num_admitted > 0:
                s.pure = 0
                for position in range(decodes):
                    lists[ROW_TOKENS, position] = 1
        elif s.num_evicted == 0 and not held:
            s.capacity_bound = 0
    else:
        budget = schedule_running(s, req, lists, phases, threshold, held)
        if s.num_evicted == 0:
            budget = schedule_waiting(s, req, lists, budget, threshold, held)
        for position in range(s.num_running):
            r = req[lists[ROW_RUNNING, position]]
            if r.decoding and lists[ROW_TOKENS, position] == 0:
                stall(s, r, phases)
    s.budget_left = budget
    if s.prefill_interval > 1 and not s.pure and carries_prefill(s, req, lists):
        s.last_prefill_n = s.n + 1


@kernel
def schedules_nothing(s: Record, lists: Array) -> bool:
    """Whether the iteration just decided would be empty."""
    if s.pure:
        return bool(s.num_running == 0)
    return bool(lists[ROW_TOKENS, : s.num_running].sum() == 0)
