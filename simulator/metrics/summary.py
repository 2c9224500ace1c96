"""The summary of a run: one flat dict, written as summary.json.

Keys that `vllm bench serve --save-result` writes have its names (without `date`: equal runs write
equal bytes); the others are ours. What is not known is None. Conventions:

- latencies, counts of requests and totals of tokens are over *measured* requests, those of queries
  that arrived in the window; latencies over those of them that completed;
- throughputs are what happened *inside* the window per second of window, whoever caused it. In a
  run that measures everything the two views agree, as they do in vLLM's client;
- `failed` is every measured request that did not complete: rejected, cancelled or unfinished.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from simulator.metrics.accuracy import accuracy_summary
from simulator.metrics.classes import classes
from simulator.metrics.economics import economics
from simulator.metrics.efficiency import efficiency_summary, energy_j
from simulator.metrics.fairness import fairness_summary
from simulator.metrics.histogram import LogHistogram
from simulator.metrics.latency import Distribution, latency_distributions
from simulator.metrics.load import (
    arriving_rps,
    completed_in_window,
    max_concurrent_requests,
    max_output_tokens_per_s,
)
from simulator.metrics.occupancy import occupancy_summary
from simulator.metrics.pools import kv_usage_mean, pools
from simulator.metrics.prefix_cache import prefix_summary
from simulator.metrics.record import LATENCY_PARTS, STATUSES, RunRecord
from simulator.metrics.saturation import saturation
from simulator.metrics.slo import Goodput, goodput
from simulator.metrics.slowdown import slowdown_summary
from simulator.metrics.starvation import starvation_summary
from simulator.metrics.waste import waste_summary

Summary = dict[str, Any]

_SETTLED = 0.85  # of what sessions bring in the long run; less is worth a note


def summarise(record: RunRecord, queries: pd.DataFrame) -> Summary:
    """Assemble the summary of `record`; `queries` as made by `metrics.latency.query_table`."""
    measured = record.measured
    completed = measured[measured["status"] == "completed"]
    judged = saturation(record)
    judged_slo = goodput(measured, record.slo, record.class_slo)
    served = completed_in_window(record, queries)
    cost = economics(record, served)
    summary: Summary = {
        "name": record.name,
        "seed": record.seed,
        "verdict": judged.verdict,
        "verdict_reason": judged.reason,
        **_volume(record, measured, completed),
        **_throughput(record, judged_slo),
    }
    for name, distribution in latency_distributions(record, queries).items():
        summary.update(_flatten(name, distribution))
    summary["itl_relative_bin_width"] = LogHistogram(
        record.itl_edges_s, record.itl_counts
    ).relative_bin_width
    summary.update(
        {f"mean_{part}": _mean(completed[part].to_numpy(np.float64)) for part in LATENCY_PARTS}
    )
    summary.update(
        **waste_summary(measured),
        **_kv_usage(record),
        **occupancy_summary(record.timeline, record.window_s),
        **prefix_summary(measured, record.prefix_query_tokens, record.prefix_hit_tokens),
        **slowdown_summary(measured),
        **starvation_summary(record.requests, record.end_s),
        **fairness_summary(record, queries),
        **efficiency_summary(
            [pool.use for pool in record.pools], record.window_output_tokens, served
        ),
        **accuracy_summary(
            record, queries, cost.window_cost_usd, energy_j([pool.use for pool in record.pools])
        ),
        num_gpus=record.num_gpus,
        replicas=record.replicas,
        gpu_hours=cost.gpu_hours,
        cost_usd=cost.cost_usd,
        window_gpu_hours=cost.window_gpu_hours,
        window_cost_usd=cost.window_cost_usd,
        cost_usd_per_million_output_tokens=cost.usd_per_million_output_tokens,
        cost_usd_per_completed_query=cost.usd_per_completed_query,
        offered_rps=judged.offered_rps,
        capacity_rps=judged.capacity_rps,
        offered_load=judged.offered_load,
        queue_growth_requests=judged.queue_growth,
        window_start_s=record.window_s[0],
        window_end_s=record.window_s[1],
        end_s=record.end_s,
        iterations=record.iterations,
        spans=record.spans,
        classes=classes(record, queries),
        pools=pools(record),
        expected_error=record.expected_error.summary(),
        notes=[*record.notes, *_findings(record, measured, completed, queries)],
    )
    return {key: _plain(value) for key, value in summary.items()}


def _volume(record: RunRecord, measured: pd.DataFrame, completed: pd.DataFrame) -> Summary:
    status = measured["status"].value_counts()
    run_status = record.requests["status"].value_counts()
    thinking = np.minimum(completed["thinking_tokens"], completed["generated_tokens"])
    return {
        "duration": record.window_length_s,
        "num_prompts": len(measured),
        "completed": len(completed),
        "failed": len(measured) - len(completed),
        **{name: int(status.get(name, 0)) for name in STATUSES if name != "completed"},
        "run_requests": len(record.requests),
        **{f"run_{name}": int(run_status.get(name, 0)) for name in STATUSES},
        "total_input_tokens": int(completed["prompt_tokens"].sum()),
        "total_output_tokens": int(completed["generated_tokens"].sum()),
        "total_thinking_tokens": int(thinking.sum()),
        "total_answer_tokens": int((completed["generated_tokens"] - thinking).sum()),
    }


def _throughput(record: RunRecord, judged: Goodput | None) -> Summary:
    duration = record.window_length_s

    def rate(count: float) -> float | None:
        return count / duration if duration > 0 else None

    return {
        "request_throughput": rate(completed_in_window(record, record.requests)),
        "request_goodput": rate(judged.good) if judged else None,
        "slo": dict(record.slo),
        "slo_attainment": judged.attainment if judged else None,
        "slo_attainment_by_objective": judged.by_objective if judged else {},
        "output_throughput": rate(record.window_output_tokens),
        "total_token_throughput": rate(record.window_prompt_tokens + record.window_output_tokens),
        "max_output_tokens_per_s": max_output_tokens_per_s(record),
        "max_concurrent_requests": max_concurrent_requests(record),
    }


def _flatten(name: str, distribution: Distribution) -> Summary:
    """One latency as `mean_ttft_ms`, `p99_ttft_ms`, `p99_ttft_ci95_ms` ..."""
    values = {"mean": distribution.mean_s, "median": distribution.percentiles_s[50]}
    values["std"] = distribution.std_s
    values |= {f"p{percent}": value for percent, value in distribution.percentiles_s.items()}
    flat: Summary = {f"{key}_{name}_ms": value * 1e3 for key, value in values.items()}
    flat |= {f"{key}_{name}_ci95_ms": half * 1e3 for key, half in distribution.ci95_s.items()}
    flat[f"{name}_count"] = distribution.count
    return flat


def _kv_usage(record: RunRecord) -> Summary:
    """Of all replicas; the size of their caches is None where pools differ in it."""
    peaks = [pool.kv_usage_peak for pool in record.pools if pool.kv_usage_peak is not None]
    blocks = {pool.kv_blocks for pool in record.pools}
    sizes = {pool.block_size for pool in record.pools}
    return {
        "kv_usage_mean": kv_usage_mean(record),
        "kv_usage_peak": max(peaks, default=None),
        "kv_blocks_per_replica": blocks.pop() if len(blocks) == 1 else None,
        "kv_block_size": sizes.pop() if len(sizes) == 1 else None,
    }


def _findings(
    record: RunRecord, measured: pd.DataFrame, completed: pd.DataFrame, queries: pd.DataFrame
) -> list[str]:
    """What a reader must know before trusting the latencies."""
    notes = []
    refused = measured[measured["status"] == "rejected"]
    for reason, count in refused["reason"].value_counts().items():
        notes.append(f"{count} of {len(measured)} measured requests were rejected: {reason}")
    cut = int((completed["finish_reason"] == "length").sum())
    if cut:
        notes.append(f"{cut} completed requests were cut short by max_tokens or max_model_len")
    warmup_s = record.window_s[0]
    if warmup_s > 0 and len(completed):
        latency_s = completed["finish_s"] - completed["arrival_s"]
        slow_s = float(np.percentile(latency_s, 95))
        if slow_s > warmup_s:
            notes.append(
                f"the warm-up of {warmup_s:.0f} s is shorter than the p95 of e2el, {slow_s:.0f} s: "
                "the pool may still have been filling up"
            )
    arriving, demand = arriving_rps(record), record.demand_rps
    if arriving is not None and demand is not None and arriving < _SETTLED * demand:
        notes.append(
            f"sessions bring {demand:.3g} requests/s in the long run, of which {arriving:.3g} came"
            " in the window: later turns were still to come, or waited for slow answers"
        )
    unfinished = int((measured["status"] == "unfinished").sum())
    if unfinished:
        notes.append(
            f"{unfinished} of {len(measured)} measured requests were unfinished when the run "
            "ended; latencies cover completed requests only and understate theirs."
        )
    cut_off = queries[queries["measured"].to_numpy(bool)]
    cut_off = cut_off[(cut_off["status"] == "unfinished").to_numpy()]
    if len(cut_off) and (queries["requests"] > 1).any():
        notes.append(
            f"{len(cut_off)} measured queries had requests to come when the run ended; they have"
            " no tta"
        )
    unanswered = int(completed["first_answer_s"].isna().sum())
    if unanswered:
        notes.append(
            f"{unanswered} completed requests reached their token limit before the first answer "
            "token; they have no ttfo and no tta."
        )
    return notes


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _plain(value: Any) -> Any:
    """Numbers as JSON knows them: NaN becomes None, in nested dicts too."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
