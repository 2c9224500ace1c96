"""Latencies of requests and queries, and how they are summed up.

The names follow `vllm bench serve`; `ttfo` follows aiperf and guidellm. All in seconds:

- ttft: from arrival to the first token of any kind;
- ttfo: from arrival to the first *answer* token, so after the thinking;
- tpot: (e2el - ttft)/(tokens - 1) of a request, defined for two tokens or more;
- e2el: from arrival to the last token;
- itl: every gap between consecutive tokens of a request, pooled over requests;
- tta: of a query, from arrival to the last token of its final answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from simulator.metrics.histogram import LogHistogram
from simulator.metrics.intervals import (
    MIN_REQUESTS,
    batch_bounds,
    mean_half_width,
    percentile_half_widths,
    ratio_half_width,
)
from simulator.metrics.record import RunRecord

PERCENTS = (50, 90, 95, 99)
REQUEST_METRICS = ("ttft", "ttfo", "tpot", "e2el")
METRICS = ("ttft", "ttfo", "tpot", "itl", "e2el", "tta")

_NAN = float("nan")


@dataclass(frozen=True)
class Distribution:
    """A latency summed up, in seconds; NaN where too little is known.

    `ci95_s` holds half-widths of 95 % intervals, keyed "mean", "p50", "p90" ...
    """

    count: int
    mean_s: float
    std_s: float
    percentiles_s: dict[int, float]
    ci95_s: dict[str, float]


def request_latencies(requests: pd.DataFrame) -> pd.DataFrame:
    """ttft_s, ttfo_s, tpot_s and e2el_s of each row of a request table, NaN where undefined."""
    arrival = requests["arrival_s"]
    ttft = requests["first_token_s"] - arrival
    e2el = requests["finish_s"].where(requests["status"] == "completed") - arrival
    gaps = requests["generated_tokens"] - 1
    return pd.DataFrame(
        {
            "ttft_s": ttft,
            "ttfo_s": requests["first_answer_s"] - arrival,
            "tpot_s": ((e2el - ttft) / gaps.where(gaps > 0)).astype(np.float64),
            "e2el_s": e2el,
        },
        index=requests.index,
    )


def query_table(requests: pd.DataFrame) -> pd.DataFrame:
    """One row per query, in order of arrival.

    Columns query_id, class, arrival_s, finish_s, tta_s, requests, status, measured. A query arrives
    with its first request and has its answer when its last one finishes. One whose last request was
    cut before its first answer token got no answer: its tta_s is NaN, as for one of which a request
    did not complete (that request's status is then the query's) or was not sent before the run
    ended (unfinished).
    """
    if len(requests) and (requests["query_id"] != requests["request_id"]).any():
        return _queries_of_many(requests)
    answered = (requests["status"] == "completed") & requests["first_answer_s"].notna()
    return pd.DataFrame(
        {
            "query_id": requests["request_id"],
            "class": requests["class"],
            "arrival_s": requests["arrival_s"],
            "finish_s": requests["finish_s"],
            "tta_s": requests["finish_s"].where(answered) - requests["arrival_s"],
            "requests": np.ones(len(requests), np.int64),
            "status": requests["status"],
            "measured": requests["measured"],
        }
    ).reset_index(drop=True)


def _queries_of_many(requests: pd.DataFrame) -> pd.DataFrame:
    """The query table where queries may have several requests."""
    rows = requests[requests["query_id"] >= 0].set_index("request_id", drop=False)
    arrived = rows.groupby("query_id").size()
    ids = arrived.index
    first = rows.loc[ids]
    by_end = rows.assign(end_s=rows["finish_s"].fillna(np.inf)).sort_values("end_s", kind="stable")
    final = by_end.groupby("query_id").tail(1).set_index("query_id").loc[ids]
    status = pd.Series("completed", index=ids, dtype=object)
    # The run ended before all of its requests were sent.
    status[arrived.to_numpy() < first["query_requests"].to_numpy()] = "unfinished"
    failed = rows[rows["status"] != "completed"].groupby("query_id")["status"].first()
    status[failed.index] = failed
    completed = (status == "completed").to_numpy()
    arrival_s = first["arrival_s"].to_numpy(np.float64)
    finish_s = np.where(completed, final["finish_s"].to_numpy(np.float64), np.nan)
    answered = completed & final["first_answer_s"].notna().to_numpy()
    return pd.DataFrame(
        {
            "query_id": ids.to_numpy(),
            "class": first["class"].to_numpy(),
            "arrival_s": arrival_s,
            "finish_s": finish_s,
            "tta_s": np.where(answered, finish_s - arrival_s, np.nan),
            "requests": arrived.to_numpy(),
            "status": status.to_numpy(),
            "measured": first["measured"].to_numpy(),
        }
    )


def describe(values_s: np.ndarray) -> Distribution:
    """Sum up latencies given in order of arrival; NaNs (undefined for a request) are left out."""
    values = np.asarray(values_s, np.float64)
    values = values[~np.isnan(values)]
    if not len(values):
        return _nothing()
    half_widths = percentile_half_widths(values, PERCENTS)
    return Distribution(
        count=len(values),
        mean_s=float(values.mean()),
        std_s=float(values.std()),
        percentiles_s=dict(zip(PERCENTS, map(float, np.percentile(values, PERCENTS)), strict=True)),
        ci95_s={"mean": mean_half_width(values)}
        | {f"p{p}": half for p, half in zip(PERCENTS, half_widths, strict=True)},
    )


def describe_gaps(record: RunRecord) -> Distribution:
    """Sum up the pooled inter-token latencies from their histogram.

    Intervals come from the histogram's slices of time. Without these the mean still gets one, as
    the ratio of decoding time to gaps over batches of requests, and percentiles get none.
    """
    histogram = LogHistogram(record.itl_edges_s, record.itl_counts)
    if not histogram.total:
        return _nothing()
    slices = record.itl_batch_counts
    if slices is None:
        mean, others = _decode_ratio_half_width(record.measured), [_NAN] * len(PERCENTS)
    else:
        mean = histogram.mean_half_width(slices)
        others = histogram.percentile_half_widths(slices, PERCENTS)
    return Distribution(
        count=int(histogram.total),
        mean_s=histogram.mean(),
        std_s=histogram.std(),
        percentiles_s={p: histogram.percentile(p) for p in PERCENTS},
        ci95_s={"mean": mean} | {f"p{p}": half for p, half in zip(PERCENTS, others, strict=True)},
    )


def latency_distributions(record: RunRecord, queries: pd.DataFrame) -> dict[str, Distribution]:
    """Every latency of `METRICS`, over measured requests and queries that completed."""
    measured = record.measured
    latencies = request_latencies(measured[measured["status"] == "completed"])
    result = {name: describe(latencies[f"{name}_s"].to_numpy()) for name in REQUEST_METRICS}
    result["itl"] = describe_gaps(record)
    result["tta"] = describe(queries.loc[queries["measured"].to_numpy(bool), "tta_s"].to_numpy())
    return {name: result[name] for name in METRICS}


def _decode_ratio_half_width(measured: pd.DataFrame) -> float:
    requests = measured[(measured["status"] == "completed") & (measured["generated_tokens"] > 1)]
    if len(requests) < MIN_REQUESTS:
        return _NAN
    starts = batch_bounds(len(requests))[:-1]
    decoding = (requests["finish_s"] - requests["first_token_s"]).to_numpy(np.float64)
    gaps = requests["generated_tokens"].to_numpy(np.float64) - 1
    return ratio_half_width(np.add.reduceat(decoding, starts), np.add.reduceat(gaps, starts))


def _nothing() -> Distribution:
    keys = ("mean", *(f"p{p}" for p in PERCENTS))
    return Distribution(0, _NAN, _NAN, dict.fromkeys(PERCENTS, _NAN), dict.fromkeys(keys, _NAN))
