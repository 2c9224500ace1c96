"""Plots of a result: each takes the result and a matplotlib Axes, draws, and returns the Axes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from simulator.report.plots.latency_cdf import latency_cdf
from simulator.report.plots.latency_parts import latency_parts
from simulator.report.plots.lengths import lengths
from simulator.report.plots.timeline import timeline

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

    from simulator.result import Result

__all__ = ["PLOTS", "latency_cdf", "latency_parts", "lengths", "render_plots", "timeline"]

PLOTS: dict[str, Callable[[Result, Axes], Axes]] = {
    "latency_cdf": latency_cdf,
    "latency_parts": latency_parts,
    "timeline": timeline,
    "lengths": lengths,
}

_PNG = {"compress_level": 3}  # a third of the time for a tenth more bytes


def render_plots(result: Result) -> dict[str, bytes]:
    """Every plot as a PNG of 840 x 480 pixels, keyed by its name in `PLOTS`."""
    from matplotlib.figure import Figure

    images = {}
    for name, draw in PLOTS.items():
        # pyplot would keep the figures alive and pick a window system
        figure = Figure(figsize=(7.0, 4.0), dpi=120)
        ax = figure.add_axes((0.13, 0.13, 0.83, 0.74))
        draw(result, ax)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None}, pil_kwargs=_PNG)
        images[name] = buffer.getvalue()
    return images
