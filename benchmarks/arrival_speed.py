"""How long it takes to draw a million arrival times of each process.

    python benchmarks/arrival_speed.py [--json]

On one core, best of three, random numbers included. "1000 x 10" draws the 10 requests of each of
1,000 clients, in milliseconds: what a call costs.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from workloads.arrivals import ArrivalProcess, Arrivals

COUNT = 1_000_000
REPEATS = 3
PROCESSES: list[dict[str, Any]] = [
    {"kind": "poisson", "rate_rps": 10},
    {"kind": "deterministic", "rate_rps": 10},
    {"kind": "gamma", "rate_rps": 10, "cv": 0.3},
    {"kind": "gamma", "rate_rps": 10, "cv": 2},
    {"kind": "weibull", "rate_rps": 10, "cv": 2},
    {
        "kind": "mmpp",
        "states": [
            {"rate_rps": 30, "mean_sojourn_s": 20},
            {"rate_rps": 2, "mean_sojourn_s": 50},
        ],
    },
    {"kind": "piecewise", "rates_rps": [5, 20, 5], "step_s": 300, "repeat": True},
    {"kind": "piecewise", "rates_rps": [5, 20, 5], "step_s": 300, "repeat": True, "cv": 2},
    {"kind": "batched", "rates_rps": [10], "times_s": [0], "tick_s": 3},
    {"kind": "diurnal", "rate_rps": 10, "amplitude": 0.7},
    {"kind": "bursts", "rate_rps": 10, "mean_size": 5, "gap_s": 0.1},
    {"kind": "trace_times", "repeat": True},
    {"kind": "all_at_once"},
]


@dataclass(frozen=True)
class Timing:
    """Seconds of one process."""

    process: str
    million_s: float
    clients_s: float


def best(run: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def measure(content: dict[str, Any]) -> Timing:
    law: ArrivalProcess = TypeAdapter(Arrivals).validate_python(content)

    def clients() -> None:
        for client in range(1000):
            law.times(0, str(client), count=10)

    clients()  # imports scipy.special, reads the trace
    return Timing(law.describe(), best(lambda: law.times(0, "a", count=COUNT)), best(clients))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    as_json = parser.parse_args().json
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.csv"
        rows = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
        rows += [f"2023-11-16 18:{i // 60:02}:{i % 60:02},100,10" for i in range(3600)]
        trace.write_text("\n".join(rows) + "\n", encoding="utf-8")
        named = {"trace_times": {"path": str(trace)}}
        timings = [measure(process | named.get(process["kind"], {})) for process in PROCESSES]
    if as_json:
        print(json.dumps([asdict(timing) for timing in timings], indent=1))
        return
    print(f"{'million ms':>10} {'1000 x 10':>9}  process")
    for row in timings:
        print(f"{row.million_s * 1e3:10.0f} {row.clients_s * 1e3:9.0f}  {row.process}")


if __name__ == "__main__":
    main()
