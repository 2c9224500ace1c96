"""A second process that gets ready to report while the first one simulates.

Importing pandas and matplotlib and drawing a first figure take longer than a small simulation. The
reporter does that as soon as it starts, then waits for a simulation on its standard input, writes
the result directory and answers with the table. It ends when its input does, so it never outlives
the process that started it for long.
"""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulator.simulation import Simulation


def report(
    simulation: Simulation, directory: Path, width: int, colour: bool, notes: bool = True
) -> str:
    """Write the result directory; returns the table, with or without notes, `width` columns wide.

    Raises as `Result.save` does.
    """
    from rich.console import Console

    from simulator.report.table import SummaryTable

    result = simulation.result()
    result.save(directory)
    text = io.StringIO()
    Console(file=text, width=width, force_terminal=colour).print(
        SummaryTable(result.summary, notes=notes)
    )
    return text.getvalue()


class Reporter:
    """`report` in another process, started now and used at most once; here, should that fail."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "simulator.report.reporter"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self) -> Reporter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.communicate()

    def report(
        self,
        simulation: Simulation,
        directory: Path,
        width: int,
        colour: bool,
        notes: bool = True,
    ) -> str:
        """As the function `report`."""
        job = (simulation, directory, width, colour, notes)
        try:
            answer, _ = self._process.communicate(pickle.dumps(job, protocol=5))
            outcome: str | Exception = pickle.loads(answer)
        except (OSError, EOFError, pickle.UnpicklingError):  # it died
            return report(*job)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def _warm_up() -> None:
    """Load what waits for its first use: fonts, the drawing back end, the writers."""
    import jinja2  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import scipy.special  # noqa: F401
    from matplotlib.figure import Figure

    import simulator.metrics.recorder
    import simulator.report.html
    import simulator.report.plots
    import simulator.report.table
    import simulator.result
    import simulator.simulation  # noqa: F401

    figure = Figure(figsize=(3, 2))
    ax = figure.add_subplot(title="0", xscale="log", xlabel="0", ylabel="0")
    ax.plot([1, 2], [1, 2], label="0")
    ax.bar([1], [1])
    ax.legend()
    figure.savefig(io.BytesIO(), format="png")


def _serve() -> None:
    _warm_up()
    try:
        job = pickle.load(sys.stdin.buffer)
    except EOFError:
        return  # nothing to report after all
    outcome: str | Exception
    try:
        outcome = report(*job)
    except Exception as error:
        outcome = error
    pickle.dump(outcome, sys.stdout.buffer, protocol=5)
    sys.stdout.flush()
    os._exit(0)  # nobody should wait for Python to take its modules down


if __name__ == "__main__":
    _serve()
