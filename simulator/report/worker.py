"""A second process that gets matplotlib ready while the first one simulates.

Importing matplotlib and drawing a first figure take longer than a small simulation. The worker does
both as soon as it starts, then waits for a result on its standard input and answers with the plots.
It ends when its input does, so it never outlives the process that started it.
"""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulator.result import Result


class PlotWorker:
    """Draws the plots of one result in another process: `submit`, do something else, `images`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "simulator.report.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._result: Result | None = None

    def __enter__(self) -> PlotWorker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def submit(self, result: Result) -> None:
        """Hand over the result to be drawn."""
        self._result = result
        assert self._process.stdin is not None
        try:
            pickle.dump((result.record, result.experiment), self._process.stdin, protocol=5)
            self._process.stdin.flush()
        except OSError:
            pass  # it died; `images` notices

    def images(self) -> dict[str, bytes]:
        """The plots as PNG, as `render_plots` gives them; drawn here if the worker failed."""
        from simulator.report.plots import render_plots

        assert self._result is not None
        assert self._process.stdout is not None
        answer = self._process.stdout.read()
        if self._process.wait() == 0 and answer:
            images: dict[str, bytes] = pickle.loads(answer)
            return images
        return render_plots(self._result)


def _serve() -> None:
    from matplotlib.figure import Figure

    from simulator.report.plots import render_plots
    from simulator.result import Result

    warm_up = Figure(figsize=(1, 1))  # loads the fonts and the back end
    warm_up.text(0.5, 0.5, "0")
    warm_up.savefig(io.BytesIO(), format="png")
    try:
        record, experiment = pickle.load(sys.stdin.buffer)
    except EOFError:
        return  # nothing to draw after all
    images = render_plots(Result(record, experiment))
    pickle.dump(images, sys.stdout.buffer, protocol=5)


if __name__ == "__main__":
    _serve()
