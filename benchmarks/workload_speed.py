"""How fast requests are generated, and in how much memory.

    python benchmarks/workload_speed.py [--json] [--requests N] [--windows FILE]

Every case runs in a process of its own, on one core: a first small call loads what is imported
when needed, then the best of three is taken. Memory is the peak of the whole process, interpreter
and libraries included ("libraries" generates nothing).

A population needs files: ServeGen's, if you name them (`--windows`: the table, or the directory of
chunks), else a made-up one of the same size: 73 clients, a day of ten-minute windows, some 1.38
million requests. "Streamed" takes it window by window and keeps nothing.
"""

from __future__ import annotations

import argparse
import gzip
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from workloads.kinds import AnyWorkload

REPEATS = 3
R1 = "deepseek_r1_api"
LENGTHS = {
    f"{part}_tokens": {"kind": "preset", "name": f"{R1}.{part}"}
    for part in ("prompt", "thinking", "answer")
}
MIX = {
    "chat": {"preset": "chat", "share": 5},
    "coding": {"preset": "coding", "share": 3},
    "math_word_problem": {"preset": "math_word_problem", "share": 2},
}
AGENT_REQUESTS = 70  # what an agent sends, about; at 1 agent a second
CLIENTS, RATE_RPS, DAY_S, WINDOW_S = 73, 16.0, 86_400, 600


@dataclass(frozen=True)
class Timing:
    """One case."""

    name: str
    requests: int
    wall_s: float
    peak_memory_mb: float

    @property
    def requests_per_s(self) -> float:
        """Requests generated per second of wall time."""
        return self.requests / self.wall_s if self.wall_s else 0.0


def cases(requests: int, windows: str) -> dict[str, dict[str, Any] | None]:
    """What is measured: a name, and the workload as an experiment would say it."""
    return {
        "libraries": None,
        "synthetic, poisson": {
            "kind": "synthetic",
            "arrivals": {"kind": "poisson", "rate_rps": 10.0},
            "num_requests": requests,
            **LENGTHS,
        },
        "synthetic, gamma": {
            "kind": "synthetic",
            "arrivals": {"kind": "gamma", "rate_rps": 10.0, "cv": 2.5},
            "num_requests": requests,
            **LENGTHS,
        },
        "mix of three classes": {
            "kind": "mix",
            "arrivals": {"kind": "poisson", "rate_rps": 10.0},
            "classes": MIX,
            "num_requests": requests,
        },
        "agents in sessions": {
            "kind": "mix",
            "arrivals": {"kind": "poisson", "rate_rps": 1.0},
            "classes": {"agentic_coding": {"preset": "agentic_coding"}},
            "duration_s": requests / AGENT_REQUESTS,
        },
        "population, a day": {"kind": "population", "windows_path": windows},
        "population, streamed": {"kind": "population", "windows_path": windows},
    }


def generate(name: str, settings: dict[str, Any]) -> int:
    """Generates the requests of one case and counts them."""
    workload: Any = TypeAdapter(AnyWorkload).validate_python(settings)
    if name.endswith("streamed"):
        return sum(map(len, workload.batches(0)))
    return len(workload.generate(0))


def measure(name: str, settings: dict[str, Any] | None) -> Timing:
    """The best of three of one case, in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure_in_this_process, (name, settings))


def _measure_in_this_process(name: str, settings: dict[str, Any] | None) -> Timing:
    requests, wall_s = 0, 0.0
    if settings is not None:
        few = "limit" if settings["kind"] == "population" else "num_requests"
        generate(name, {**settings, few: 20})
        walls = []
        for _ in range(REPEATS):
            started = time.perf_counter()
            requests = generate(name, settings)
            walls.append(time.perf_counter() - started)
        wall_s = min(walls)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Timing(name, requests, wall_s, peak)


def write_population(directory: Path) -> Path:
    """A made-up population as large as ServeGen's DeepSeek-R1 day; returns its table."""
    rng = np.random.default_rng(0)
    share = 1.0 / np.arange(1, CLIENTS + 1) ** 1.2
    share /= share.sum()
    hours = np.arange(0, DAY_S, WINDOW_S) / 3600
    daily = 1.0 + 0.7 * np.sin((hours - 8.0) * np.pi / 12.0)
    rows = ["client_id,t_s,rate_rps,iat_cv,pattern,shape,scale"]
    for client in range(CLIENTS):
        cvs = np.exp(rng.normal(0.1, 0.5, len(hours)))
        for i, (level, cv) in enumerate(zip(daily, cvs, strict=True)):
            rate = RATE_RPS * share[client] * level
            rows.append(f"{client},{i * WINDOW_S},{rate:.6g},{cv:.6g},Gamma,{cv**-2:.6g},1")
    table = directory / "made_up_windows.csv"
    table.write_text("\n".join(rows) + "\n")
    with gzip.open(directory / "made_up_pdfs.jsonl.gz", "wt", compresslevel=1) as file:
        for client in range(CLIENTS):
            for start_s in range(0, DAY_S, 6 * 3600):
                columns = {
                    "input_tokens": _histogram(np.exp(rng.normal(5.2, 1.8, 2000)), 57_000),
                    "output_tokens": _histogram(np.exp(rng.normal(6.8, 1.0, 4000)), 32_768),
                    "reason_ratio": {
                        "prob": (np.bincount(rng.integers(0, 501, 3000)) / 3000).tolist()
                    },
                }
                times = {"client_id": client, "window_start_s": start_s, "window_len_s": 6 * 3600}
                file.write(json.dumps(times | columns) + "\n")
    return table


def _histogram(lengths: np.ndarray, cap: int) -> dict[str, list[float]]:
    values, counts = np.unique(np.clip(lengths, 1, cap).astype(int), return_counts=True)
    return {"value": values.tolist(), "prob": (counts / counts.sum()).tolist()}


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--requests", type=int, default=1_000_000, help="per drawn workload")
    parser.add_argument("--windows", help="a ServeGen population instead of a made-up one")
    arguments = parser.parse_args()

    show: Callable[[str], None] = (lambda line: None) if arguments.json else print
    timings = []
    with tempfile.TemporaryDirectory() as directory:
        windows = arguments.windows or str(write_population(Path(directory)))
        for name, settings in cases(arguments.requests, windows).items():
            timing = measure(name, settings)
            timings.append(timing)
            show(
                f"{timing.name:<22}{timing.requests:>10,} requests {timing.wall_s:>7.2f} s"
                f"  {timing.requests_per_s:>10,.0f} /s  {timing.peak_memory_mb:>6,.0f} MB"
            )
    if arguments.json:
        figures = [asdict(one) | {"requests_per_s": one.requests_per_s} for one in timings]
        print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
