"""How lengths in a trace are distributed, and how close the best law comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulator.report.plots.style import (
    COLOURS,
    INK,
    counts_axis,
    empty,
    legend,
    lift_title,
    shares_axis,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from workloads.description import Description
    from workloads.traces import TraceRows

_POINTS = 1_500


def trace_lengths(rows: TraceRows, found: Description, ax: Axes) -> Axes:
    """Draw the share of lengths above a given one for each column, both axes logarithmic.

    Solid: the trace. Dashed: the best law (lowest BIC) of the lengths above 0, scaled to their
    share.
    """
    tidy(ax, "Lengths: share that is longer; dashed: the best law")
    least, largest = 1.0, 10
    for name, each in found.lengths.items():
        sample = each.sample
        if name == "output" or sample.values[-1] == 0:
            continue
        positive = sample.positive()
        above = 1 - sample.cumulative[-len(positive.values) :] + positive.weights / sample.total
        which = _spread(above)
        colour, best = COLOURS[name], each.fitted.best
        label = name if best is None else f"{name}: {best.title}, KS {best.ks:.3f}"
        values = np.concatenate(
            ([1], positive.values[which])
        )  # all are at least as long as the least
        shares = np.concatenate((above[:1], above[which]))
        ax.plot(values, shares, color=colour, lw=1.6, label=label)
        least = min(least, float(above[-1]))
        largest = max(largest, int(positive.values[-1]))
        if best is None:
            continue
        low, high = int(positive.values[0]), int(positive.values[-1])
        at = np.unique(np.geomspace(low, high, 600).astype(np.int64))
        share = (1 - sample.zero_share) * best.law.survival(at - 1)
        ax.plot(at, share, color=colour, lw=1.1, ls=(0, (4, 2)), alpha=0.9)
    if largest == 10 and least == 1.0:
        return empty(ax, "no lengths")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(1, largest * 1.3)
    ax.set_ylim(0.4 * least, 1.6)
    counts_axis(ax.xaxis)
    shares_axis(ax.yaxis)
    ax.set_xlabel("tokens", color=INK)
    ax.set_ylabel("share of requests", color=INK)
    legend(ax)
    lift_title(ax, lines=sum(name != "output" for name in found.lengths))
    return ax


def _spread(above: np.ndarray) -> np.ndarray:
    """Indices of some points that lie evenly on a logarithmic axis of shares."""
    wanted = np.geomspace(above[0], above[-1], min(_POINTS, len(above)))
    found = np.searchsorted(-above, -wanted, side="left")
    return np.unique(np.concatenate((found, [0, len(above) - 1])).clip(0, len(above) - 1))
