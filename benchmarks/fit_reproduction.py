"""How well `ponder trace fit` and then generating reproduce a trace: misses over many seeds.

    python benchmarks/fit_reproduction.py TRACE [--seeds 40]

The first line of a column is the fitted law's own quantiles against the trace's, without sampling.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import yaml
from pydantic import TypeAdapter

from workloads.fitting.gap_statistics import gap_cv
from workloads.fitting.workload import fit_workload
from workloads.kinds import AnyWorkload
from workloads.traces import read_trace

PROBABILITIES = np.array([0.5, 0.9, 0.99])
COLUMNS = ("prompt_tokens", "answer_tokens")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trace", type=Path)
    parser.add_argument("--seeds", type=int, default=40)
    options = parser.parse_args()
    rows, _ = read_trace(options.trace)
    adapter: TypeAdapter[AnyWorkload] = TypeAdapter(AnyWorkload)
    content = yaml.safe_load(fit_workload(rows).to_yaml([]))["workload"]
    workload = adapter.validate_python(content, strict=False)
    batches = [workload.generate(seed) for seed in range(options.seeds)]
    cv = np.array([gap_cv(batch.arrival_s) for batch in batches]) / gap_cv(rows.arrival_s) - 1
    print(f"CV of gaps      {cv.min():+.1%} to {cv.max():+.1%}")
    print(f"{'':15} {'p50':>8} {'p90':>8} {'p99':>8}")
    for column in COLUMNS:
        source = np.quantile(getattr(rows, column), PROBABILITIES)
        law = getattr(workload, column).quantile(PROBABILITIES) / source - 1
        drawn = np.array([np.quantile(getattr(b, column), PROBABILITIES) for b in batches])
        misses = np.abs(drawn / source - 1)
        for name, values in (
            (f"{column[:-7]}, law", law),
            ("  median miss", np.median(misses, axis=0)),
            ("  over 5 %", (misses > 0.05).mean(axis=0)),
        ):
            print(f"{name:15} " + " ".join(f"{value:8.1%}" for value in values))


if __name__ == "__main__":
    main()
