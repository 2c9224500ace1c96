"""What one run leaves behind: the only thing metrics, tables, plots and exports read."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from simulator.expected_error import ExpectedError
from simulator.labels import PoolLabel
from simulator.metrics.efficiency import PoolUse

STATUSES = ("completed", "rejected", "cancelled", "unfinished")

# The parts of a request's life, in the order they are drawn; they sum to finish_s - arrival_s.
LATENCY_PARTS = ("queue_s", "prefill_s", "thinking_s", "answer_s", "preempted_s")

REQUEST_COLUMNS = (
    "request_id",
    "query_id",
    "query_requests",
    "class",
    "client",
    "session_id",
    "turn",
    "difficulty",
    "arrival_s",
    "prompt_tokens",
    "thinking_tokens",
    "answer_tokens",
    "max_tokens",
    "status",
    "finish_reason",
    "reason",
    "pool",
    "replica",
    "first_scheduled_s",
    "first_token_s",
    "first_answer_s",
    "finish_s",
    *LATENCY_PARTS,
    "generated_tokens",
    "preemptions",
    "recomputed_tokens",
    "cached_tokens",
    "alone_s",
    "measured",
)

TIMELINE_COLUMNS = (
    "t_s",
    "pool",
    "replica",
    "running",
    "waiting",
    "kv_used_blocks",
    "kv_used_frac",
    "output_tokens",
    "prefill_tokens",
    "preemptions",
    "iterations",
)


@dataclass(frozen=True)
class PoolRecord(PoolLabel):
    """A pool and what its replicas did.

    `kv_blocks` counts the usable KV blocks of one replica (without a null block), of `block_size`
    tokens; `peak_kv_blocks` is the most that were in use at once on any one of them.
    `window_output_tokens` are tokens emitted inside the measuring window; `use` is what its GPUs
    did in it, None where the costs of its iterations were not given.
    """

    replicas: int
    kv_blocks: int
    block_size: int
    peak_kv_blocks: int
    window_output_tokens: int
    use: PoolUse | None = None

    @property
    def kv_usage_peak(self) -> float | None:
        """The largest part of a replica's KV cache that was in use at once."""
        return self.peak_kv_blocks / self.kv_blocks if self.kv_blocks else None


@dataclass(frozen=True)
class RunRecord:
    """Everything recorded in one run, in simulated seconds from the start of the run.

    `requests` has one row per request in order of arrival, with `REQUEST_COLUMNS`:

    - `query_id`, the `request_id` of the first request of its query, which has `query_requests` in
      all (where there are `replies`: its number there, and how many it sent); `class`, `client`,
      names;
      `session_id` (-1: none) and `turn`, its place in the session; `difficulty` (NaN: unknown);
    - lengths in tokens: `prompt_tokens`, the `thinking_tokens` and `answer_tokens` it would emit
      if nothing cut it, `max_tokens` (cap on thinking + answer, 0 = none), and
      `generated_tokens`, what it really emitted;
    - `status`, one of `STATUSES`; `finish_reason` "stop", "length" or "" (not completed);
      `reason`, the text given for a rejection;
    - times `arrival_s`, `first_scheduled_s`, `first_token_s` (of any kind), `first_answer_s`,
      `finish_s`: NaN where the request never got there;
    - `LATENCY_PARTS`, seconds, which sum to `finish_s - arrival_s` for a completed request;
    - `pool` (null: none) and `replica` (-1: none), `preemptions`, `recomputed_tokens`,
      `cached_tokens` (of its prompt, found in the prefix cache at its first admission), `alone_s`
      (seconds it would have taken on an empty replica of its pool; NaN unless it completed), and
      `measured`: the first request of its query arrived inside the measuring window.

    `timeline` has one row per replica and grid time, with `TIMELINE_COLUMNS`; token, preemption
    and iteration columns are cumulative counts, `kv_used_frac` is of the replica's own blocks.

    `itl_counts[i]` counts the gaps between consecutive tokens of measured requests that lie in
    `[itl_edges_s[i], itl_edges_s[i + 1])`; the edges are positive and log-spaced, one more than
    the bins. `itl_batch_counts`, if recorded, is the same histogram cut into consecutive slices
    of time, shape `[slices, bins]`; it is what confidence intervals of itl percentiles need.

    `window_output_tokens` and `window_prompt_tokens` are tokens emitted inside the window
    `[window_s[0], window_s[1])` and prompt tokens of requests completed inside it.
    `prefix_query_tokens` were looked up in prefix caches at admissions, `prefix_hit_tokens` found.
    `slo` are the latency targets, `class_slo` those of classes that have their own, in seconds;
    `class_value_usd` what a correct answer of a class is worth. `demand_rps` is what sessions bring
    in the long run, None where requests wait for none.
    `expected_error` is what the residuals of the GPU profile's fits say.
    `closed_loop`: its clients sent a request only when they had been answered.
    `replies`: the queries that strategies answered (`metrics.replies.reply_table`); None if each is
    what its requests are.
    `wall_s` is the event loop's wall time: it never enters a deterministic file.
    """

    requests: pd.DataFrame
    itl_edges_s: np.ndarray
    itl_counts: np.ndarray
    timeline: pd.DataFrame
    window_s: tuple[float, float]
    window_output_tokens: int
    window_prompt_tokens: int
    end_s: float
    pools: tuple[PoolRecord, ...]
    iterations: int
    spans: int
    wall_s: float
    notes: list[str] = field(default_factory=list)
    capacity_rps: float | None = None
    seed: int = 0
    name: str = ""
    slo: dict[str, float] = field(default_factory=dict)
    class_slo: dict[str, dict[str, float]] = field(default_factory=dict)
    class_value_usd: dict[str, float] = field(default_factory=dict)
    demand_rps: float | None = None
    itl_batch_counts: np.ndarray | None = None
    closed_loop: bool = False
    prefix_query_tokens: int = 0
    prefix_hit_tokens: int = 0
    expected_error: ExpectedError = field(default_factory=ExpectedError)
    replies: pd.DataFrame | None = None

    @property
    def replicas(self) -> int:
        """Replicas of all pools."""
        return sum(pool.replicas for pool in self.pools)

    @property
    def num_gpus(self) -> int:
        """GPUs of all pools."""
        return sum(pool.num_gpus for pool in self.pools)

    @property
    def window_length_s(self) -> float:
        """Seconds in the measuring window."""
        return self.window_s[1] - self.window_s[0]

    @property
    def measured(self) -> pd.DataFrame:
        """The requests of the queries that arrived inside the window, whatever became of them."""
        return self.requests[self.requests["measured"].to_numpy(bool)]
