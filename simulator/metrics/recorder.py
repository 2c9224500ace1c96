"""From the engine's tables to a `RunRecord`, when a run is over."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from simulator.cluster.outcome import Outcome
from simulator.engine.request import COMPLETED, NEW, REJECTED, STATUS_NAMES
from simulator.expected_error import ExpectedError
from simulator.labels import Labels, PoolLabel
from simulator.metrics.activity import pool_activity
from simulator.metrics.alone import alone_s
from simulator.metrics.efficiency import PoolUse, pool_use
from simulator.metrics.pool_costs import PoolCosts
from simulator.metrics.record import REQUEST_COLUMNS, TIMELINE_COLUMNS, PoolRecord, RunRecord
from simulator.metrics.replies import reply_table
from simulator.metrics.window import Window

_NOT_JUDGED = ExpectedError()


def record_run(
    outcome: Outcome,
    window: Window,
    labels: Labels,
    *,
    pools: Sequence[PoolLabel],
    capacity_rps: float | None,
    notes: list[str],
    seed: int,
    name: str,
    slo: dict[str, float],
    expected_error: ExpectedError = _NOT_JUDGED,
    closed_loop: bool = False,
    demand_rps: float | None = None,
    costs: Sequence[PoolCosts] = (),
) -> RunRecord:
    """Everything recorded in a run, as metrics read it; `pools` are those of the outcome.

    `costs`: one a pool, or none where nobody will ask what follows from them.
    """
    requests = request_frame(outcome, labels, costs)
    end_s = window.end_s if math.isfinite(window.end_s) else outcome.end_s
    start_s = window.start_s
    finish_s = requests["finish_s"].to_numpy(np.float64)
    closing = (finish_s >= start_s) & ((finish_s < end_s) | (end_s >= outcome.end_s))
    closing &= (requests["status"] == "completed").to_numpy(bool)
    states, window_tokens = outcome.states, _output_tokens_between_marks(outcome)
    return RunRecord(
        requests=requests,
        itl_edges_s=outcome.itl_edges_s,
        itl_counts=outcome.itl.sum(axis=0),
        itl_batch_counts=outcome.itl[:-1],
        timeline=timeline_frame(outcome),
        window_s=(start_s, end_s),
        window_output_tokens=int(window_tokens.sum()),
        window_prompt_tokens=int(requests["prompt_tokens"].to_numpy()[closing].sum()),
        end_s=outcome.end_s,
        pools=tuple(
            _pool_record(outcome, index, label, window_tokens, use)
            for index, (label, use) in enumerate(
                zip(pools, _uses(outcome, (start_s, end_s), costs), strict=True)
            )
        ),
        iterations=int(states["iterations"].sum()),
        spans=int(states["spans"].sum()),
        wall_s=outcome.wall_s,
        notes=notes,
        capacity_rps=capacity_rps,
        seed=seed,
        name=name,
        slo=slo,
        class_slo=labels.class_slo,
        class_value_usd=labels.class_value_usd,
        demand_rps=demand_rps,
        expected_error=expected_error,
        closed_loop=closed_loop,
        prefix_query_tokens=int(states["prefix_query_tokens"].sum()),
        prefix_hit_tokens=int(states["prefix_hit_tokens"].sum()),
        replies=None
        if outcome.replies is None
        else reply_table(outcome, outcome.replies, window.measured),
    )


def _uses(
    outcome: Outcome, window_s: tuple[float, float], costs: Sequence[PoolCosts]
) -> list[PoolUse | None]:
    """What the GPUs of each pool did in the window."""
    uses: list[PoolUse | None] = [None] * len(outcome.configs)
    for index, each in enumerate(costs):
        activity = pool_activity(
            outcome,
            index,
            window_s,
            window_tokens=each.cost.window_tokens,
            chunk_tokens=each.chunk_tokens,
        )
        uses[index] = pool_use(activity, each)
    return uses


def _pool_record(
    outcome: Outcome,
    index: int,
    label: PoolLabel,
    window_tokens: np.ndarray,
    use: PoolUse | None,
) -> PoolRecord:
    config, own = outcome.configs[index], outcome.pool_id == index
    return PoolRecord(
        **vars(label),
        replicas=int(own.sum()),
        kv_blocks=config.usable_blocks,
        block_size=config.block_size,
        peak_kv_blocks=int(outcome.states["peak_blocks"][own].max()),
        window_output_tokens=int(window_tokens[own].sum()),
        use=use,
    )


def request_frame(
    outcome: Outcome, labels: Labels, costs: Sequence[PoolCosts] = ()
) -> pd.DataFrame:
    """The request table as a DataFrame with `REQUEST_COLUMNS`, latency parts worked out."""
    table, rows = outcome.requests, outcome.rows

    def label(column: np.ndarray | None, otherwise: float) -> np.ndarray:
        return np.full(len(rows), otherwise) if column is None else column[rows]

    query_id = _query_ids(rows, labels.query_id)
    query_requests = label(labels.query_requests, 1).astype(np.int64)
    if outcome.replies is not None:
        query_id = outcome.replies.plan.query[rows]
        query_requests = np.bincount(query_id)[query_id]
    client_id = label(labels.client_id, 0).astype(np.int64)
    status = table["status"]
    completed = status == COMPLETED
    cut = completed & (table["generated_tokens"] < table["output_tokens"])
    first_answer_s = table["first_answer_s"]
    # Cut short while still thinking: all of it was thinking.
    thinking_end_s = np.where(np.isnan(first_answer_s), table["finish_s"], first_answer_s)
    parts = {
        "queue_s": table["first_scheduled_s"] - table["arrival_s"],
        "prefill_s": table["first_token_s"] - table["first_scheduled_s"] - table["lost_prefill_s"],
        "thinking_s": thinking_end_s - table["first_token_s"] - table["lost_thinking_s"],
        "answer_s": table["finish_s"] - thinking_end_s - table["lost_answer_s"],
        "preempted_s": table["lost_prefill_s"] + table["lost_thinking_s"] + table["lost_answer_s"],
    }
    finish_s = np.where(status == REJECTED, np.nan, table["finish_s"])
    columns = {
        "request_id": np.arange(len(table)),
        "query_id": query_id,
        "query_requests": query_requests,
        "class": pd.Categorical.from_codes(
            table["class_id"].tolist(), pd.Index(labels.class_names)
        ),
        "client": pd.Categorical.from_codes(client_id.tolist(), pd.Index(labels.client_names)),
        "session_id": label(labels.session_id, -1).astype(np.int64),
        "turn": label(labels.turn, 0).astype(np.int64),
        "difficulty": label(labels.difficulty, math.nan),
        "arrival_s": table["arrival_s"],
        "prompt_tokens": table["prompt_tokens"],
        "thinking_tokens": table["thinking_tokens"],
        "answer_tokens": table["output_tokens"] - table["thinking_tokens"],
        "max_tokens": table["max_tokens"],
        "status": np.array(STATUS_NAMES, dtype=object)[status],
        "finish_reason": np.where(completed, np.where(cut, "length", "stop"), ""),
        "reason": [outcome.refused.get(i, "") for i in range(len(table))],
        "pool": _pools(outcome, table["replica"]),
        "replica": table["replica"],
        "first_scheduled_s": table["first_scheduled_s"],
        "first_token_s": table["first_token_s"],
        "first_answer_s": first_answer_s,
        "finish_s": finish_s,
        **{name: np.where(completed, part, np.nan) for name, part in parts.items()},
        "generated_tokens": table["generated_tokens"],
        "preemptions": table["preemptions"],
        "recomputed_tokens": table["recomputed_tokens"],
        "cached_tokens": table["cached_tokens"],
        "alone_s": _alone_s(outcome, costs),
        "measured": table["measured"].astype(bool),
    }
    assert not (status == NEW).any(), "every request of the frame has arrived"
    return pd.DataFrame(columns, columns=list(REQUEST_COLUMNS))


def _alone_s(outcome: Outcome, costs: Sequence[PoolCosts]) -> np.ndarray:
    """What each request that completed would have taken alone on a replica of its pool."""
    table = outcome.requests
    alone = np.full(len(table), np.nan)
    pool = np.where(table["status"] == COMPLETED, outcome.pool_id[table["replica"]], -1)
    for index, each in enumerate(costs):
        own = pool == index
        prompt, output = (table[name][own] for name in ("prompt_tokens", "generated_tokens"))
        alone[own] = alone_s(each.cost, prompt, output, each.chunk_tokens)
    return alone


def _query_ids(rows: np.ndarray, first: np.ndarray | None) -> np.ndarray:
    """The place among `rows` of the first request of each one's query, -1 if that is missing."""
    if first is None:
        return np.arange(len(rows))
    place = np.full(len(first), -1, dtype=np.int64)
    place[rows] = np.arange(len(rows))
    return np.asarray(place[first[rows]])


