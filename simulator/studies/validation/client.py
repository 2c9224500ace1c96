"""What a client of the benchmark would have measured: a run's arrays as a points file's columns."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from simulator.cluster.outcome import Outcome
from simulator.engine.request import COMPLETED
from simulator.metrics.histogram import LogHistogram


def client_metrics(outcome: Outcome, gpus: int, columns: Iterable[str]) -> dict[str, float]:
    """The measured `columns` of a points file, for the whole run, as `vllm bench serve` counts.

    The duration is from the first request sent to the last token; throughputs are of requests that
    completed; tpot is per request, of those with two tokens or more; itl is pooled over all gaps.
    `avg_running` is the time-average of requests in flight (SGLang's "concurrency"). Columns that
    nothing is known of are left out. Raises ValueError if no request completed.
    """
    table = outcome.requests
    done = table[table["status"] == COMPLETED]
    if not len(done):
        raise ValueError("no request completed")
    sent_s, first_s, finish_s = done["arrival_s"], done["first_token_s"], done["finish_s"]
    duration_s = float(finish_s.max() - sent_s.min())
    output = done["generated_tokens"].astype(np.float64)
    total = output + done["prompt_tokens"]
    several = output > 1
    per_request_s = {
        "ttft": first_s - sent_s,
        "tpot": (finish_s - first_s)[several] / (output[several] - 1),
        "e2el": finish_s - sent_s,
    }
    values = {
        "duration_s": duration_s,
        "output_tps": float(output.sum()) / duration_s,
        "output_tps_per_gpu": float(output.sum()) / duration_s / gpus,
        "total_tps": float(total.sum()) / duration_s,
        "req_per_s": len(done) / duration_s,
        "avg_running": float(per_request_s["e2el"].sum()) / duration_s,
    }
    gaps = LogHistogram(outcome.itl_edges_s, outcome.itl.sum(axis=0))
    for column in columns:
        latency = re.fullmatch(r"(ttft|tpot|e2el|itl)_(mean|median|p(\d+))_ms", column)
        if latency is None:
            continue
        metric, statistic, percent = latency[1], latency[2], float(latency[3] or 50)
        if metric == "itl":
            value_s = gaps.mean() if statistic == "mean" else gaps.percentile(percent)
        elif not len(per_request_s[metric]):
            continue
        elif statistic == "mean":
            value_s = float(per_request_s[metric].mean())
        else:
            value_s = float(np.percentile(per_request_s[metric], percent))
        if np.isfinite(value_s):
            values[column] = 1e3 * value_s
    return values
