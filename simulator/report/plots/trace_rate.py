"""How many requests a trace has over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulator.report import units
from simulator.report.plots.style import COLOURS, INK, counts_axis, legend, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from workloads.description import Description
    from workloads.traces import TraceRows


def trace_rate(rows: TraceRows, found: Description, ax: Axes) -> Axes:
    """Draw arrivals per second in equal steps of time, and their mean as a dashed line."""
    arrivals = found.arrivals
    rates = arrivals.rates_rps
    edges_s = arrivals.step_s * np.arange(len(rates) + 1)
    factor, unit = _time_unit(arrivals.span_s)
    colour = COLOURS["prompt"]
    tidy(ax, f"Arrivals over time, per {units.limit(arrivals.step_s)}")
    ax.stairs(rates, edges_s * factor, color=colour, lw=1.3, label="rate")
    ax.stairs(rates, edges_s * factor, color=colour, alpha=0.15, fill=True, lw=0)
    if arrivals.rate_rps is not None:
        label = f"mean {units.rate(arrivals.rate_rps, 'req/s')}"
        ax.axhline(arrivals.rate_rps, color=INK, lw=1, ls="--", label=label)
    ax.set_xlim(0, edges_s[-1] * factor)
    ax.set_ylim(bottom=0)
    ax.set_xlabel(f"time since the first request ({unit})", color=INK)
    ax.set_ylabel("requests per second", color=INK)
    counts_axis(ax.yaxis)
    legend(ax, columns=2)
    return ax


def _time_unit(span_s: float) -> tuple[float, str]:
    if span_s > 3 * 86_400:
        return 1 / 86_400, "days"
    if span_s > 3 * 3600:
        return 1 / 3600, "h"
    return (1 / 60, "min") if span_s > 300 else (1.0, "s")
