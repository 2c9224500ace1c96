"""How far fitted tables are from what was measured, per operation and class of shape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from hardware_profiles.calibration.operation import Entry

WHOLE = "all that are judged"


@dataclass(frozen=True)
class Residual:
    """Errors of one class of shapes, as fractions of the measured time.

    mape: mean |error|; p95: its 95th percentile; bias: mean error, above zero where the profile is
    slower than the measurement.
    """

    table: str
    shape_class: str
    n: int
    mape: float
    p95: float
    bias: float


def residuals_of(entries: Iterable[Entry]) -> Iterator[Residual]:
    """Per table its judged points together, then each class of shapes."""
    for entry in entries:
        rows = entry.residuals
        judged = rows[rows["judged"]]
        if len(judged):
            yield _residual(entry.name, WHOLE, judged)
        classes = list(dict.fromkeys(rows["shape_class"]))
        if len(classes) > 1:
            for name in sorted(classes, key=_natural):
                yield _residual(entry.name, name, rows[rows["shape_class"] == name])


def errors_of(rows: pd.DataFrame) -> NDArray[np.float64]:
    """predicted / measured - 1 of each row."""
    errors: NDArray[np.float64] = (
        rows["predicted_s"].to_numpy(dtype=np.float64)
        / rows["measured_s"].to_numpy(dtype=np.float64)
        - 1.0
    )
    return errors


def plot_residuals(entry: Entry, ax: Axes) -> Axes:
    """Predicted over measured time against the measured time, one colour per class of shapes."""
    for name, part in entry.residuals.groupby("shape_class"):
        # Rasterised dots: some tables have twenty thousand of them.
        ax.plot(
            part["measured_s"] * 1e6,
            1.0 + errors_of(part),
            ".",
            markersize=2,
            alpha=0.4,
            label=str(name),
            rasterized=True,
        )
    for level in (0.9, 1.0, 1.1):
        ax.axhline(level, color="0.4", linewidth=0.6, linestyle="-" if level == 1.0 else ":")
    ax.set(xscale="log", ylim=(0.5, 1.6), xlabel="measured, us", ylabel="predicted / measured")
    fit = entry.fit()
    ax.set_title(f"{entry.name}: MAPE {fit['mape']:.1%}, bias {fit['bias']:+.1%}", fontsize=9)
    ax.legend(fontsize=6, markerscale=4, loc="upper right", framealpha=0.6)
    return ax


def plot_all(entries: list[Entry], path: str) -> None:
    """One panel per fitted table, three in a row, written to `path` (its suffix is the format)."""
    from matplotlib.figure import Figure

    columns = min(3, len(entries))
    rows = -(-len(entries) // columns)
    figure = Figure(figsize=(5.0 * columns, 3.4 * rows), dpi=110, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for entry, ax in zip(entries, panels, strict=False):
        plot_residuals(entry, ax)
    for ax in panels[len(entries) :]:
        ax.set_axis_off()
    figure.savefig(path)


def _residual(table: str, name: str, rows: pd.DataFrame) -> Residual:
    errors = errors_of(rows)
    return Residual(
        table=table,
        shape_class=name,
        n=len(rows),
        mape=float(np.mean(np.abs(errors))),
        p95=float(np.quantile(np.abs(errors), 0.95)),
        bias=float(np.mean(errors)),
    )


def _natural(text: str) -> list[tuple[bool, int, str]]:
    """Sorts "m 65 to 256" after "m 1 to 64"."""
    return [(not word.isdigit(), int(word) if word.isdigit() else 0, word) for word in text.split()]
