"""A naive second implementation of vLLM's scheduler, to check the real engine against.

It covers policy fcfs without prefix caching, synchronous and async. It walks every iteration
and every request and shares no code with `simulator.engine`: two implementations that agree are
unlikely to be wrong in the same way. Rules: vLLM 0.33.0, as written down in
../shared/data/vllm_schedules/SPEC.md, whose section numbers stand in brackets below.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import ceil, floor

# Tokens, C after them, and whether the request wanted just this one token: a decode (1).
Chunk = tuple[int, int, bool]


@dataclass(frozen=True)
class EngineConfig:
    """Scheduler options under vLLM's names; block counts include the null block, as vLLM's do."""

    max_num_seqs: int
    max_num_batched_tokens: int
    num_gpu_blocks: int
    max_model_len: int
    block_size: int = 16
    enable_chunked_prefill: bool = True
    watermark: float = 0.0
    scheduler_reserve_full_isl: bool = True
    long_prefill_token_threshold: int = 0
    long_prefill_token_threshold_adaptive: bool = False
    max_num_active_seqs: int | None = None
    prefill_schedule_interval: int = 1
    async_scheduling: bool = False
    # vLLM 0.25 and older apply the threshold to a request that is alone in the engine, too.
    long_prefill_spares_lone_request: bool = True
    # A block holds tokens for one group of layers; some groups see only the last window_tokens.
    window_tokens: int = 0
    kv_groups_full: int = 1
    kv_groups_window: int = 0


@dataclass(frozen=True)
class Request:
    """One request; `output_tokens` counts thinking and answer, `cancel_s` is when it is dropped."""

    id: str
    arrival_s: float
    prompt_tokens: int
    thinking_tokens: int
    output_tokens: int
    max_tokens: int | None = None
    cancel_s: float | None = None


@dataclass
class Outcome:
    """What became of one request. Times that were never reached are None.

    `finish_s` is the end of the last iteration of a completed request, the boundary at which a
    cancelled one left, None for a rejected one. The five latency parts (queue_s to preempted_s)
    are filled in for completed requests only and sum to `finish_s - arrival_s`.
    """

    id: str
    status: str = ""  # in the end: completed, cancelled or rejected
    first_scheduled_s: float | None = None
    first_token_s: float | None = None
    first_answer_s: float | None = None
    finish_s: float | None = None
    num_preemptions: int = 0
    recomputed_tokens: int = 0
    generated_tokens: int = 0
    queue_s: float | None = None
    prefill_s: float | None = None
    thinking_s: float | None = None
    answer_s: float | None = None
    preempted_s: float | None = None
    inter_token_gaps_s: list[float] = field(default_factory=list)


@dataclass
class Step:
    """One iteration; counts are taken after schedule(), `free_blocks_end` after the output."""

    t_s: float
    dt_s: float
    scheduled: dict[str, int]  # id -> tokens, in scheduling order
    admitted: list[str]
    preempted: list[str]
    finished: list[str]
    free_blocks: int
    num_running: int
    num_waiting: int
    free_blocks_end: int
    context_sum: int  # sum of C over the scheduled requests, after the step


class _State:
    """A request inside the engine."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.outcome = Outcome(request.id)
        self.known = request.prompt_tokens  # T
        self.computed = 0  # C
        self.placeholders = 0  # ph: tokens to be sampled by iterations in flight
        self.in_flight = 0  # fly: tokens scheduled in iterations in flight
        self.stale = 0  # of these, tokens scheduled before an eviction
        self.blocks = 0
        self.chunk = False  # still in mid-prefill after the last step it was scheduled in
        self.admissions_s: list[float] = []
        self.evictions: list[tuple[float, int]] = []  # time, tokens emitted before it
        self.tokens_s: list[float] = []  # when each output token was emitted


@dataclass
class _Batch:
    """An iteration handed to the GPU; `step` is None if nothing was scheduled."""

    end_s: float
    scheduled: list[tuple[_State, int, bool]]  # tokens, whether they sample one
    step: Step | None


def at_or_before(time_s: float, boundary_s: float) -> bool:
    """Whether something at `time_s` counts as there at the boundary (1e-9 relative)."""
    return time_s <= boundary_s * (1 + 1e-9) + 1e-12


