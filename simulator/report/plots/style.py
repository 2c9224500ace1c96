"""The look all plots share. Colours: Okabe and Ito, "Color Universal Design" (2008).

The palette keeps its distinctions under the common forms of colour blindness; a colour means the
same thing in every plot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.ticker import FuncFormatter, NullLocator

from simulator.report import units

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

COLOURS = {
    "queue": "#999999",
    "prefill": "#0072B2",
    "thinking": "#E69F00",
    "answer": "#009E73",
    "preempted": "#D55E00",
    "ttft": "#0072B2",
    "ttfo": "#009E73",
    "tta": "#CC79A7",
    "prompt": "#0072B2",
    "running": "#009E73",
    "waiting": "#D55E00",
    "kv": "#0072B2",
}
INK = "#333333"
FAINT = "#DDDDDD"


def tidy(ax: Axes, title: str) -> None:
    """Title to the left with room for a legend below it, no box, a faint grid behind the data."""
    # a given y spares matplotlib measuring every tick label to find one
    ax.set_title(title, loc="left", y=1.0, pad=22, fontsize=10.5, fontweight="bold", color=INK)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(INK)
    ax.tick_params(colors=INK, labelsize=9)
    ax.grid(True, color=FAINT, linewidth=0.6)
    ax.set_axisbelow(True)


def seconds_axis(axis: Axis) -> None:
    """Label a logarithmic axis of seconds, powers of ten only, in readable units: 10 ms, 100 s."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))
    axis.set_minor_locator(NullLocator())


def counts_axis(axis: Axis) -> None:
    """Label an axis of counts as 10, 1k, 100k, 1M, without minor ticks."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axis.set_minor_locator(NullLocator())


def shares_axis(axis: Axis) -> None:
    """Label a logarithmic axis of shares, powers of ten only: 100 %, 1 %, 0.01 %."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axis.set_minor_locator(NullLocator())


def legend(ax: Axes, *, columns: int = 1) -> None:
    """A legend above the data area, on the left: it hides nothing whatever the data are."""
    ax.legend(
        loc="lower left",
        bbox_to_anchor=(-0.01, 0.995),
        ncols=columns,
        fontsize=8.5,
        frameon=False,
        borderaxespad=0.2,
        handlelength=1.4,
        columnspacing=1.4,
        labelcolor=INK,
    )


def lift_title(ax: Axes, lines: int) -> None:
    """Move the title up, to leave room for a legend of so many lines below it."""
    title = ax.get_title(loc="left")
    pad = 9 + 13 * lines
    ax.set_title(title, loc="left", y=1.0, pad=pad, fontsize=10.5, fontweight="bold", color=INK)


def empty(ax: Axes, why: str) -> Axes:
    """An Axes that says why it shows nothing."""
    ax.text(0.5, 0.5, why, ha="center", va="center", transform=ax.transAxes, color=INK)
    ax.set_xticks([])
    ax.set_yticks([])
    return ax


def _tick(value_s: float) -> str:
    if value_s < 1:
        return f"{value_s * 1e3:g} ms"
    return f"{value_s:,.0f} s" if value_s < 3600 else units.seconds(value_s)


def short(value: float) -> str:
    """A count in at most three digits and a letter: 950, 1.02k, 11.6k, 3M."""
    for factor, unit in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g}{unit}"
    return f"{value:g}"
