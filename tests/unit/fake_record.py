"""A RunRecord as a small pool would leave it, drawn with numpy instead of simulated.

Requests queue for `seats` seats first come first served, then spend a fixed time per token: the
parts of a latency, the timeline and the totals all follow from the same times, so they agree with
each other as those of a real run do.
"""

from __future__ import annotations

import heapq

import numpy as np
import pandas as pd

from simulator.metrics.record import PoolRecord, RunRecord

TOKEN_S = 0.02
PREFILL_TOKEN_S = 1e-4
BLOCK_SIZE = 16
KV_BLOCKS = 20_000
ITL_EDGES_S = np.exp(np.log(1e-4) + 0.01 * np.arange(1201))
ITL_SLICES = 24


def fake_record(
    count: int = 2_000,
    *,
    load: float = 0.7,
    seats: int = 64,
    replicas: int = 2,
    seed: int = 1,
    window_s: tuple[float, float] | None = None,
    cut_at_s: float | None = None,
    timeline_rows: int = 300,
    num_gpus: int = 8,
    price_usd_per_gpu_hour: float = 2.5,
    **fields: object,
) -> RunRecord:
    """`count` requests at `load` times what `seats` seats can serve.

    `cut_at_s` ends the run early, leaving requests unfinished; `fields` override the record's.
    """
    rng = np.random.default_rng(seed)
    prompt = np.clip(rng.lognormal(6.0, 0.8, count), 8, 8000).astype(np.int64)
    thinking = np.clip(rng.lognormal(6.0, 0.9, count), 0, 16_000).astype(np.int64)
    thinking[rng.random(count) < 0.1] = 0
    answer = np.clip(rng.lognormal(5.5, 0.6, count), 1, 4_000).astype(np.int64)
    prefill_s = 0.01 + prompt * PREFILL_TOKEN_S
    token_s = TOKEN_S * rng.uniform(0.8, 1.4, count)
    preempted = rng.random(count) < 0.05
    preempted_s = np.where(preempted, rng.exponential(3.0, count), 0.0)
    service_s = prefill_s + preempted_s + (thinking + answer - 1) * token_s
    capacity_rps = seats / service_s.mean()
    arrival = np.cumsum(rng.exponential(1 / (load * capacity_rps), count))
    start = _first_come_first_served(arrival, service_s, seats)

    first_token = start + prefill_s
    first_answer = first_token + thinking * token_s + np.where(thinking > 0, preempted_s, 0.0)
    finish = start + service_s
    end_s = float(finish.max()) if cut_at_s is None else cut_at_s
    # exactly additive: the last part is what the others leave
    parts = {
        "queue_s": start - arrival,
        "prefill_s": prefill_s,
        "thinking_s": thinking * token_s,
        "preempted_s": preempted_s,
    }
    parts["answer_s"] = (finish - arrival) - sum(parts.values())
    done = finish <= end_s
    replica = np.arange(count) % replicas
    window = window_s or (0.0, end_s)
    requests = pd.DataFrame(
        {
            "request_id": np.arange(count),
            "query_id": np.arange(count),
            "query_requests": np.ones(count, np.int64),
            "client": "default",
            "session_id": np.full(count, -1),
            "turn": np.zeros(count, np.int64),
            "difficulty": np.full(count, np.nan),
            "class": np.where(rng.random(count) < 0.3, "maths", "chat"),
            "arrival_s": arrival,
            "prompt_tokens": prompt,
            "thinking_tokens": thinking,
            "answer_tokens": answer,
            "max_tokens": np.zeros(count, np.int64),
            "status": np.where(done, "completed", "unfinished"),
            "finish_reason": np.where(done, "stop", ""),
            "reason": "",
            "pool": "main",
            "replica": replica,
            "first_scheduled_s": np.where(start <= end_s, start, np.nan),
            "first_token_s": np.where(first_token <= end_s, first_token, np.nan),
            "first_answer_s": np.where(first_answer <= end_s, first_answer, np.nan),
            "finish_s": np.where(done, finish, np.nan),
            "queue_s": parts["queue_s"],
            "prefill_s": parts["prefill_s"],
            "thinking_s": parts["thinking_s"],
            "answer_s": parts["answer_s"],
            "preempted_s": parts["preempted_s"],
            "generated_tokens": np.where(done, thinking + answer, 0),
            "preemptions": preempted.astype(np.int64),
            "recomputed_tokens": np.where(preempted, prompt, 0),
            "cached_tokens": np.zeros(count, np.int64),
            "alone_s": np.where(done, prefill_s + (thinking + answer - 1) * token_s, np.nan),
            "measured": (arrival >= window[0]) & (arrival < window[1]),
        }
    )
    grid = np.linspace(0.0, end_s, timeline_rows)
    timeline = _timeline(grid, replicas, replica, arrival, start, finish, prompt, thinking + answer)
    inside = done & (finish >= window[0]) & (finish <= window[1])
    emitted = timeline.groupby("t_s")["output_tokens"].sum()
    tokens = np.interp(window, emitted.index, emitted.to_numpy())
    gaps = np.maximum(requests["generated_tokens"] - 1, 0) * (requests["measured"] & done)
    itl = np.zeros((ITL_SLICES, len(ITL_EDGES_S) - 1), np.int64)
    bins = np.searchsorted(ITL_EDGES_S, token_s, side="right") - 1
    np.add.at(itl, (np.arange(count) % ITL_SLICES, bins), gaps.to_numpy(np.int64))
    values: dict[str, object] = {
        "requests": requests,
        "itl_edges_s": ITL_EDGES_S,
        "itl_counts": itl.sum(axis=0),
        "itl_batch_counts": itl,
        "timeline": timeline,
        "window_s": window,
        "window_output_tokens": int(tokens[1] - tokens[0]),
        "window_prompt_tokens": int(prompt[inside].sum()),
        "end_s": end_s,
        "pools": (
            PoolRecord(
                name="main",
                model="model",
                gpu="gpu",
                num_gpus=num_gpus,
                price_usd_per_gpu_hour=price_usd_per_gpu_hour,
                replicas=replicas,
                kv_blocks=KV_BLOCKS,
                block_size=BLOCK_SIZE,
                peak_kv_blocks=int(timeline["kv_used_blocks"].max()),
                window_output_tokens=int(tokens[1] - tokens[0]),
            ),
        ),
        "iterations": 100_000,
        "spans": 9_000,
        "wall_s": 0.4,
        "notes": ["Thinking lengths were drawn from a log-normal law."],
        "capacity_rps": float(capacity_rps),
        "seed": seed,
        "name": "quickstart",
        "slo": {"ttft_s": 2.0, "ttfo_s": 30.0, "tpot_s": 0.05, "e2el_s": 120.0},
    }
    return RunRecord(**(values | fields))  # type: ignore[arg-type]