def simulate(
    config: EngineConfig,
    requests: Iterable[Request],
    iteration_time_s: Callable[[list[Chunk]], float],
) -> tuple[list[Outcome], list[Step]]:
    """Serve `requests` to the end; outcomes in the order given, and every iteration.

    `iteration_time_s` maps the chunks of an iteration, in scheduling order, to seconds. Raises
    RuntimeError if the head of the queue can never be admitted (chunked prefill off and more known
    tokens than the budget).
    """
    engine = ReferenceEngine(config, iteration_time_s)
    states = [_State(request) for request in requests]
    engine.run(states)
    return [state.outcome for state in states], engine.steps


class ReferenceEngine:
    """The engine loop and its state; use `simulate`."""

    def __init__(
        self, config: EngineConfig, iteration_time_s: Callable[[list[Chunk]], float]
    ) -> None:
        self.config = config
        self.iteration_time_s = iteration_time_s
        self.now_s = 0.0
        self.waiting: deque[_State] = deque()
        self.running: list[_State] = []
        self.free_blocks = config.num_gpu_blocks - 1
        self.capacity_bound = False
        self.num_executed = 0
        self.last_prefill = -config.prefill_schedule_interval
        self.steps: list[Step] = []
        self.batches: deque[_Batch] = deque()  # in flight, oldest first

    def run(self, states: list[_State]) -> None:
        """(2) Serve all requests; ties of arrival go by submission order."""
        arrivals: deque[_State] = deque()
        for state in sorted(states, key=lambda state: state.request.arrival_s):
            if self.never_fits(state.request):
                state.outcome.status = "rejected"
            else:
                arrivals.append(state)
        depth = 2 if self.config.async_scheduling else 1
        while arrivals or self.waiting or self.running or self.batches:
            if not self.waiting and not self.running and not self.batches:
                self.now_s = max(self.now_s, arrivals[0].request.arrival_s)
            while arrivals and at_or_before(arrivals[0].request.arrival_s, self.now_s):
                self.waiting.append(arrivals.popleft())
            self.cancel_due()
            if self.waiting or self.running:
                self.dispatch()
                if len(self.batches) < depth:
                    continue
            if self.batches:
                self.process_output()

    def never_fits(self, request: Request) -> bool:
        """Whether the request can become too long for the model or for the whole cache."""
        config = self.config
        longest = config.max_model_len
        if request.max_tokens is not None:
            longest = request.prompt_tokens + request.max_tokens
        return (
            request.prompt_tokens >= config.max_model_len
            or longest > config.max_model_len
            # The last token never gets keys and values.
            or self.blocks(longest - 1) > config.num_gpu_blocks - 1
        )

    def blocks(self, tokens: int) -> int:
        """Blocks of a request with this many computed tokens, over all groups of layers."""
        config = self.config
        seen_tokens = [tokens] * config.kv_groups_full
        seen_tokens += [min(tokens, config.window_tokens)] * config.kv_groups_window
        return sum(ceil(seen / config.block_size) for seen in seen_tokens)

    def cancel_due(self) -> None:
        """Remove the waiting and running requests whose cancellation is due."""
        for state in [*self.waiting, *self.running]:
            cancel_s = state.request.cancel_s
            if cancel_s is not None and at_or_before(cancel_s, self.now_s):
                (self.running if state in self.running else self.waiting).remove(state)
                self.leave(state, "cancelled")

    def dispatch(self) -> None:
        """Schedule an iteration (3) and hand it to the GPU, which runs them back to back (8)."""
        start_s = self.next_start_s()
        scheduled, admitted, preempted = self.schedule()
        if not scheduled:
            # An empty call takes no time and is no step, but has its place among the batches.
            if not self.running and not preempted:
                raise RuntimeError(f"request {self.waiting[0].request.id} can never be admitted")
            self.batches.append(_Batch(start_s, [], None))
            return
        chunks = []
        batch = _Batch(0.0, [], None)
        for state, n in scheduled:
            is_decode = state.known + state.placeholders - state.computed == 1
            state.computed += n
            state.in_flight += n
            state.chunk = state.computed < state.known + state.placeholders
            state.placeholders += not state.chunk
            batch.scheduled.append((state, n, not state.chunk))
            chunks.append((n, state.computed, is_decode))
        dt_s = self.iteration_time_s(chunks)
        batch.step = Step(
            t_s=start_s,
            dt_s=dt_s,
            scheduled={state.request.id: n for state, n in scheduled},
            admitted=[state.request.id for state in admitted],
            preempted=[state.request.id for state in preempted],
            finished=[],
            free_blocks=self.free_blocks,
            num_running=len(self.running),
            num_waiting=len(self.waiting),
            free_blocks_end=0,
            context_sum=sum(context for _, context, _ in chunks),
        )
        batch.end_s = start_s + dt_s
        self.steps.append(batch.step)
        self.batches.append(batch)

    def next_start_s(self) -> float:
        """When the GPU starts an iteration that is scheduled now."""
        return max(self.now_s, self.batches[-1].end_s) if self.batches else self.now_s

    def process_output(self) -> None:
        """Wait for the oldest batch and process its output (7)."""
        batch = self.batches.popleft()
        self.now_s = batch.end_s
        for state, n, samples in batch.scheduled:
            if state.outcome.status:  # it has left meanwhile
                continue
            state.in_flight -= n
            if state.stale:
                state.stale -= n
            else:
                state.placeholders -= samples
            if not samples:
                continue
            state.known += 1
            if state in self.running:
                self.token_known(state)
            state.tokens_s.append(self.now_s)
            emitted = len(state.tokens_s)
            wanted = (state.request.output_tokens, state.request.max_tokens)
            if emitted in wanted or state.known >= self.config.max_model_len:
                (self.running if state in self.running else self.waiting).remove(state)
                self.leave(state, "completed")
                batch.step.finished.append(state.request.id)
        if batch.step is not None:
            batch.step.free_blocks_end = self.free_blocks

    def schedule(self) -> tuple[list[tuple[_State, int]], list[_State], list[_State]]:
        """(3) Decide an iteration: (request, tokens) in order, the admitted, the preempted."""
        config = self.config
        budget = config.max_num_batched_tokens
        present = len(self.running) + len(self.waiting)
        threshold = config.long_prefill_token_threshold
        if present <= 1 and config.long_prefill_spares_lone_request:
            threshold = 0
        if threshold > 0 and config.long_prefill_token_threshold_adaptive:
            threshold = max(threshold, budget // present)
        interval = config.prefill_schedule_interval
        hold = (
            interval > 1
            and not self.capacity_bound
            and self.num_executed + 1 - self.last_prefill < interval
            and any(not state.chunk for state in self.running)
        )
        scheduled: list[tuple[_State, int]] = []
        admitted: list[_State] = []
        preempted: list[_State] = []
        carries_prefill = False

        # (3.1) Running requests, in admission order.
        i = 0
        while i < len(self.running) and budget > 0:
            state = self.running[i]
            i += 1
            if state.placeholders and self.ends_by_count(state):
                continue
            if hold and state.chunk:
                continue
            n = state.known + state.placeholders - state.computed
            if 0 < threshold < n:
                n = threshold
            n = min(n, budget, config.max_model_len - state.computed - 1)
            if n == 0:
                continue
            victim = None
            while victim is not state and not self.allocate(state, n):
                victim = self.preempt_last()
                preempted.append(victim)
            if victim is state:
                break
            scheduled.append((state, n))
            carries_prefill = carries_prefill or state.chunk
            budget -= n

        # (3.2) Waiting requests, unless something was preempted; the head blocks those behind it.
        max_running = config.max_num_active_seqs or config.max_num_seqs
        while not preempted and budget > 0 and self.waiting and len(self.running) < max_running:
            state = self.waiting[0]
            assert state.stale == 0  # with two batches in flight, that is always over by now
            cached = self.cached_tokens(state)
            if hold and cached < state.known - 1:
                break
            n = state.known - cached
            if 0 < threshold < n:
                n = threshold
            if n > budget and not config.enable_chunked_prefill:
                break
            n = min(n, budget)
            if not self.allocate(state, n, admission=True):
                break
            self.running.append(self.waiting.popleft())
            state.computed = cached
            state.admissions_s.append(self.next_start_s())
            scheduled.append((state, n))
            admitted.append(state)
            carries_prefill = carries_prefill or cached < state.known - 1
            budget -= n
        if not preempted and not hold:
            self.capacity_bound = bool(self.waiting)

        # (3.3) Prefill cadence.
        self.num_executed += bool(scheduled)
        if interval > 1 and carries_prefill:
            self.last_prefill = self.num_executed
        return scheduled, admitted, preempted

    def ends_by_count(self, state: _State) -> bool:
        """(3.1.1) Whether the token in flight is the last that `max_tokens` allows."""
        cap = state.request.max_tokens
        if cap is None:
            cap = self.config.max_model_len - state.request.prompt_tokens
        return state.computed + 2 - state.placeholders >= state.request.prompt_tokens + cap

    def cached_tokens(self, state: _State) -> int:
        """(6) Known tokens of a waiting request that need not be computed: none without a cache."""
        return 0

    def token_known(self, state: _State) -> None:
        """(8) The token that a running request was scheduled for has arrived."""

    def allocate(self, state: _State, n: int, admission: bool = False) -> bool:
        """(4) Take the blocks that `n` more tokens of the request need; False if there are none."""
        config = self.config
        spare = self.free_blocks
        if admission and self.running:  # an empty engine ignores the watermark
            spare -= floor(config.watermark * config.num_gpu_blocks)
        need = self.blocks(state.computed + n) - state.blocks
        need_full = self.blocks(state.known)
        if need > spare:
            return False
        if admission and config.scheduler_reserve_full_isl and need_full > spare:
            return False
        state.blocks += need
        self.free_blocks -= need
        return True

    def preempt_last(self) -> _State:
        """(5) Evict the request admitted last; it goes to the head of the queue, C = 0."""
        state = self.running.pop()
        self.release(state)
        # A token in flight still comes, at the end of its iteration.
        emitted = len(state.tokens_s) + state.placeholders
        state.evictions.append((self.next_start_s(), emitted))
        state.outcome.recomputed_tokens += state.computed
        state.computed = 0
        state.placeholders = 0
        state.stale = state.in_flight
        self.waiting.appendleft(state)
        return state

    def release(self, state: _State) -> None:
        """Give all blocks of the request back."""
        self.free_blocks += state.blocks
        state.blocks = 0

    def leave(self, state: _State, status: str) -> None:
        """The request leaves the engine now: free its blocks and fill in its outcome."""
        self.release(state)
        outcome, tokens_s = state.outcome, state.tokens_s
        outcome.status = status
        outcome.finish_s = self.now_s
        outcome.num_preemptions = len(state.evictions)
        outcome.generated_tokens = len(tokens_s)
        outcome.inter_token_gaps_s = [tokens_s[j + 1] - t for j, t in enumerate(tokens_s[:-1])]
        if state.admissions_s:
            outcome.first_scheduled_s = state.admissions_s[0]
        if tokens_s:
            outcome.first_token_s = tokens_s[0]
        if len(tokens_s) > state.request.thinking_tokens:
            outcome.first_answer_s = tokens_s[state.request.thinking_tokens]
        if status == "completed":
            fill_latency_parts(state)


def fill_latency_parts(state: _State) -> None:
    """Split a completed request's latency into queue, prefill, thinking, answer and preempted."""
    outcome, tokens_s = state.outcome, state.tokens_s
    thinking_tokens = state.request.thinking_tokens
    lost_s = {"prefill": 0.0, "thinking": 0.0, "answer": 0.0}
    counted = set()
    for j, (evicted_s, emitted) in enumerate(state.evictions):
        if emitted == 0:  # lost until readmitted: eviction j is followed by admission j + 1
            lost_s["prefill"] += state.admissions_s[j + 1] - evicted_s
        # Lost until the next token, if one comes, however often evicted before it.
        elif emitted not in counted and emitted < len(tokens_s):
            part = "thinking" if emitted + 1 <= thinking_tokens + 1 else "answer"
            lost_s[part] += tokens_s[emitted] - evicted_s
        counted.add(emitted)
    # A request cut off while thinking spends all its time after the first token thinking.
    answer_start_s = outcome.finish_s if outcome.first_answer_s is None else outcome.first_answer_s
    outcome.queue_s = outcome.first_scheduled_s - state.request.arrival_s
    outcome.prefill_s = outcome.first_token_s - outcome.first_scheduled_s - lost_s["prefill"]
    outcome.thinking_s = answer_start_s - outcome.first_token_s - lost_s["thinking"]
    outcome.answer_s = outcome.finish_s - answer_start_s - lost_s["answer"]
    outcome.preempted_s = sum(lost_s.values())
