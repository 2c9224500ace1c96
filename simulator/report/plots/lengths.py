"""What the workload was: lengths of prompts, thinking and answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulator.report import units
from simulator.report.plots.style import COLOURS, INK, counts_axis, empty, legend, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from simulator.result import Result

_BINS_PER_DECADE = 12


def lengths(result: Result, ax: Axes) -> Axes:
    """Draw histograms of prompt, thinking and answer tokens of measured requests, logarithmic.

    Bins are equally wide on the axis, 12 to a factor of ten, the same for all three. Requests that
    do not think have no place on the axis; the legend gives their share.
    """
    measured = result.requests[result.requests["measured"].to_numpy(bool)]
    tidy(ax, "Lengths of prompts, thinking and answers")
    if measured.empty:
        return empty(ax, "no measured request")
    values = {
        name: measured[f"{name}_tokens"].to_numpy(np.float64)
        for name in ("prompt", "thinking", "answer")
    }
    longest = max(float(tokens.max()) for tokens in values.values())
    decades = np.ceil(np.log10(max(longest, 9.0) + 1) * _BINS_PER_DECADE)
    edges = 10 ** (np.arange(decades + 1) / _BINS_PER_DECADE)
    edges[0] = 0.999  # keeps single tokens in the first bin
    for name, tokens in values.items():
        positive = tokens[tokens > 0]
        if not len(positive):
            continue
        label = f"{name}, mean {units.count(float(tokens.mean()))}"
        if len(positive) < len(tokens):
            label += f" ({units.percent(1 - len(positive) / len(tokens))} without)"
        counts, _ = np.histogram(positive, edges)
        ax.stairs(100 * counts / len(tokens), edges, color=COLOURS[name], lw=1.8, label=label)
        ax.stairs(100 * counts / len(tokens), edges, color=COLOURS[name], alpha=0.15, fill=True)
    ax.set_xscale("log")
    ax.set_xlim(max(1.0, 0.7 * min(v[v > 0].min() for v in values.values() if v.any())), edges[-1])
    counts_axis(ax.xaxis)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("tokens", color=INK)
    ax.set_ylabel("requests in bin (%)", color=INK)
    legend(ax, columns=3)
    return ax
