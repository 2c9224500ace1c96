"""All that a replica remembers between two events, in one record and a few small arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from simulator.cost.iteration_time import CostTable
from simulator.engine.addresses import ADDRESS_FIELDS
from simulator.engine.cache_pool import new_pool
from simulator.engine.config import EngineConfig
from simulator.engine.content import PATH, ContentPaths
from simulator.engine.extents import CACHE_FIELDS
from simulator.engine.itl import NUM_BINS, SLICES
from simulator.engine.request import NONE
from simulator.engine.samples import MAX_SAMPLES, SAMPLE

# What the replica is doing.
IDLE, BOUNDARY, IN_SPAN = range(3)

# How far the decision at a boundary has come.
OPEN, ASKED, PROMPTS_PASS, RUNNING_PASS, WAITING_PASS, DECIDED = range(6)

# What the kernel must be told before it can go on (`kernel.advance` answers it negated).
ASK_EVENTS, ASK_VICTIM, ASK_RANKS, ASK_ROOM = 201, 202, 203, 204

# What a scheduler wants to be asked, or to hear of (`STATE.asks`).
ON_FINISH, ON_REVIEW, ON_DISPLACE, ON_ADMISSION, ON_EVICTION, ON_SELECT = 1, 2, 4, 8, 16, 32

# Who is preempted: the last admitted, the one of the highest rank, or whom the scheduler names.
VICTIM_LAST, VICTIM_WORST, VICTIM_TOLD = range(3)

# How iterations are formed, and what becomes of the KV of a preempted request: their names are
# those of `EngineConfig`.
BATCHING = ("chunked_prefill", "prefill_first", "static")
CHUNKED_PREFILL, PREFILL_FIRST, STATIC = range(3)
PREEMPTION = ("recompute", "swap", "checkpoint")
RECOMPUTE, SWAP, CHECKPOINT = range(3)

STATE = np.dtype(
    [
        *ADDRESS_FIELDS,
        # --- options, constant over a run (EngineConfig, CostTable)
        ("max_num_batched_tokens", "i8"),
        ("seat_limit", "i8"),
        ("block_size", "i8"),
        ("kv_groups_full", "i8"),
        ("kv_groups_window", "i8"),
        ("window_tokens", "i8"),  # 0: no layer has a sliding window
        ("usable_blocks", "i8"),
        ("max_model_len", "i8"),
        ("watermark_blocks", "i8"),
        ("long_threshold", "i8"),
        ("prefill_interval", "i8"),
        ("chunked", "i1"),
        ("reserve_full_isl", "i1"),
        ("long_adaptive", "i1"),
        ("long_spares_lone", "i1"),
        ("single_step", "i1"),
        ("lag", "i8"),  # iterations in flight when the next one is decided: 1 async, 0 sync
        ("prefix_caching", "i1"),
        ("ranked", "i1"),  # the waiting queue is ordered by rank, not by arrival
        ("victim_rule", "i1"),
        ("batching", "i1"),
        ("preemption", "i1"),
        ("reviews_phase", "i1"),  # the end of thinking is a review
        ("asks", "i8"),
        (
            "checkpoint_tokens",
            "i8",
        ),  # KV goes to the host in such chunks; 0: it does not
        ("host_token_s", "f8"),  # to move the KV of one token between GPU and host
        ("kv_compression", "i1"),
        ("kv_budget_tokens", "i8"),  # of a request, or 0: the part `kv_budget_frac` of its tokens
        ("kv_budget_frac", "f8"),
        ("compression_interval", "i8"),
        ("compression_token_s", "f8"),
        ("prefill_fixed_s", "f8"),
        ("prefill_token_s", "f8"),
        ("prefill_context_s", "f8"),
        ("prefill_pair_s", "f8"),
        ("prefill_seen_s", "f8"),
        ("prefill_window_pair_s", "f8"),
        # --- scheduler
        ("phase", "i8"),
        ("now_s", "f8"),  # the last boundary, at which a decision is made
        ("n", "i8"),  # iterations scheduled so far, without those of the span under way
        ("free_blocks", "i8"),
        ("num_running", "i8"),
        ("num_waiting", "i8"),
        ("waiting_tokens", "i8"),  # known tokens of waiting requests whose KV is not on the GPU
        ("wait_head", "i8"),
        ("wait_tail", "i8"),
        ("heap_root", "i8"),
        ("num_parked", "i8"),  # waiting, but with their KV
        ("parked_blocks", "i8"),
        ("reserved_blocks", "i8"),  # what admissions of running requests made sure of
        ("host_tokens_left", "i8"),  # room for KV in host memory
        ("transfer_s", "f8"),  # that moving and compressing KV takes, spent by the next iteration
        ("next_review_n", "i8"),  # earliest review_n of decoding requests; -1 = unknown
        ("next_review_s", "f8"),
        (
            "event",
            "i1",
        ),  # since the scheduler was last asked, somebody came: 1; left, or was put off: 2
        ("denied", "i8"),  # the first of the queue, if nobody makes way for it, and nobody has left
        ("num_decodes", "i8"),
        ("num_stalled", "i8"),
        ("num_ending", "i8"),  # running, but their last token is in flight
        ("num_measured", "i8"),  # decoding requests whose gaps are counted
        ("decode_context", "i8"),  # sum of computed tokens of decoding requests
        ("num_below", "i8"),  # decoding requests with fewer computed tokens than the window
        ("window_context", "i8"),  # sum of min(computed tokens, window) of decoding requests
        ("next_limit_n", "i8"),  # earliest limit_n / answer_n of decoding requests; -1 = unknown
        ("next_answer_n", "i8"),
        ("next_knee_n", "i8"),  # ... at which one below the window reaches it
        ("last_prefill_n", "i8"),
        ("capacity_bound", "i1"),
        ("num_cancelled", "i8"),  # cancels waiting for the boundary
        # --- the iteration in flight at the last boundary (async)
        ("flight_end_s", "f8"),
        ("flight_gap_s", "f8"),  # its duration
        ("flight_tokens", "i8"),  # output tokens it brings, those on the late list excepted
        ("flight_measured", "i8"),  # ... whose gap is its duration, and is counted
        ("flight_prefill_tokens", "i8"),
        ("flight_context", "i8"),
        ("flight_iterations", "i8"),  # 1, or 0 if nothing is in flight
        ("num_late", "i8"),  # requests on the late list: their token's gap is another one
        ("num_late_gaps", "i8"),  # bins on the late list, of gaps that end with the iteration
        # --- the span under way: iterations 1..k of durations a, a + b, a + 2b, ...
        ("start_s", "f8"),  # when iteration 1 starts on the GPU
        ("k", "i8"),
        ("a_s", "f8"),
        ("b_s", "f8"),
        ("pure", "i1"),  # every running request decodes one token
        ("mixed_context", "i8"),  # context that its one iteration reads, if it is not pure
        ("empty", "i1"),  # nothing is scheduled: one step of no duration, which is not counted
        # ... and the decision that it came from, which can stop in the middle to ask
        ("stage", "i8"),
        ("position", "i8"),
        ("victim", "i8"),  # the answer to ASK_VICTIM, a place in the running list
        ("threshold", "i8"),
        ("held", "i1"),
        ("short", "i1"),  # somebody was preempted: nobody is admitted
        ("may_admit", "i1"),
        ("budget_left", "i8"),
        ("num_admitted", "i8"),
        ("num_evicted", "i8"),
        ("num_finished", "i8"),
        # --- totals
        ("output_tokens", "i8"),
        ("prefill_tokens", "i8"),  # prompt tokens computed, recomputed ones included
        ("iterations", "i8"),
        ("context_tokens_read", "f8"),  # summed context of every request of every iteration
        ("preemptions", "i8"),
        ("departed", "i8"),  # completed and cancelled
        ("spans", "i8"),
        ("busy_s", "f8"),
        ("peak_blocks", "i8"),
        *CACHE_FIELDS,
        ("prefix_query_tokens", "i8"),  # known tokens of admitted requests, and of these
        ("prefix_hit_tokens", "i8"),  # ... found in the prefix cache
        # --- sampling
        ("next_sample_s", "f8"),  # the earlier of the next grid point and the next mark
        ("grid_s", "f8"),
        ("itl_start_s", "f8"),
        ("itl_length_s", "f8"),
        ("num_samples", "i8"),
        ("num_marks", "i8"),  # marks passed so far
    ],
    align=True,
)

# Places in ReplicaArrays.kv
KV_POOL, KV_PATHS, KV_START, KV_SHARED = range(4)

# Rows of ReplicaArrays.lists
ROW_RUNNING, ROW_TOKENS, ROW_EVICTED, ROW_FINISHED, ROW_LATE = range(5)

# Rows of ReplicaArrays.seq_s
ROW_SEQ, ROW_FIXED, ROW_CONTEXT, ROW_WINDOW, ROW_MIXED, ROW_FLOOR = range(6)


@dataclass(frozen=True)
class ReplicaArrays:
    """The arrays of a replica, which `state` has the addresses of."""

    state: np.ndarray  # STATE[1]
    lists: np.ndarray  # int64[5, seats + 1]: running, their tokens, evicted, finished, late
    phases: np.ndarray  # int64[block_size]: blocks that decodes take at iteration n, by n mod size
    kv: tuple[np.ndarray, ...]  # of the prefix cache: its pool, and the paths of all requests
    token_s: np.ndarray  # CostTable.token_s
    seq_s: np.ndarray  # float64[6, seats + 1]: rows of CostTable, see ROW_SEQ and the following
    itl: np.ndarray  # int64[SLICES + 1, bins]: histogram of gaps between consecutive tokens
    samples: np.ndarray  # SAMPLE[MAX_SAMPLES]
    marks: np.ndarray  # SAMPLE[number of marks], t_s preset

    def __post_init__(self) -> None:
        s = self.state[0]
        pool, paths, path_start, shared_blocks = self.kv
        for name, array in (
            ("lists", self.lists),
            ("phases", self.phases),
            ("pool", pool),
            ("paths", paths),
            ("path_start", path_start),
            ("shared_blocks", shared_blocks),
            ("token_s", self.token_s),
            ("seq_s", self.seq_s),
            ("itl", self.itl),
            ("samples", self.samples),
            ("marks", self.marks),
        ):
            assert array.flags.c_contiguous
            s[f"{name}_at"] = array.ctypes.data
            if f"{name}_length" in (STATE.names or ()):
                s[f"{name}_length"] = array.shape[-1]

    def with_pool(self, pool: np.ndarray) -> ReplicaArrays:
        """The same arrays, but for the records of the prefix cache."""
        return replace(self, kv=(pool, *self.kv[1:]))


def allocate(
    config: EngineConfig,
    cost: CostTable,
    sample_interval_s: float,
    marks_s: tuple[float, ...],
    itl_span_s: tuple[float, float],
    itl: np.ndarray | None = None,
    state: np.ndarray | None = None,
    phases: np.ndarray | None = None,
    paths: ContentPaths | None = None,
) -> ReplicaArrays:
    """Fresh arrays of an idle, empty replica at time 0.

    `marks_s`: increasing times at which the counters are noted exactly (the window's edges).
    `itl_span_s`: start and end of the time that the rows of the gap histogram divide up; `itl`: a
    histogram to count in, of another replica. `state`, `phases`: STATE[1] and int64[block_size],
    zeros, to keep these in.
    `paths`: what requests share, for the prefix cache; it needs to be there only with one.
    """
    seats = config.seat_limit
    if state is None:
        state = np.zeros(1, dtype=STATE)
    if phases is None:
        phases = np.zeros(config.block_size, dtype=np.int64)
    s = state[0]
    for field in ("max_num_batched_tokens", "block_size", "usable_blocks", "max_model_len"):
        s[field] = getattr(config, field)
    s["seat_limit"] = config.seat_limit
    s["watermark_blocks"] = config.watermark_blocks
    s["long_threshold"] = config.long_prefill_token_threshold
    s["long_adaptive"] = config.long_prefill_token_threshold_adaptive
    s["long_spares_lone"] = config.long_prefill_spares_lone_request
    s["prefill_interval"] = config.prefill_schedule_interval
    s["chunked"] = config.enable_chunked_prefill
    s["reserve_full_isl"] = config.scheduler_reserve_full_isl
    s["single_step"] = config.stepping == "iteration"
    s["lag"] = config.async_scheduling
    s["prefill_fixed_s"], s["prefill_token_s"] = cost.prefill_s[0], cost.prefill_s[1]
    s["prefill_context_s"], s["prefill_pair_s"] = cost.prefill_s[2], cost.prefill_s[3]
    s["prefill_seen_s"], s["prefill_window_pair_s"] = cost.prefill_s[4], cost.prefill_s[5]
    s["kv_groups_full"] = config.kv_groups_full
    s["kv_groups_window"] = config.kv_groups_window
    s["window_tokens"] = _window_tokens(config, cost)
    s["free_blocks"] = config.usable_blocks
    s["prefix_caching"] = config.enable_prefix_caching
    s["batching"] = BATCHING.index(config.batching)
    s["preemption"] = PREEMPTION.index(config.preemption)
    s["checkpoint_tokens"] = config.checkpoint_tokens if config.preemption == "checkpoint" else 0
    s["host_tokens_left"] = config.host_kv_tokens
    s["host_token_s"] = config.host_token_s
    s["kv_compression"] = config.kv_budget_tokens > 0 or config.kv_budget_frac > 0.0
    s["kv_budget_tokens"] = config.kv_budget_tokens
    s["kv_budget_frac"] = config.kv_budget_frac
    s["compression_interval"] = config.kv_compression_interval
    s["compression_token_s"] = config.kv_compression_token_s
    s["wait_head"] = s["wait_tail"] = s["heap_root"] = s["victim"] = s["denied"] = NONE
    s["next_limit_n"] = s["next_answer_n"] = s["next_knee_n"] = s["next_review_n"] = -1
    s["next_review_s"] = np.inf
    s["last_prefill_n"] = -config.prefill_schedule_interval
    s["grid_s"] = sample_interval_s
    s["itl_start_s"], s["itl_length_s"] = itl_span_s[0], itl_span_s[1] - itl_span_s[0]
    marks = np.zeros(len(marks_s), dtype=SAMPLE)
    marks["t_s"] = marks_s
    return ReplicaArrays(
        state=state,
        lists=np.full((5, seats + 1), NONE, dtype=np.int64),
        phases=phases,
        kv=_prefix_cache(s, paths if config.enable_prefix_caching else None),
        token_s=np.ascontiguousarray(cost.token_s, dtype=np.float64),
        seq_s=cost.by_requests_s,
        itl=np.zeros((SLICES + 1, NUM_BINS), dtype=np.int64) if itl is None else itl,
        samples=np.zeros(MAX_SAMPLES, dtype=SAMPLE),
        marks=marks,
    )


def _prefix_cache(s: np.void, paths: ContentPaths | None) -> tuple[np.ndarray, ...]:
    """An empty prefix cache; without `paths`, one of the same types."""
    pool = new_pool(s)
    if paths is None:
        empty = np.zeros(0, dtype=np.int64)
        return pool, np.zeros(0, dtype=PATH), empty, empty
    return pool, paths.table, paths.start, paths.shared_blocks


def _window_tokens(config: EngineConfig, cost: CostTable) -> int:
    """The sliding window, which blocks and costs must agree on; either may know of none."""
    if config.window_tokens and cost.window_tokens not in (0, config.window_tokens):
        raise ValueError(
            f"a window of {config.window_tokens} tokens in the KV cache, "
            f"of {cost.window_tokens} in the cost table"
        )
    return config.window_tokens or cost.window_tokens
