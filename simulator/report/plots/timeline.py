"""What happened in the cluster over simulated time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulator.metrics.load import pool_timeline
from simulator.report.plots.style import COLOURS, FAINT, INK, counts_axis, legend, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from simulator.result import Result

_MEMORY_SHARE = 0.36  # of the height, gap included


def timeline(result: Result, ax: Axes) -> Axes:
    """Draw running and waiting requests of all pools, and the use of KV memory below them.

    The given Axes keeps the requests and yields its lower third to a second panel: mean use over
    replicas, and the fullest replica as a shade. Time outside the measuring window is grey.
    """
    pool = pool_timeline(result.timeline)
    times, unit = _scaled(pool["t_s"].to_numpy(np.float64))
    scale = times[-1] / pool["t_s"].iloc[-1] if len(pool) and pool["t_s"].iloc[-1] > 0 else 1.0
    box = ax.get_position()
    height = (1 - _MEMORY_SHARE) * box.height
    ax.set_position((box.x0, box.y1 - height, box.width, height))
    # in units of what is left of ax; the gap between the panels is a fifth of the lower one
    share = _MEMORY_SHARE / (1 - _MEMORY_SHARE)
    memory = ax.inset_axes((0.0, -share, 1.0, 0.8 * share))
    where = "pool" if len(result.record.pools) == 1 else "cluster"
    tidy(ax, f"Requests in the {where}, and KV memory in use")
    tidy(memory, "")

    for name in ("running", "waiting"):
        values = pool[name].to_numpy(np.float64)
        ax.plot(times, values, color=COLOURS[name], lw=1.4, drawstyle="steps-post", label=name)
    ax.fill_between(times, pool["waiting"], color=COLOURS["waiting"], alpha=0.18, lw=0, step="post")
    used, fullest = 100 * pool["kv_used_frac"], 100 * pool["kv_used_frac_max"]
    memory.fill_between(times, fullest, color=COLOURS["kv"], alpha=0.18, lw=0, step="post")
    memory.plot(times, used, color=COLOURS["kv"], lw=1.4, drawstyle="steps-post")

    start, end = (edge * scale for edge in result.record.window_s)
    last = result.record.end_s * scale
    shaded = False
    for panel in (ax, memory):
        for left, right in ((0.0, start), (end, last)):
            if right > left:
                shaded = True
                panel.axvspan(left, right, color=FAINT, alpha=0.6, lw=0, zorder=0)
        panel.set_xlim(0, last or 1)
        panel.set_ylim(bottom=0)
    counts_axis(ax.yaxis)
    ax.tick_params(labelbottom=False)
    ax.set_ylabel("requests", color=INK)
    legend(ax, columns=2)
    memory.set_ylim(0, max(100.0, float(fullest.max()) if len(fullest) else 0.0))
    memory.set_ylabel("KV use (%)", color=INK)
    remark = "; grey: outside the measuring window" if shaded else ""
    memory.set_xlabel(f"simulated time ({unit}){remark}", color=INK)
    return ax


def _scaled(times_s: np.ndarray) -> tuple[np.ndarray, str]:
    last = float(times_s[-1]) if len(times_s) else 0.0
    if last > 3 * 3600:
        return times_s / 3600, "h"
    return (times_s / 60, "min") if last > 300 else (times_s, "s")