def _first_come_first_served(arrival: np.ndarray, service_s: np.ndarray, seats: int) -> np.ndarray:
    free = [0.0] * seats
    start = np.empty(len(arrival))
    for i, (t, s) in enumerate(zip(arrival, service_s, strict=True)):
        start[i] = max(t, heapq.heappop(free))
        heapq.heappush(free, start[i] + s)
    return start


def _timeline(
    grid: np.ndarray,
    replicas: int,
    replica: np.ndarray,
    arrival: np.ndarray,
    start: np.ndarray,
    finish: np.ndarray,
    prompt: np.ndarray,
    output: np.ndarray,
) -> pd.DataFrame:
    frames = []
    for r in range(replicas):
        on = replica == r
        arrived = np.searchsorted(arrival[on], grid, side="right")
        started = np.searchsorted(np.sort(start[on]), grid, side="right")
        finished = np.searchsorted(np.sort(finish[on]), grid, side="right")
        share = (grid[:, None] - start[on]) / (finish[on] - start[on])
        tokens = np.clip(share, 0.0, 1.0) * output[on]
        active = (share >= 0) & (share < 1)
        blocks = np.ceil((prompt[on] + tokens) / BLOCK_SIZE) * active
        used = blocks.sum(axis=1).astype(np.int64)
        prefilled = np.cumsum(prompt[on][np.argsort(start[on], kind="stable")])
        frames.append(
            pd.DataFrame(
                {
                    "t_s": grid,
                    "pool": "main",
                    "replica": r,
                    "running": started - finished,
                    "waiting": arrived - started,
                    "kv_used_blocks": used,
                    "kv_used_frac": used / KV_BLOCKS,
                    "output_tokens": tokens.sum(axis=1).astype(np.int64),
                    "prefill_tokens": np.concatenate([[0], prefilled])[started],
                    "preemptions": finished // 20,
                    "iterations": (grid / TOKEN_S).astype(np.int64),
                }
            )
        )
    return pd.concat(frames).sort_values(["t_s", "replica"], kind="stable", ignore_index=True)
