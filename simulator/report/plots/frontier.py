"""Accuracy against what it costs and how long it takes: what is on the front, and what is not."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from simulator.report.plots.style import INK, seconds_axis, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from simulator.studies.frontier import Choice

_FRONT, _DOMINATED = "#0072B2", "#999999"


def frontier_png(choices: Sequence[Choice]) -> bytes:
    """Accuracy against cost at capacity, and against p99 tta, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.0, 5.2), dpi=120)
    left, right = figure.subplots(1, 2, sharey=True)
    against_cost(choices, left)
    against_tta(choices, right)
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def against_cost(choices: Sequence[Choice], ax: Axes) -> Axes:
    """Accuracy (percent) against US dollars per thousand queries of a busy cluster."""
    costs = [choice.cost_usd_per_query_at_capacity for choice in choices]
    _draw(choices, [None if cost is None else 1e3 * cost for cost in costs], ax)
    ax.set_xlabel("US dollars per 1,000 queries, cluster busy", color=INK)
    ax.set_ylabel("right answers, %", color=INK)
    tidy(ax, "Accuracy and cost")
    return ax


def against_tta(choices: Sequence[Choice], ax: Axes) -> Axes:
    """Accuracy (percent) against the p99 time to answer."""
    _draw(choices, [choice.p99_tta_s for choice in choices], ax)
    ax.set_xlabel("time to answer, p99", color=INK)
    seconds_axis(ax.xaxis)
    tidy(ax, "Accuracy and time to answer")
    return ax


def _draw(choices: Sequence[Choice], at: Sequence[float | None], ax: Axes) -> None:
    points = [(x, choice) for x, choice in zip(at, choices, strict=True) if x is not None]
    ax.set_xscale("log")
    front: list[tuple[float, float]] = []
    for x, choice in sorted(points, key=lambda point: (point[0], -point[1].accuracy)):
        if not front or 100 * choice.accuracy > front[-1][1]:
            front.append((x, 100 * choice.accuracy))
    if front:
        ax.plot(*zip(*front, strict=True), color=_FRONT, linewidth=1.2, zorder=1)
    for x, choice in points:
        colour = _DOMINATED if choice.dominated_by is not None else _FRONT
        y = 100 * choice.accuracy
        below, above = y - 100 * choice.accuracy_low, 100 * choice.accuracy_high - y
        over = choice.verdict == "OVERLOADED"
        ax.errorbar(
            x,
            y,
            yerr=[[max(below, 0.0)], [max(above, 0.0)]],
            color=colour,
            marker="x" if over else "o",
            linewidth=1.0,
            capsize=2,
        )
        ax.annotate(
            choice.label,
            (x, y),
            xytext=(5, 4),
            textcoords="offset points",
            fontsize=7.5,
            color=INK if colour == _FRONT else _DOMINATED,
        )
    ax.margins(x=0.18)
