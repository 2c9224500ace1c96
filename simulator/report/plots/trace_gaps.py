"""How the gaps between arrivals of a trace are distributed, against those of a Poisson process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulator.report import units
from simulator.report.plots.style import (
    COLOURS,
    INK,
    empty,
    legend,
    seconds_axis,
    shares_axis,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from workloads.description import Description
    from workloads.traces import TraceRows

_POINTS = 2_000


def trace_gaps(rows: TraceRows, found: Description, ax: Axes) -> Axes:
    """Draw the share of gaps longer than a given time, both axes logarithmic.

    The dashed line is the exponential law of the same mean, that of a Poisson process. Gaps of 0
    have no place on the axis: where there are many, the curve begins below 1.
    """
    tidy(ax, "Gaps between arrivals: share that is longer")
    gaps = np.sort(np.diff(rows.arrival_s))
    positive = gaps[gaps > 0]
    if len(positive) < 2:
        return empty(ax, "no gaps between arrivals")
    # the longest gaps are few: points are spread evenly on the axis of shares
    rank = np.unique(np.geomspace(1, len(positive), min(_POINTS, len(positive))).astype(np.int64))
    shown, share = positive[-rank][::-1], (rank[::-1] - 0.5) / len(gaps)
    low, high = max(float(positive[0]), float(gaps.mean()) / 1e4), float(positive[-1])
    mean, cv = float(gaps.mean()), found.arrivals.cv or 0.0
    # below the shortest of them, all gaps but those of 0 are longer
    left = min(low, mean / 10)
    shown = np.concatenate(([left], shown))
    share = np.concatenate(([len(positive) / len(gaps)], share))
    label = f"trace, mean {units.seconds(mean)}, CV {cv:.2f}"
    ax.plot(shown, share, color=COLOURS["prompt"], lw=1.6, label=label)
    at = np.geomspace(left, max(high, 3 * mean), 400)
    exponential = np.exp(-at / mean)
    floor = 0.4 / len(gaps)
    ax.plot(at, exponential, color=INK, lw=1, ls="--", label="Poisson of the same rate")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(at[0], at[-1] * 1.1)
    ax.set_ylim(floor, 1.6)
    seconds_axis(ax.xaxis)
    shares_axis(ax.yaxis)
    ax.set_xlabel("gap", color=INK)
    ax.set_ylabel("share of gaps", color=INK)
    legend(ax, columns=2)
    return ax
