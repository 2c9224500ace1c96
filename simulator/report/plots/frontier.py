"""Accuracy against what it costs and how long it takes: what is on the front, and what is not."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.ticker import FuncFormatter, NullFormatter

from simulator.report.plots.style import INK, seconds_axis, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from simulator.studies.frontier import Choice

_FRONT, _DOMINATED = "#0072B2", "#999999"


def frontier_png(choices: Sequence[Choice]) -> bytes:
    """Accuracy against cost at capacity, and against p99 tta, as a PNG; dominated ones are grey."""
    from matplotlib.figure import Figure

    height = max(5.0, 1.2 + 0.24 * len(choices))
    figure = Figure(figsize=(14.0, height), dpi=120)
    left, right, names = figure.subplots(1, 3, width_ratios=(5, 5, 4))
    against_cost(choices, left)
    against_tta(choices, right)
    names.axis("off")
    step = min(0.24 / (0.77 * height), 0.08)
    for number, choice in enumerate(choices, 1):
        words = f"{number}  {choice.label}"
        if choice.verdict == "OVERLOADED":
            words += ": overloaded"
        colour = INK if choice.dominated_by is None else _DOMINATED
        names.text(0.0, 1.0 - step * number, words, fontsize=8.5, color=colour)
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def against_cost(choices: Sequence[Choice], ax: Axes) -> Axes:
    """Accuracy (percent) against US dollars per thousand queries of a busy cluster."""
    costs = [choice.cost_usd_per_query_at_capacity for choice in choices]
    _draw(choices, [None if cost is None else 1e3 * cost for cost in costs], ax)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"${value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("cost of 1,000 queries on a busy cluster", color=INK)
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
            str(choices.index(choice) + 1),
            (x, y),
            xytext=(5, 4),
            textcoords="offset points",
            fontsize=8.5,
            color=INK if colour == _FRONT else _DOMINATED,
        )
    ax.margins(x=0.1)
