"""Rows of a report on how well GPUs are used, and how evenly requests are served."""

from __future__ import annotations

from typing import Any

from simulator.metrics.slowdown import LENGTH_CLASSES
from simulator.report import units

Rows = tuple[tuple[str, str, str], ...]


def efficiency_rows(summary: dict[str, Any]) -> Rows:
    """Batch size, use of the GPUs, energy and, if there was any, waste."""
    rows = [
        ("batch", _number(summary["running_mean"], 1), "mean, 1 replica"),
        ("batch p95", _number(summary["running_p95"]), f"peak {_number(summary['running_peak'])}"),
        ("MBU", units.percent(summary["mbu"]), "of bandwidth"),
        ("MFU", units.percent(summary["mfu"]), "of peak FLOP/s"),
        ("power", units.rate(summary["mean_gpu_power_w"], "W"), "1 GPU, mean"),
        ("energy", units.rate(summary["energy_j_per_output_token"], "J"), "output token"),
    ]
    if summary["wasted_tokens"]:
        rows.append(("wasted", units.percent(summary["wasted_token_share"]), "of tokens"))
    return tuple(rows)


def fairness_rows(summary: dict[str, Any]) -> Rows:
    """Slowdown by length, requests overtaken, evenness between clients.

    Empty where there is one client and requests were served as they came: nothing to be fair about.
    """
    several = summary["num_clients"] > 1
    if not several and not summary["overtaken_requests"]:
        return ()
    lengths = summary["slowdown_by_length"]
    rows = [("slowdown", _times(summary["mean_slowdown"]), _p99(summary["p99_slowdown"]))]
    rows += [
        (f"· {name}", _times(lengths[name]["mean"]), _p99(lengths[name]["p99"]))
        for name in LENGTH_CLASSES
        if name in lengths
    ]
    waited = summary["longest_overtaken_wait_s"]
    remark = "" if waited is None else f"≤ {units.seconds(waited)}"
    rows.append(("overtaken", units.count(summary["overtaken_requests"]), remark))
    if several:
        clients = f"{units.count(summary['num_clients'])} clients"
        rows.append(("Jain, service", _number(summary["jain_service"], 3), clients))
        rows.append(("Jain, tta", _number(summary["jain_mean_tta"], 3), ""))
        gap = summary["max_service_gap_tokens"]
        if gap is not None:
            rows.append(("service gap", units.count(gap), "tokens"))
    return tuple(rows)


def _number(value: float | None, decimals: int = 0) -> str:
    return units.NOTHING if value is None else f"{value:,.{decimals}f}"


def _times(ratio: float | None) -> str:
    return units.rate(ratio, "×")


def _p99(ratio: float | None) -> str:
    return f"p99 {_times(ratio)}"
