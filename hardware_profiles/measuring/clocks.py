"""What nvidia-smi says about a GPU while it works. It is only asked; nothing is set."""

from __future__ import annotations

import statistics
import subprocess
from types import TracebackType
from typing import Self

PERIOD_MS = 500
WATCHED = ("clocks.sm", "clocks.mem", "power.draw", "temperature.gpu")
LABELS = ("SM MHz", "memory MHz", "W", "degrees C")


def ask(gpu: str, *names: str) -> str:
    """`name value` pairs of these nvidia-smi properties, or why they are not known.

    `gpu`: index, PCI bus id or UUID (`GPU-...`).
    """
    try:
        answer = subprocess.run(
            _query(gpu, names, "csv,noheader"),
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"unknown ({type(error).__name__})"
    values = answer.stdout.strip().split(", ")
    return ", ".join(f"{name} {value}" for name, value in zip(names, values, strict=False))


class ClockWatch:
    """Reads clocks, power and temperature twice a second inside its `with` block.

    Nothing is read when `gpu` is None.
    """

    def __init__(self, gpu: str | None) -> None:
        self._gpu = gpu
        self._process: subprocess.Popen[str] | None = None
        self.seen: list[list[float]] = []

    def __enter__(self) -> Self:
        if self._gpu is not None:
            command = [*_query(self._gpu, WATCHED, "csv,noheader,nounits"), "-lms", str(PERIOD_MS)]
            try:
                self._process = subprocess.Popen(
                    command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
                )
            except OSError:
                self._process = None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is None:
            return
        self._process.terminate()
        text, _ = self._process.communicate()
        for line in text.splitlines():
            try:
                row = [float(cell) for cell in line.split(",")]
            except ValueError:
                continue
            if len(row) == len(WATCHED):
                self.seen.append(row)

    def summary(self) -> str:
        """Lowest, median and highest reading of each."""
        columns = zip(*self.seen, strict=True)
        return (
            "; ".join(
                f"{label} {min(values):g} / {statistics.median(values):g} / {max(values):g}"
                for label, values in zip(LABELS, columns, strict=True)
            )
            + " (lowest / median / highest of what nvidia-smi read every half second)"
        )


def _query(gpu: str, names: tuple[str, ...], form: str) -> list[str]:
    return ["nvidia-smi", "-i", gpu, f"--query-gpu={','.join(names)}", f"--format={form}"]