def _pools(outcome: Outcome, replica: np.ndarray) -> pd.Categorical[str]:
    """The pool of each of `replica`, null for none (-1)."""
    codes = np.where(replica >= 0, outcome.pool_id[replica], -1)
    return pd.Categorical.from_codes(codes.tolist(), pd.Index(outcome.pool_names))


def timeline_frame(outcome: Outcome) -> pd.DataFrame:
    """Samples of all replicas on the coarsest grid any of them had to fall back to."""
    grids_s = outcome.states["grid_s"]
    steps = np.rint(grids_s.max() / grids_s).astype(int)
    kept = [samples[::step] for samples, step in zip(outcome.samples, steps, strict=True)]
    shortest = min(len(samples) for samples in kept)
    rows = np.concatenate([samples[:shortest] for samples in kept])
    frame = pd.DataFrame({name: rows[name] for name in rows.dtype.names or ()})
    replica = np.repeat(np.arange(len(kept)), shortest)
    frame["pool"] = _pools(outcome, replica)
    frame["replica"] = replica
    usable = np.array([config.usable_blocks for config in outcome.configs])
    frame["kv_used_frac"] = frame["kv_used_blocks"] / usable[outcome.pool_id[replica]]
    frame = frame.sort_values(["t_s", "replica"], kind="stable", ignore_index=True)
    return frame[list(TIMELINE_COLUMNS)]


def _output_tokens_between_marks(outcome: Outcome) -> np.ndarray:
    """Output tokens of each replica between the window's start and its end (or the run's)."""
    marks = outcome.marks["output_tokens"]
    last = marks[:, 1] if marks.shape[1] > 1 else outcome.states["output_tokens"]
    return np.asarray(last - marks[:, 0])
