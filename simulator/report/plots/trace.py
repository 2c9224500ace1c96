"""Plots of a trace: each takes its rows, its description and an Axes, draws, and returns it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.errors import InputError, Problem
from simulator.report.plots.trace_gaps import trace_gaps
from simulator.report.plots.trace_lengths import trace_lengths
from simulator.report.plots.trace_rate import trace_rate

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

    from workloads.description import Description
    from workloads.traces import TraceRows

TRACE_PLOTS: dict[str, Callable[[TraceRows, Description, Axes], Axes]] = {
    "rate": trace_rate,
    "gaps": trace_gaps,
    "lengths": trace_lengths,
}


def render_trace_plots(rows: TraceRows, found: Description) -> dict[str, bytes]:
    """Every plot as a PNG of 840 x 480 pixels, keyed by its name in `TRACE_PLOTS`."""
    from matplotlib.figure import Figure

    images = {}
    for name, draw in TRACE_PLOTS.items():
        figure = Figure(figsize=(7.0, 4.0), dpi=120)
        # the legend of lengths has a line for each column, above the data
        lines = len(found.lengths) - ("output" in found.lengths) if name == "lengths" else 1
        ax = figure.add_axes((0.13, 0.13, 0.83, 0.78 - 0.045 * lines))
        draw(rows, found, ax)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
        images[name] = buffer.getvalue()
    return images


def write_trace_plots(rows: TraceRows, found: Description, folder: Path) -> None:
    """Write every plot to `folder`, made if need be. Raises InputError if that can't be done."""
    images = render_trace_plots(rows, found)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, image in images.items():
            (folder / f"{name}.png").write_bytes(image)
    except OSError as error:
        message = f"plots can't be written: {error.strerror}"
        raise InputError(Problem(message, file=str(folder))) from None
