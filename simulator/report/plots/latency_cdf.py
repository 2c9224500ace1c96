"""How latencies are distributed: share of requests served within a given time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulator.report import units
from simulator.report.plots.style import COLOURS, INK, empty, legend, seconds_axis, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from simulator.result import Result

_POINTS = 1_000  # enough for the eye, whatever the number of requests


def latency_cdf(result: Result, ax: Axes) -> Axes:
    """Draw the distribution functions of ttft, ttfo and tta on a logarithmic axis of seconds.

    Over measured requests and queries that completed. Limits of the SLO are dotted lines in the
    colour of the latency they bind.
    """
    requests, queries = result.requests, result.queries
    completed = requests[requests["measured"] & (requests["status"] == "completed")]
    values = {
        "ttft": completed["ttft_s"],
        "ttfo": completed["ttfo_s"],
        "tta": queries.loc[queries["measured"].to_numpy(bool), "tta_s"],
    }
    tidy(ax, "Time to first token (ttft), first answer token (ttfo), answer (tta)")
    drawn = False
    for name, series in values.items():
        times = np.sort(series.dropna().to_numpy(np.float64))
        if not len(times):
            continue
        drawn = True
        share = np.linspace(0, 1, min(_POINTS, len(times)))
        at = np.round(share * (len(times) - 1)).astype(np.int64)
        # a latency of zero has no place on a logarithmic axis
        shown = np.maximum(times[at], 1e-6)
        label = f"{name}, p50 {units.seconds(float(np.median(times)))}"
        ax.step(
            shown, (at + 1) / len(times), where="post", color=COLOURS[name], lw=1.8, label=label
        )
        limit = result.record.slo.get(f"{name}_s")
        if limit is not None:
            ax.axvline(limit, color=COLOURS[name], lw=1.2, ls=":")
    if not drawn:
        return empty(ax, "no measured request completed")
    ax.set_xscale("log")
    seconds_axis(ax.xaxis)
    ax.set_ylim(0, 1.02)
    ax.set_xlabel("time since arrival", color=INK)
    ax.set_ylabel("share of requests", color=INK)
    legend(ax, columns=3)
    return ax
