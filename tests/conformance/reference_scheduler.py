"""The reference engine's schedule(): what each iteration computes, and for whom.

Numbers in brackets are sections of ../shared/data/vllm_schedules/SPEC.md. What vLLM does not have
(order "ranked", reservations, the batchings other than "chunked_prefill") is said at `Scheduling`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil, floor

from .reference_blocks import Block, BlockPool
from .reference_records import EngineConfig, State

ORDERS = ("fcfs", "priority", "ranked")
BATCHINGS = ("chunked_prefill", "prefill_first", "static")


@dataclass(frozen=True)
class Scheduling:
    """How requests are ordered, admitted and batched; the default is vLLM's policy fcfs.

    `order`: "fcfs", "priority" (9), or "ranked": the same with the `rank` of a request in place of
    its priority and its position in the list of requests in place of its id. So waiting requests
    go by (rank, arrival, position), lowest first; the victim is the largest (rank, arrival) among
    those running, of equals the one admitted first; who evicts itself does not end the running
    pass. A request's rank is asked whenever it joins the queue: at its arrival and after an
    eviction, when `computed` is 0 again and `evictions` counts this one.

    `reserve_tokens`: asked with the rank. A request that reserves any is admitted beside others
    only if the blocks for as many tokens, and those of all running requests for theirs, are no more
    than all usable blocks.

    `batching`:
    - "chunked_prefill": vLLM's; running requests first, then waiting ones (3).
    - "prefill_first": waiting requests first, whole; if any is admitted, nobody else gets a token
      in this iteration. No threshold applies. The budget must take the longest request.
    - "static": requests are admitted only when nobody runs as the iteration is decided: as many as
      there are seats for, and blocks for all their known tokens together (instead of the checks of
      (4)). They are computed in chunks, whatever `enable_chunked_prefill`; the budget may leave
      some of them nothing in the first iteration.
    """

    order: str = "fcfs"
    rank: Callable[[State], float] | None = None
    reserve_tokens: Callable[[State], int] | None = None
    batching: str = "chunked_prefill"

    def __post_init__(self) -> None:
        if self.order not in ORDERS or self.batching not in BATCHINGS:
            raise ValueError(f"unknown: {self.order}, {self.batching}")
        if (self.order == "ranked") != (self.rank is not None):
            raise ValueError("rank goes with order ranked")


@dataclass
class Decision:
    """What one call of schedule() decided."""

    scheduled: dict[State, int] = field(default_factory=dict)  # tokens, in scheduling order
    admitted: dict[State, int] = field(default_factory=dict)  # tokens found in the prefix cache
    preempted: list[State] = field(default_factory=list)
    budget: int = 0  # tokens left
    carries_prefill: bool = False


class Scheduler:
    """The queue, the running requests and their blocks."""

    def __init__(self, config: EngineConfig, scheduling: Scheduling, prefix_caching: bool) -> None:
        whole_prompts = scheduling.batching == "prefill_first"
        if whole_prompts and config.max_num_batched_tokens < config.max_model_len:
            raise ValueError("prefill_first: max_num_batched_tokens is below max_model_len")
        if prefix_caching and (config.kv_groups_full, config.kv_groups_window) != (1, 0):
            raise ValueError("prefix_caching: only with one group of layers")
        self.config = config
        self.scheduling = scheduling
        self.prefix_caching = prefix_caching
        self.usable_blocks = config.num_gpu_blocks - 1
        self.pool = BlockPool(self.usable_blocks, config.block_size)
        self.waiting: list[State] = []
        self.running: list[State] = []
        self.capacity_bound = False
        self.num_executed = 0
        self.last_prefill = -config.prefill_schedule_interval

    # The queue

    def arrive(self, state: State) -> None:
        """The request joins the queue for the first time."""
        if self.prefix_caching:
            request = state.request
            tokens: Sequence = request.tokens or [
                (request.id, j) for j in range(request.prompt_tokens + request.output_tokens)
            ]
            state.names = self.pool.names_of(tokens)
        self.rate(state)
        self.waiting.append(state)

    def rate(self, state: State) -> None:
        """Ask what the policy says of the request, which joins the queue."""
        scheduling = self.scheduling
        if scheduling.order == "priority":
            state.rank = state.request.priority
        if scheduling.rank is not None:
            state.rank = scheduling.rank(state)
        if scheduling.reserve_tokens is not None:
            state.reserve_tokens = scheduling.reserve_tokens(state)

    def head(self) -> State:
        """The waiting request that is admitted next."""
        order = self.scheduling.order
        if order == "fcfs":
            return self.waiting[0]

        def place(state: State) -> tuple:
            tie = state.request.id if order == "priority" else state.position
            return state.rank, state.request.arrival_s, tie

        return min(self.waiting, key=place)

    def leave(self, state: State) -> None:
        """The request leaves the engine, from wherever it is."""
        (self.running if state in self.running else self.waiting).remove(state)
        self.release(state)

    # An iteration

    def schedule(self, start_s: float) -> Decision:
        """(3) Decide an iteration, which starts at `start_s`."""
        config = self.config
        batching = self.scheduling.batching
        decision = Decision(budget=config.max_num_batched_tokens)
        present = len(self.running) + len(self.waiting)
        threshold = config.long_prefill_token_threshold
        if present <= 1 and config.long_prefill_spares_lone_request:
            threshold = 0
        if threshold > 0 and config.long_prefill_token_threshold_adaptive:
            threshold = max(threshold, config.max_num_batched_tokens // present)
        interval = config.prefill_schedule_interval
        hold = (
            interval > 1
            and not self.capacity_bound
            and self.num_executed + 1 - self.last_prefill < interval
            and any(not state.chunk for state in self.running)
        )

        if batching == "prefill_first":
            self.waiting_pass(decision, start_s, 0, hold)
            if not decision.admitted:
                self.running_pass(decision, start_s, 0, hold)
        else:
            closed = batching == "static" and bool(self.running)
            self.running_pass(decision, start_s, threshold, hold)
            if not decision.preempted and not closed:
                self.waiting_pass(decision, start_s, threshold, hold)

        # (3.3) Prefill cadence.
        self.num_executed += bool(decision.scheduled)
        if interval > 1 and decision.carries_prefill:
            self.last_prefill = self.num_executed
        return decision

    def running_pass(self, decision: Decision, start_s: float, threshold: int, hold: bool) -> None:
        """(3.1) Running requests, in admission order."""
        i = 0
        while i < len(self.running) and decision.budget > 0:
            state = self.running[i]
            n = state.known + state.placeholders - state.computed
            if 0 < threshold < n:
                n = threshold
            n = min(n, decision.budget, self.config.max_model_len - state.computed - 1)
            ending = state.placeholders > 0 and self.ends_by_count(state)
            if ending or (hold and state.chunk) or n == 0:
                i += 1
                continue
            victim = None
            while victim is not state and not self.allocate(state, n):
                victim = self.victim()
                if self.running.index(victim) < i:
                    i -= 1
                self.preempt(victim, start_s)
                decision.preempted.append(victim)
                decision.budget += decision.scheduled.pop(victim, 0)
            if victim is not state:
                decision.scheduled[state] = n
                decision.budget -= n
                i += 1
            elif self.scheduling.order == "fcfs":
                break  # it was the last one
        decision.carries_prefill |= any(state.chunk for state in decision.scheduled)

    def waiting_pass(self, decision: Decision, start_s: float, threshold: int, hold: bool) -> None:
        """(3.2) Waiting requests; the head blocks those behind it."""
        config = self.config
        max_running = config.max_num_active_seqs or config.max_num_seqs
        batching = self.scheduling.batching
        static = batching == "static"
        whole = batching == "prefill_first" or not (config.enable_chunked_prefill or static)
        while self.waiting and len(self.running) < max_running and (decision.budget > 0 or static):
            state = self.head()
            assert state.stale == 0  # with two batches in flight, that is always over by now
            hits: list[Block] = []
            if self.prefix_caching:  # the last token is computed in any case
                hits = self.pool.lookup(state.names[: (state.known - 1) // config.block_size])
            cached = len(hits) * config.block_size
            n = state.known - cached
            if hold and n > 1:
                break
            is_prefill = n > 1
            if 0 < threshold < n:
                n = threshold
            if n > decision.budget and whole:
                break
            n = min(n, decision.budget)
            if not self.may_reserve(state) or (static and not self.fits_batch(state, hits)):
                break
            if not self.allocate(state, n, hits, admission=not static):
                break
            self.waiting.remove(state)
            self.running.append(state)
            state.computed = cached
            if state.admissions_s:
                state.outcome.recomputed_tokens -= min(cached, state.lost_tokens)
            else:
                state.outcome.cached_tokens = cached
            state.admissions_s.append(start_s)
            state.chunk = True  # if it gets nothing yet
            if n > 0:
                decision.scheduled[state] = n
            decision.admitted[state] = cached
            decision.budget -= n
            decision.carries_prefill |= is_prefill and n > 0
        if not hold:
            self.capacity_bound = bool(self.waiting)

    def ends_by_count(self, state: State) -> bool:
        """(3.1.1) Whether the token in flight is the last that `max_tokens` allows."""
        cap = state.request.max_tokens
        if cap is None:
            cap = self.config.max_model_len - state.request.prompt_tokens
        return state.computed + 2 - state.placeholders >= state.request.prompt_tokens + cap

    # Blocks

    def blocks(self, tokens: int) -> int:
        """Blocks of a request with this many computed tokens, over all groups of layers."""
        config = self.config
        seen_tokens = [tokens] * config.kv_groups_full
        seen_tokens += [min(tokens, config.window_tokens)] * config.kv_groups_window
        return sum(ceil(seen / config.block_size) for seen in seen_tokens)

    def may_reserve(self, state: State) -> bool:
        """Whether the request's reservation fits beside those of the running ones."""
        if state.reserve_tokens == 0 or not self.running:
            return True
        reserved = [self.blocks(other.reserve_tokens) for other in (*self.running, state)]
        return sum(reserved) <= self.usable_blocks

    def fits_batch(self, state: State, hits: Sequence[Block]) -> bool:
        """Whether all known tokens fit beside those of the others in a static batch."""
        promised = sum(self.blocks(other.known) - len(other.blocks) for other in self.running)
        spare = len(self.pool.free) - sum(block.references == 0 for block in hits)
        return self.blocks(state.known) - len(hits) + promised <= spare

    def allocate(
        self, state: State, n: int, hits: Sequence[Block] = (), admission: bool = False
    ) -> bool:
        """(4) Take `hits` and what else `n` more tokens need; False if that is not to be had."""
        config = self.config
        spare = len(self.pool.free) - sum(block.references == 0 for block in hits)
        if admission and self.running:  # an empty engine ignores the watermark
            spare -= floor(config.watermark * config.num_gpu_blocks)
        after = state.computed + len(hits) * config.block_size + n
        need = self.blocks(after) - len(state.blocks) - len(hits)
        need_full = self.blocks(state.known) - len(hits)
        if need > spare:
            return False
        if admission and config.scheduler_reserve_full_isl and need_full > spare:
            return False
        state.blocks += self.pool.take(hits, need)
        state.registered += len(hits)
        self.register(state, after)
        return True

    def register(self, state: State, computed: int) -> None:
        """(6) Tell the prefix cache of blocks full of known tokens, `computed` being computed."""
        if not self.prefix_caching:
            return
        full_blocks = min(computed, state.known) // self.config.block_size
        for j in range(state.registered, full_blocks):
            self.pool.register(state.blocks[j], state.names[j])
            state.registered = j + 1

    def release(self, state: State) -> None:
        """Give all blocks of the request back."""
        self.pool.release(state.blocks)
        state.blocks = []
        state.registered = 0

    # Preemption

    def victim(self) -> State:
        """(5) Who is evicted; of equals the first in the list."""
        if self.scheduling.order == "fcfs":
            return self.running[-1]
        return max(self.running, key=lambda state: (state.rank, state.request.arrival_s))

    def preempt(self, state: State, start_s: float) -> None:
        """(5) Evict the request: it goes back to the queue, under fcfs to its head, with C = 0."""
        self.running.remove(state)
        self.release(state)
        # A token in flight still comes, at the end of its iteration.
        state.evictions.append((start_s, len(state.tokens_s) + state.placeholders))
        state.outcome.recomputed_tokens += state.computed
        state.lost_tokens = state.computed
        state.computed = 0
        state.placeholders = 0
        state.stale = state.in_flight
        self.rate(state)
        self.waiting.insert(0, state)
