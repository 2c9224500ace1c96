"""From what a run recorded to what a reader wants to know."""

from __future__ import annotations

from simulator.metrics.latency import METRICS, PERCENTS, query_table, request_latencies
from simulator.metrics.record import (
    LATENCY_PARTS,
    REQUEST_COLUMNS,
    STATUSES,
    TIMELINE_COLUMNS,
    RunRecord,
)
from simulator.metrics.summary import summarise

__all__ = [
    "LATENCY_PARTS",
    "METRICS",
    "PERCENTS",
    "REQUEST_COLUMNS",
    "STATUSES",
    "TIMELINE_COLUMNS",
    "RunRecord",
    "query_table",
    "request_latencies",
    "summarise",
]
