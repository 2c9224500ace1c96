"""Runs of experiments/policies, each once, and the table of experiments/policies/README.md."""

import re
import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from simulator import load_experiment, run

POLICIES = Path(__file__).parents[2] / "experiments" / "policies"
README = POLICIES / "README.md"

SCHEDULER = "pools.main.engine.scheduler="
SJF = SCHEDULER + "{kind: sjf, starvation_s: 600.0}"

_KEYS = {
    "p99 slowdown": "p99_slowdown",
    "output": "output_throughput",
    "service gap": "max_service_gap_tokens",
    "Jain of service": "jain_service",
    "prefix hits": "prefix_hit_ratio",
    "goodput": "request_goodput",
    "met SLO": "slo_attainment",
    "running": "running_mean",
    "imbalance": "running_imbalance",
}
_LATENCY = re.compile(r"(mean|median|p\d\d) (ttft|ttfo|tta)")
FIGURE = re.compile(r"([A-Za-z][\w ]*?) (\d[\d.,]*) → (\d[\d.,]*)")


@cache
def result(name, *overrides):
    """The result of an experiment at its committed seed."""
    return run(load_experiment(POLICIES / f"{name}.yaml", overrides))


def summary(name, *overrides):
    return result(name, *overrides).summary


@dataclass(frozen=True)
class Row:
    """A row of the table: a command, and (what, before, after) for each figure it gives."""

    name: str
    overrides: tuple[str, ...]
    figures: tuple[tuple[str, str, str], ...]


def rows():
    """All rows of the README's table that have a command."""
    found = []
    for line in README.read_text(encoding="utf-8").splitlines():
        if not line.startswith("| ") or "`ponder run " not in line:
            continue
        *_, measured, command = line.strip("| ").split(" | ")
        words = shlex.split(command.strip("`"))
        name = Path(words[2]).stem
        overrides = tuple(words[4::2])
        found.append(Row(name, overrides, tuple(FIGURE.findall(measured))))
    return found


def figure(shown, what):
    """The value in a summary that the README calls `what`, in its units, seconds for latencies."""
    first, _, rest = what.partition(" ")
    if first in shown["classes"]:
        shown, what = shown["classes"][first], rest
    latency = _LATENCY.fullmatch(what)
    if not latency:
        return shown[_KEYS[what]]
    statistic, name = latency.groups()
    key = f"{statistic}_{name}_ms"
    if key not in shown:  # classes have p50
        key = key.replace("median", "p50")
    return shown[key] / 1e3
