"""What a report shows, in words and numbers, before anybody lays it out.

The terminal table and the HTML page draw the same rows from the summary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from simulator.metrics.latency import METRICS, PERCENTS
from simulator.report import units
from simulator.report.efficiency_rows import efficiency_rows, fairness_rows

MEANINGS = {
    "ttft": "time to first token",
    "ttfo": "time to first answer token",
    "tpot": "time per output token",
    "itl": "inter-token latency",
    "e2el": "end-to-end latency",
    "tta": "time to answer, per query",
}
PARTS = ("queue", "prefill", "thinking", "answer", "preempted")


@dataclass(frozen=True)
class LatencyRow:
    """One latency: its mean, and each percentile with and without its half-width."""

    name: str
    meaning: str
    mean: str
    percentiles: tuple[str, ...]
    percentiles_ci95: tuple[str, ...]


@dataclass(frozen=True)
class Block:
    """A titled list of (label, value, remark)."""

    title: str
    rows: tuple[tuple[str, str, str], ...]


def latency_rows(summary: dict[str, Any]) -> list[LatencyRow]:
    """A row for each of ttft, ttfo, tpot, itl, e2el and tta."""
    return [
        LatencyRow(
            name,
            MEANINGS[name],
            units.duration(summary[f"mean_{name}_ms"], summary[f"mean_{name}_ci95_ms"]),
            tuple(units.duration(summary[f"p{p}_{name}_ms"]) for p in PERCENTS),
            tuple(
                units.duration(summary[f"p{p}_{name}_ms"], summary[f"p{p}_{name}_ci95_ms"])
                for p in PERCENTS
            ),
        )
        for name in METRICS
    ]


CLASS_COLUMNS = ("queries", "thinking", "ttft p50", "ttfo p50", "tta p50", "tta p99", "SLO met")


def class_rows(summary: dict[str, Any]) -> list[tuple[str, ...]]:
    """A row for each class, its name and then `CLASS_COLUMNS`; none where there is one class."""
    shown = summary["classes"]
    if len(shown) < 2:
        return []
    rows = []
    for name, each in shown.items():
        thinking = each["total_thinking_tokens"] / each["completed"] if each["completed"] else None
        times = (each[key] for key in ("p50_ttft_ms", "p50_ttfo_ms", "p50_tta_ms", "p99_tta_ms"))
        attained = each["slo_attainment"]
        rows.append(
            (
                name,
                units.count(each["num_queries"]),
                units.count(None if thinking is None else round(thinking)),
                *(units.duration(value) for value in times),
                units.NOTHING if attained is None else units.percent(attained),
            )
        )
    return rows


POOL_IS = ("model", "GPU", "replicas", "GPU-hours", "cost")
POOL_DID = ("served", "tok/s", "KV mean", "KV peak")
POOL_COLUMNS = (*POOL_IS, *POOL_DID)


def pool_rows(summary: dict[str, Any]) -> list[tuple[str, ...]]:
    """A row for each pool, its name and then `POOL_COLUMNS`; none where there is one pool."""
    shown = summary["pools"]
    if len(shown) < 2:
        return []
    return [
        (
            name,
            each["model"],
            each["gpu"],
            str(each["replicas"]),
            f"{each['gpu_hours']:,.2f}",
            units.usd(each["cost_usd"]),
            units.count(each["completed"]),
            units.count(each["output_throughput"]),
            *(units.percent(each[key]) for key in ("kv_usage_mean", "kv_usage_peak")),
        )
        for name, each in shown.items()
    ]


def blocks(summary: dict[str, Any]) -> list[Block]:
    """Requests, throughput, memory, latency parts, cost, expected error, batch and fairness.

    Those with nothing to say are left out.
    """
    found = [
        Block("Requests", _requests(summary)),
        Block("Throughput", _throughput(summary)),
        Block("KV cache", _memory(summary)),
        Block("Where the time goes", _parts(summary)),
        Block("Cost", _cost(summary)),
        Block("Answers", _answers(summary)),
        Block("Expected error", _expected_error(summary)),
        Block("Batch and GPUs", efficiency_rows(summary)),
        Block("Fairness", fairness_rows(summary)),
    ]
    return [block for block in found if block.rows]


def load_line(summary: dict[str, Any]) -> str:
    """Offered load against capacity, in one line."""
    offered = units.rate(summary["offered_rps"], "req/s")
    if summary["offered_load"] is None:
        return f"offered {offered}, capacity not known"
    capacity = units.rate(summary["capacity_rps"], "req/s")
    return f"offered {offered} / capacity about {capacity} = {summary['offered_load']:.2f}"


def slo_line(summary: dict[str, Any]) -> str | None:
    """The objectives and the share of requests that met them all; None without objectives."""
    if summary["slo_attainment"] is None:
        return None
    limits = ", ".join(
        f"{name.removesuffix('_s')} ≤ {units.limit(value)}"
        for name, value in summary["slo"].items()
    )
    if any(each["slo"] != summary["slo"] for each in summary["classes"].values()):
        limits = f"{limits}, or that of the class" if limits else "of each class"
    return f"{limits}: met by {units.percent(summary['slo_attainment'])}"


def _requests(summary: dict[str, Any]) -> tuple[tuple[str, str, str], ...]:
    lost = ("rejected", "cancelled", "unfinished")
    return (
        (
            "measured",
            units.count(summary["num_prompts"]),
            f"of {units.count(summary['run_requests'])}",
        ),
        ("completed", units.count(summary["completed"]), ""),
        *((status, units.count(summary[status]), "") for status in lost if summary[status]),
        ("most at once", units.count(summary["max_concurrent_requests"]), ""),
        ("window", units.seconds(summary["duration"]), f"run {units.seconds(summary['end_s'])}"),
    )


def _throughput(summary: dict[str, Any]) -> tuple[tuple[str, str, str], ...]:
    tokens = ("output_throughput", "max_output_tokens_per_s", "total_token_throughput")
    output, peak, every = (units.rate(summary[key], "tok/s") for key in tokens)
    rows = [
        ("requests", units.rate(summary["request_throughput"], "req/s"), ""),
        ("output tokens", output, ""),
        ("peak output", peak, ""),
        ("all tokens", every, ""),
        ("thinking", units.count(summary["total_thinking_tokens"]), "tokens"),
        ("answer", units.count(summary["total_answer_tokens"]), "tokens"),
    ]
    if summary["request_goodput"] is not None:
        rows.insert(1, ("goodput", units.rate(summary["request_goodput"], "req/s"), ""))
    return tuple(rows)


def _memory(summary: dict[str, Any]) -> tuple[tuple[str, str, str], ...]:
    blocks, size = summary["kv_blocks_per_replica"], summary["kv_block_size"]
    equal = [("blocks", units.count(blocks), f"× {size} tokens")] if blocks and size else []
    ratio = summary["prefix_hit_ratio"]
    hits = [] if ratio is None else [("prefix hits", units.percent(ratio), "of prompts")]
    return (
        ("mean use", units.percent(summary["kv_usage_mean"]), ""),
        ("peak use", units.percent(summary["kv_usage_peak"]), "1 replica"),
        *equal,
        ("preemptions", units.count(summary["num_preemptions"]), ""),
        ("recomputed", units.count(summary["recomputed_tokens"]), "tokens"),
        *hits,
    )


def _parts(summary: dict[str, Any]) -> tuple[tuple[str, str, str], ...]:
    means = {part: summary[f"mean_{part}_s"] for part in PARTS}
    total = sum(value or 0.0 for value in means.values())
    return tuple(
        (part, units.seconds(value), units.percent(value / total) if value and total else "")
        for part, value in means.items()
    )


def _cost(summary: dict[str, Any]) -> tuple[tuple[str, str, str], ...]:
    million = units.usd(summary["cost_usd_per_million_output_tokens"])
    return (
        ("GPU-hours", f"{summary['gpu_hours']:,.2f}", f"{summary['num_gpus']} GPUs"),
        ("this run", units.usd(summary["cost_usd"]), ""),
        ("per million", million, "output tok."),
        ("per query", units.usd(summary["cost_usd_per_completed_query"]), "completed"),
    )


def _answers(summary: dict[str, Any]) -> tuple[tuple[str, str, str], ...]:
    """How many are right, and what one costs; nothing where nobody judges them."""
    if summary["accuracy"] is None:
        return ()
    low, high = summary["accuracy_ci95"]
    rows = [
        ("queries", units.count(summary["judged_queries"]), ""),
        ("requests", f"{summary['mean_requests_per_query']:.2f}", "per query, mean"),
        ("right", units.percent(summary["accuracy"]), f"{100 * low:.1f} to {100 * high:.1f}"),
        ("per right one", units.usd(summary["cost_usd_per_correct_answer"]), ""),
        ("energy", units.rate(summary["energy_j_per_correct_answer"], "J"), "right answer"),
    ]
    if summary["net_benefit_usd_per_query"] is not None:
        rows.append(("net benefit", units.usd(summary["net_benefit_usd_per_query"]), "per query"))
    return tuple(rows)


# Figures whose bands a report has room for, and what it calls them.
_SHOWN_BANDS = {
    "mean_tta_ms": "mean tta",
    "p99_tta_ms": "p99 tta",
    "output_throughput": "throughput",
    "cost_usd_per_million_output_tokens": "cost",
}


def _expected_error(summary: dict[str, Any]) -> tuple[tuple[str, str, str], ...]:
    error = summary["expected_error"]
    deviation = error["iteration_time_relative_sd"]
    rows = [("iteration time", "-" if deviation is None else f"± {deviation:.1%}", "kernel fits")]
    for figure, label in _SHOWN_BANDS.items():
        band = error["p5_to_p95"].get(figure)
        if band:
            rows.append((label, f"{band[0]:+.1%} to {band[1]:+.1%}", "p5 to p95"))
    return tuple(rows)
