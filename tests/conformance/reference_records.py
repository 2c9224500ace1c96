"""What the reference engine is given, and what it says: configuration, requests, results.

Numbers in brackets are sections of ../shared/data/vllm_schedules/SPEC.md.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field

from .reference_blocks import Block

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
    """One request; `output_tokens` counts thinking and answer, `cancel_s` is when it is dropped.

    `priority`: smaller first (9). `tokens` names each token of prompt and output, for the prefix
    cache: two tokens are the same if their names are equal. None: nobody else has any of them.
    """

    id: str
    arrival_s: float
    prompt_tokens: int
    thinking_tokens: int
    output_tokens: int
    max_tokens: int | None = None
    cancel_s: float | None = None
    priority: float = 0
    tokens: Sequence[Hashable] | None = None


def token_names(
    prompt: Iterable[tuple[Hashable, int]],
    generated: Iterable[tuple[Hashable | None, int]],
) -> list[Hashable]:
    """`Request.tokens` of a prompt and an output made of (segment, tokens).

    A token is its segment and its offset in it. In a prompt, a segment starts at its offset 0. A
    generated one goes on where it last ended in the same request. None: a segment of nobody else.
    """
    names: list[Hashable] = []
    end: dict[Hashable, int] = {}
    for segment, tokens in prompt:
        names += [(segment, offset) for offset in range(tokens)]
        end[segment] = tokens
    for segment, tokens in generated:
        if segment is None:
            segment = object()
        start = end.get(segment, 0)
        names += [(segment, offset) for offset in range(start, start + tokens)]
        end[segment] = start + tokens
    return names


@dataclass
class Outcome:
    """What became of one request. Times that were never reached are None.

    `finish_s` is the end of the last iteration of a completed request, the boundary at which a
    cancelled one left, None for a rejected one. The five latency parts (queue_s to preempted_s)
    are filled in for completed requests only and sum to `finish_s - arrival_s`.
    `recomputed_tokens`: those computed when it was evicted, less those of them that the prefix
    cache still had when it was resumed. `cached_tokens`: found there at its first admission.
    """

    id: str
    status: str = ""  # in the end: completed, cancelled or rejected
    first_scheduled_s: float | None = None
    first_token_s: float | None = None
    first_answer_s: float | None = None
    finish_s: float | None = None
    num_preemptions: int = 0
    recomputed_tokens: int = 0
    cached_tokens: int = 0
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

    sched_s: float  # when it was decided
    t_s: float
    dt_s: float
    scheduled: dict[str, int]  # id -> tokens, in scheduling order
    admitted: dict[str, int]  # id -> tokens found in the prefix cache
    preempted: list[str]
    finished: list[str]
    free_blocks: int
    num_running: int
    num_waiting: int
    free_blocks_end: int
    context_sum: int  # sum of C over the scheduled requests, after the step


class State:
    """A request inside the engine; what the functions of a `Scheduling` are given."""

    def __init__(self, request: Request, position: int) -> None:
        self.request = request
        self.position = position  # in the list of requests
        self.outcome = Outcome(request.id)
        self.known = request.prompt_tokens  # T
        self.computed = 0  # C
        self.placeholders = 0  # ph: tokens to be sampled by iterations in flight
        self.in_flight = 0  # fly: tokens scheduled in iterations in flight
        self.stale = 0  # of these, tokens scheduled before an eviction
        self.chunk = False  # still in mid-prefill after the last step it was scheduled in
        self.blocks: list[Block] = []
        self.names: Sequence[int] = ()  # of its full blocks to the end of its output
        self.registered = 0  # of its blocks, how many the prefix cache knows
        self.rank = 0.0  # lowest first
        self.reserve_tokens = 0
        self.admissions_s: list[float] = []
        self.evictions: list[tuple[float, int]] = []  # time, tokens emitted before it
        self.lost_tokens = 0  # computed at the last eviction
        self.tokens_s: list[float] = []  # when each output token was emitted


def fill_outcome(state: State, status: str, now_s: float) -> None:
    """Write down what became of a request that leaves the engine now."""
    outcome, tokens_s = state.outcome, state.tokens_s
    outcome.status = status
    outcome.finish_s = now_s
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


def fill_latency_parts(state: State) -> None:
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
