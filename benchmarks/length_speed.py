"""How long it takes to draw a million lengths of each law.

    python benchmarks/length_speed.py [--json]

"first" is the first length of a law never used before: it tabulates the CDF. "million" draws as
many lengths, their random numbers included; "mean" is the exact mean. On one core, best of three.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter

from workloads.laws.law import Law
from workloads.lengths import LengthLaw
from workloads.synthetic import draw_lengths

COUNT = 1_000_000
REPEATS = 3
BODY = {"kind": "lognormal", "mu": 6.3572, "sigma": 1.0258}
LAWS: list[dict[str, Any]] = [
    {"kind": "constant", "tokens": 500},
    {"kind": "uniform", "max": 4000},
    {"kind": "lognormal", "mu": 6.3, "sigma": 1.0, "max": 32768},
    {"kind": "lognormal", "mu": 14.0, "sigma": 1.0},
    {"kind": "preset", "name": "deepseek_r1_api.thinking"},
    {"kind": "gamma", "shape": 2.274, "scale": 3103, "max": 32768},
    {"kind": "weibull", "shape": 1.931, "scale": 12849},
    {"kind": "pareto", "xi": 0.387, "scale": 677.8},
    {"kind": "burr", "c": 3.0948, "d": 0.3523, "scale": 267.72, "max": 32768},
    {"kind": "spliced", "body": BODY, "threshold": 2685, "xi": 0.131, "scale": 2872},
    {"kind": "histogram", "edges": [1, 100, 400, 4096], "counts": [120, 300, 45]},
    {"kind": "quantiles", "probabilities": [0, 0.5, 0.9, 1], "tokens": [1, 400, 2000, 32768]},
    {"kind": "empirical", "tokens": list(range(1, 10_001))},
]


@dataclass(frozen=True)
class Timing:
    """Seconds of one law."""

    law: str
    first_s: float
    million_s: float
    mean_s: float


def best(run: Callable[[], object], repeats: int = REPEATS) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def measure(content: dict[str, Any]) -> Timing:
    law: Law = TypeAdapter(LengthLaw).validate_python(content)
    first_s = best(lambda: draw_lengths(law, 0, "answer", "default", 1), repeats=1)
    million_s = best(lambda: draw_lengths(law, 0, "answer", "default", COUNT))
    return Timing(law.describe(), first_s, million_s, best(law.mean))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    as_json = parser.parse_args().json
    warm_up = TypeAdapter(LengthLaw).validate_python({**BODY, "max": 77})
    draw_lengths(warm_up, 0, "answer", "default", 1)  # imports scipy.special
    timings = [measure(content) for content in LAWS]
    if as_json:
        print(json.dumps([asdict(timing) for timing in timings], indent=1))
        return
    print(f"{'first ms':>9} {'million ms':>10} {'mean ms':>8}  law")
    for row in timings:
        times = f"{row.first_s * 1e3:9.1f} {row.million_s * 1e3:10.0f} {row.mean_s * 1e3:8.2f}"
        print(f"{times}  {row.law}")


if __name__ == "__main__":
    main()
