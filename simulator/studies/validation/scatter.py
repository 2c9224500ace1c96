"""Predicted against measured, one plot a family of metrics."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from simulator.report.plots.style import FAINT, INK, empty, short, tidy
from simulator.studies.validation.errors import HEADLINE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito, as in `simulator.report.plots.style`; sources beyond these share the last.
_COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#E69F00",
    "#CC79A7",
    "#56B4E9",
    "#000000",
    "#999999",
)
_MARKERS = "oosD^vXP"
_LABELS = {
    "output_tps": "output tokens per second",
    "ttft_mean_ms": "mean time to first token (ms)",
    "tpot_mean_ms": "mean time per output token (ms)",
    "itl_median_ms": "median inter-token latency (ms)",
    "e2el_mean_ms": "mean latency of a request (ms)",
    "avg_running": "requests running",
    "avg_power_w": "power (W)",
}
# Axes that span less than this many times their start label the ticks between powers of ten too.
_DECADES = 20.0


def scatter(errors: pd.DataFrame, metric: str, ax: Axes) -> Axes:
    """Draw predictions of `metric` over measurements, both logarithmic, a colour a source.

    `errors` is that of `error_table`. The line is where both agree, the band 10 % about it.
    """
    from matplotlib.ticker import FuncFormatter, NullFormatter

    mine = errors[errors["metric"] == metric]
    label = _LABELS.get(metric, metric)
    tidy(ax, label[:1].upper() + label[1:])
    mine = mine[(mine["measured"] > 0) & (mine["predicted"] > 0)]
    if mine.empty:
        return empty(ax, "no prediction of it")
    both = np.concatenate([mine["measured"].to_numpy(), mine["predicted"].to_numpy()])
    ends = np.array([both.min() / 1.3, both.max() * 1.3])
    ax.fill_between(ends, ends * 0.9, ends * 1.1, color=FAINT, lw=0, zorder=0)
    ax.plot(ends, ends, color=INK, lw=0.8, zorder=1)
    sources = sorted(errors["src"].unique())  # of all metrics: a source looks the same in all plots
    for source, rows in mine.groupby("src", sort=True):
        at = min(sources.index(source), len(_COLOURS) - 1)
        median = 100 * float(rows["rel_err"].abs().median())
        ax.scatter(
            rows["measured"],
            rows["predicted"],
            s=14,
            marker=_MARKERS[at],
            color=_COLOURS[at],
            alpha=0.7,
            lw=0,
            label=f"{source}: {len(rows)}, {median:.0f} %",
        )
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(*ends)
    ax.set_ylim(*ends)
    labels = FuncFormatter(lambda value, _: short(value))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(labels)
        axis.set_minor_formatter(NullFormatter() if ends[1] > _DECADES * ends[0] else labels)
    ax.set_xlabel("measured", color=INK)
    ax.set_ylabel("predicted", color=INK)
    ax.legend(
        loc="lower right", fontsize=7.5, frameon=False, labelcolor=INK, title="rows, median error"
    ).get_title().set_fontsize(7.5)
    return ax


def render_scatters(errors: pd.DataFrame) -> dict[str, bytes]:
    """A PNG for each headline metric that has predictions, keyed by the metric."""
    from matplotlib.figure import Figure

    images = {}
    for metric in HEADLINE:
        if not (errors["metric"] == metric).any():
            continue
        # pyplot would keep the figures alive and pick a window system
        figure = Figure(figsize=(5.5, 5.2), dpi=110)
        scatter(errors, metric, figure.add_axes((0.13, 0.11, 0.83, 0.78)))
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
        images[metric] = buffer.getvalue()
    return images
