"""What the quickstart is expected to say, and how to renew that.

    python -m tests.golden.update

runs experiments/quickstart.yaml and rewrites quickstart_summary.json, quickstart_table.txt and the
table in README.md (the text around it is yours to keep true). Do
it when a change is meant to change results (new cost constants, a new row in the table), and read
the diff before committing it: nothing else may have moved.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from rich.console import Console

from simulator import Result, load_experiment, run

HERE = Path(__file__).parent
EXPERIMENT = HERE.parents[1] / "experiments" / "quickstart.yaml"
SUMMARY = HERE / "quickstart_summary.json"
TABLE = HERE / "quickstart_table.txt"
README = HERE.parents[1] / "README.md"
WIDTH = 120

COUNTS = (
    "num_prompts",
    "completed",
    "failed",
    "run_requests",
    "total_input_tokens",
    "total_output_tokens",
    "total_thinking_tokens",
    "total_answer_tokens",
    "num_preemptions",
    "recomputed_tokens",
    "computed_tokens",
    "wasted_tokens",
    "overtaken_requests",
    "kv_blocks_per_replica",
    "iterations",
    "spans",
    "verdict",
)
MEASURES = (
    "mean_ttft_ms",
    "p99_ttft_ms",
    "mean_ttfo_ms",
    "mean_tpot_ms",
    "mean_itl_ms",
    "p99_itl_ms",
    "mean_e2el_ms",
    "p99_e2el_ms",
    "mean_tta_ms",
    "p50_tta_ms",
    "p99_tta_ms",
    "mean_queue_s",
    "mean_thinking_s",
    "output_throughput",
    "request_goodput",
    "kv_usage_mean",
    "running_mean",
    "mean_slowdown",
    "max_slowdown",
    "mbu",
    "mfu",
    "energy_kwh",
    "capacity_rps",
    "gpu_hours",
    "end_s",
)


def quickstart() -> Result:
    """The result of the quickstart."""
    return run(load_experiment(EXPERIMENT))


def summary(result: Result) -> dict[str, dict[str, Any]]:
    """The part of the summary that is kept: what must be equal, and what must be equal to 1e-9."""
    return {
        "exactly": {key: result.summary[key] for key in COUNTS},
        "to_1e-9": {key: result.summary[key] for key in MEASURES},
    }


def table(result: Result) -> str:
    """The table as printed where there is no terminal."""
    text = io.StringIO()
    Console(file=text, width=WIDTH, color_system=None).print(result.table())
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


if __name__ == "__main__":
    fresh = quickstart()
    old = TABLE.read_text(encoding="utf-8").rstrip("\n")
    readme = README.read_text(encoding="utf-8")
    README.write_text(readme.replace(old, table(fresh).rstrip("\n")), encoding="utf-8")
    SUMMARY.write_text(json.dumps(summary(fresh), indent=2) + "\n", encoding="utf-8")
    TABLE.write_text(table(fresh), encoding="utf-8")
    print(f"wrote {SUMMARY.name} and {TABLE.name} in {HERE}")
