"""What every family of operations gets: torch, a timer, the points to measure and the table."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hardware_profiles.measuring.shapes import Plan
from hardware_profiles.measuring.table import Measurement, TableWriter
from hardware_profiles.measuring.timing import CpuTimer, CudaTimer, Timing


@dataclass
class Session:
    """One run on one device. `torch` is the module, imported by the command."""

    torch: Any
    device: str
    gpu: str
    timer: CudaTimer | CpuTimer
    plan: Plan
    table: TableWriter
    attention: str = "auto"
    started: float = field(default_factory=time.monotonic)

    @property
    def on_gpu(self) -> bool:
        """False in a CPU trial run."""
        return self.device == "cuda"

    @property
    def has_fp8(self) -> bool:
        """Whether matrix units multiply fp8: compute capability 8.9 and later, or a CPU trial."""
        return not self.on_gpu or self.torch.cuda.get_device_capability() >= (8, 9)

    def record(self, op: str, timing: Timing, **columns: Any) -> None:
        """Write one row."""
        self.table.write(
            Measurement(
                op=op,
                gpu=self.gpu,
                latency_ms=timing.latency_ms,
                p10_ms=timing.p10_ms,
                p90_ms=timing.p90_ms,
                samples=timing.samples,
                **columns,
            )
        )

    def attempt(self, what: str, measure: Callable[[], None]) -> bool:
        """Run `measure`; a RuntimeError or lack of memory becomes a `# skipped:` line.

        An error that leaves the GPU unusable is raised: nothing after it would be right.
        """
        try:
            measure()
        except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
            if self.table.skip(what, error):
                self.say(f"skipped {what}: {str(error).splitlines()[0][:160]}")
            self.timer.release()
            return False
        return True

    def say(self, text: str) -> None:
        """A line of progress on stderr."""
        print(f"[{time.monotonic() - self.started:6.1f} s] {text}", file=sys.stderr, flush=True)
