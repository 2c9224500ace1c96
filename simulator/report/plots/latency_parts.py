"""Where the time of a request goes, for short and for long outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulator.metrics.record import LATENCY_PARTS
from simulator.report import units
from simulator.report.plots.style import COLOURS, INK, empty, legend, short, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from simulator.result import Result

_MIN_REQUESTS = 4


def latency_parts(result: Result, ax: Axes) -> Axes:
    """Draw mean seconds of queue, prefill, thinking, answer and preemption as stacked bars.

    One bar per quarter of the measured completed requests by output length; the parts add up to
    the mean end-to-end latency, which is written at the end of the bar.
    """
    requests = result.requests
    completed = requests[requests["measured"] & (requests["status"] == "completed")]
    tidy(ax, "Where the time goes, by quarter of output length (tokens)")
    if len(completed) < _MIN_REQUESTS:
        return empty(ax, f"fewer than {_MIN_REQUESTS} measured requests completed")
    lengths = completed["generated_tokens"].to_numpy(np.int64)
    quarters = np.array_split(np.argsort(lengths, kind="stable"), 4)
    parts = completed[list(LATENCY_PARTS)].to_numpy(np.float64)
    means = np.array([parts[members].mean(axis=0) for members in quarters])
    labels = [
        f"{name}\n{short(lengths[members].min())}–{short(lengths[members].max())}"
        for name, members in zip(("shortest", "2nd", "3rd", "longest"), quarters, strict=True)
    ]
    place = np.arange(4)[::-1]
    left = np.zeros(4)
    for part, column in zip(LATENCY_PARTS, means.T, strict=True):
        name = part.removesuffix("_s")
        ax.barh(place, column, left=left, height=0.62, color=COLOURS[name], label=name)
        left += column
    for y, total in zip(place, left, strict=True):
        ax.annotate(
            units.seconds(float(total)),
            (total, y),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=INK,
        )
    ax.set_yticks(place, labels)
    ax.set_xlim(0, 1.15 * left.max() or 1)
    ax.grid(False, axis="y")
    ax.set_xlabel("mean seconds from arrival to last token", color=INK)
    legend(ax, columns=len(LATENCY_PARTS))
    return ax
