"""The classes of a workload, each by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from simulator.metrics.latency import request_latencies
from simulator.metrics.record import RunRecord
from simulator.metrics.slo import goodput

CLASS_METRICS = ("ttft", "ttfo", "e2el", "tta")
CLASS_PERCENTS = (50, 90, 99)


def classes(record: RunRecord, queries: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """For each class that has measured requests: counts, tokens, latencies in ms, attainment and
    goodput, and what a correct answer is worth.

    Latencies as in the summary: over requests (tta: queries) that completed. Attainment is of all
    requests sent: one that was rejected, cancelled or left unfinished missed every objective.
    """
    measured, seconds = record.measured, record.window_length_s
    return {
        str(name): {
            **_of(requests, queries[queries["class"] == name], _slo(record, str(name)), seconds),
            "value_usd": record.class_value_usd.get(str(name)),
        }
        for name, requests in measured.groupby("class", observed=True)
    }


def _slo(record: RunRecord, name: str) -> dict[str, float]:
    return record.class_slo.get(name, record.slo)


def _of(
    requests: pd.DataFrame, queries: pd.DataFrame, slo: dict[str, float], window_s: float
) -> dict[str, Any]:
    completed = requests[requests["status"] == "completed"]
    queries = queries[queries["measured"].to_numpy(bool)]
    judged = goodput(requests, slo)
    thinking = np.minimum(completed["thinking_tokens"], completed["generated_tokens"])
    shown: dict[str, Any] = {
        "num_queries": len(queries),
        "num_prompts": len(requests),
        "completed": len(completed),
        "total_input_tokens": int(completed["prompt_tokens"].sum()),
        "total_thinking_tokens": int(thinking.sum()),
        "total_answer_tokens": int((completed["generated_tokens"] - thinking).sum()),
        "slo": dict(slo),
        "slo_attainment": judged.attainment if judged else None,
        "slo_attainment_by_objective": judged.by_objective if judged else {},
        "request_goodput": judged.good / window_s if judged and window_s > 0 else None,
    }
    if "answer" in queries and queries["answer"].notna().any():
        over = queries[queries["answer"].notna().to_numpy(bool)]
        shown["accuracy"] = float((over["answer"] == "right").mean())
        shown["mean_requests_per_query"] = float(queries["requests"].mean())
    latencies = request_latencies(completed)
    for name in CLASS_METRICS:
        values = (queries if name == "tta" else latencies)[f"{name}_s"].dropna().to_numpy()
        shown[f"mean_{name}_ms"] = float(values.mean()) * 1e3 if len(values) else None
        for percent in CLASS_PERCENTS:
            value = float(np.percentile(values, percent)) * 1e3 if len(values) else None
            shown[f"p{percent}_{name}_ms"] = value
    return shown
