"""JSON files: strict JSON for everything, and the shape of `vllm bench serve --save-result`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from simulator.result import Result

# In the order vLLM writes them (vllm/benchmarks/serve.py), after the description of the run.
_TOTALS = (
    "duration",
    "completed",
    "failed",
    "total_input_tokens",
    "total_output_tokens",
    "request_throughput",
    "request_goodput",
    "output_throughput",
    "total_token_throughput",
)
_PEAKS = ("max_output_tokens_per_s", "max_concurrent_requests")
_STATISTICS = ("mean", "median", "std", "p50", "p90", "p95", "p99")
_METRICS = ("ttft", "tpot", "itl", "e2el")


def write_json(value: Any, path: Path) -> None:
    """Write `value` as indented strict JSON (no NaN), keys in their own order, UTF-8."""
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False, default=_number)
    path.write_text(text + "\n", encoding="utf-8")


def vllm_bench_result(result: Result, *, detailed: bool = False) -> dict[str, Any]:
    """The result as `vllm bench serve --save-result` would have written it, and nothing else.

    With `detailed` also the lists of `--save-detailed`, one entry per measured request in order of
    arrival: input_lens and output_lens (tokens), ttfts, latencies and start_times (seconds) and
    errors. `itls` and `generated_texts` are left out: a simulation keeps no single token. `date` is
    left out, so that equal runs export equal bytes.
    """
    summary = result.summary
    pools = result.experiment.get("pools") or {}
    models = [pool["model"] for pool in pools.values() if isinstance(pool, dict)]
    exported: dict[str, Any] = {
        "endpoint_type": "ponder",
        "label": summary["name"],
        "model_id": ", ".join(dict.fromkeys(models)) or None,
        "num_prompts": summary["num_prompts"],
        "request_rate": summary["offered_rps"] if summary["offered_rps"] is not None else "inf",
        "max_concurrency": _concurrency(result),
    }
    exported.update({key: summary[key] for key in _TOTALS})
    if detailed:
        exported.update(_details(result))
    exported.update({key: summary[key] for key in _PEAKS})
    exported.update(
        {
            f"{stat}_{name}_ms": summary[f"{stat}_{name}_ms"]
            for name in _METRICS
            for stat in _STATISTICS
        }
    )
    return exported


def _concurrency(result: Result) -> int | None:
    """How many clients a closed loop has; None for traffic that waits for nobody."""
    workload = result.experiment.get("workload")
    arrivals = workload.get("arrivals") if isinstance(workload, dict) else None
    return arrivals.get("concurrency") if isinstance(arrivals, dict) else None


def _details(result: Result) -> dict[str, list[Any]]:
    requests = result.requests[result.requests["measured"].to_numpy(bool)]
    completed = requests["status"].to_numpy() == "completed"
    # vLLM reports 0 for what a failed request never reached
    ttft = np.where(completed, requests["ttft_s"].to_numpy(np.float64), 0.0)
    latency = np.where(completed, requests["e2el_s"].to_numpy(np.float64), 0.0)
    output = np.where(completed, requests["generated_tokens"].to_numpy(np.int64), 0)
    reasons = requests["reason"].where(requests["reason"].astype(bool), requests["status"])
    return {
        "input_lens": requests["prompt_tokens"].tolist(),
        "output_lens": output.tolist(),
        "ttfts": ttft.tolist(),
        "latencies": latency.tolist(),
        "start_times": requests["arrival_s"].tolist(),
        "errors": np.where(completed, "", reasons.to_numpy(object)).tolist(),
    }


def _number(value: Any) -> Any:
    """Numpy scalars as the Python numbers they stand for."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not JSON serializable")
