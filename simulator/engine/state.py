"""All that a replica remembers between two events, in one record and a few small arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.cost.iteration_time import CostTable
from simulator.engine.config import EngineConfig
from simulator.engine.itl import NUM_BINS, SLICES
from simulator.engine.jit import Array
from simulator.engine.request import NONE

# What the replica is doing.
IDLE, BOUNDARY, IN_SPAN = range(3)

STATE = np.dtype(
    [
        # --- options, constant over a run (EngineConfig, CostTable)
        ("max_num_batched_tokens", "i8"),
        ("seat_limit", "i8"),
        ("block_size", "i8"),
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
        ("prefill_fixed_s", "f8"),
        ("prefill_token_s", "f8"),
        ("prefill_context_s", "f8"),
        ("prefill_pair_s", "f8"),
        # --- scheduler
        ("phase", "i8"),
        ("now_s", "f8"),  # the last iteration boundary
        ("n", "i8"),  # iterations run so far
        ("free_blocks", "i8"),
        ("num_running", "i8"),
        ("num_waiting", "i8"),
        ("wait_head", "i8"),
        ("wait_tail", "i8"),
        ("num_decodes", "i8"),
        ("num_stalled", "i8"),
        ("num_measured", "i8"),  # decoding requests whose gaps are counted
        ("decode_context", "i8"),  # sum of computed tokens of decoding requests
        ("next_finish_n", "i8"),  # earliest finish_n / answer_n of decoding requests; -1 = unknown
        ("next_answer_n", "i8"),
        ("last_prefill_n", "i8"),
        ("capacity_bound", "i1"),
        ("num_cancelled", "i8"),  # cancels waiting for the boundary
        # --- the span under way: iterations 1..k of durations a, a + b, a + 2b, ...
        ("k", "i8"),
        ("a_s", "f8"),
        ("b_s", "f8"),
        ("pure", "i1"),  # every running request decodes one token
        ("budget_left", "i8"),
        ("num_admitted", "i8"),
        ("num_evicted", "i8"),
        ("num_finished", "i8"),
        # --- totals
        ("output_tokens", "i8"),
        ("prefill_tokens", "i8"),  # prompt tokens computed, recomputed ones included
        ("preemptions", "i8"),
        ("departed", "i8"),  # completed and cancelled
        ("spans", "i8"),
        ("busy_s", "f8"),
        ("peak_blocks", "i8"),
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

SAMPLE = np.dtype(
    [
        ("t_s", "f8"),
        ("running", "i8"),
        ("waiting", "i8"),
        ("kv_used_blocks", "i8"),
        ("output_tokens", "i8"),
        ("prefill_tokens", "i8"),
        ("preemptions", "i8"),
        ("iterations", "i8"),
    ],
    align=True,
)

KernelArrays = tuple[Array, Array, Array, Array, Array, Array, Array, Array]

MAX_SAMPLES = 4096

# Rows of ReplicaArrays.lists
ROW_RUNNING, ROW_TOKENS, ROW_EVICTED, ROW_FINISHED = range(4)


@dataclass
class ReplicaArrays:
    """The arrays a kernel needs, in the order the kernels take them (after the request table)."""

    state: np.ndarray  # STATE[1]
    lists: np.ndarray  # int64[4, seats]: running, their tokens this iteration, evicted, finished
    phases: np.ndarray  # int64[block_size]: decodes that need a block at iteration n, by n mod size
    token_s: np.ndarray  # CostTable.token_s
    seq_s: np.ndarray  # float64[3, seats + 1]: seq_s, decode_fixed_s, decode_context_s
    itl: np.ndarray  # int64[SLICES + 1, bins]: histogram of gaps between consecutive tokens
    samples: np.ndarray  # SAMPLE[MAX_SAMPLES]
    marks: np.ndarray  # SAMPLE[number of marks], t_s preset

    def arguments(self) -> KernelArrays:
        """The arrays as the kernels' positional arguments."""
        return (
            self.state,
            self.lists,
            self.phases,
            self.token_s,
            self.seq_s,
            self.itl,
            self.samples,
            self.marks,
        )


def allocate(
    config: EngineConfig,
    cost: CostTable,
    sample_interval_s: float,
    marks_s: tuple[float, ...],
    itl_span_s: tuple[float, float],
    itl: np.ndarray | None = None,
) -> ReplicaArrays:
    """Fresh arrays of an idle, empty replica at time 0.

    `marks_s`: increasing times at which the counters are noted exactly (the window's edges).
    `itl_span_s`: start and end of the time that the rows of the gap histogram divide up; `itl`: a
    histogram to count in, of another replica.
    """
    seats = config.seat_limit
    state = np.zeros(1, dtype=STATE)
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
    s["prefill_fixed_s"], s["prefill_token_s"] = cost.prefill_s[0], cost.prefill_s[1]
    s["prefill_context_s"], s["prefill_pair_s"] = cost.prefill_s[2], cost.prefill_s[3]
    s["free_blocks"] = config.usable_blocks
    s["wait_head"] = s["wait_tail"] = NONE
    s["next_finish_n"] = s["next_answer_n"] = -1
    s["last_prefill_n"] = -config.prefill_schedule_interval
    s["grid_s"] = sample_interval_s
    s["itl_start_s"], s["itl_length_s"] = itl_span_s[0], itl_span_s[1] - itl_span_s[0]
    marks = np.zeros(len(marks_s), dtype=SAMPLE)
    marks["t_s"] = marks_s
    return ReplicaArrays(
        state=state,
        lists=np.full((4, seats + 1), NONE, dtype=np.int64),
        phases=np.zeros(config.block_size, dtype=np.int64),
        token_s=np.ascontiguousarray(cost.token_s, dtype=np.float64),
        seq_s=np.ascontiguousarray(
            np.stack([cost.seq_s, cost.decode_fixed_s, cost.decode_context_s]), dtype=np.float64
        ),
        itl=np.zeros((SLICES + 1, NUM_BINS), dtype=np.int64) if itl is None else itl,
        samples=np.zeros(MAX_SAMPLES, dtype=SAMPLE),
        marks=marks,
    )
