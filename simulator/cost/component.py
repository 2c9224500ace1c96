"""One named part of an iteration: how long it takes and what work it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from simulator.cost.terms import Batch, Terms

if TYPE_CHECKING:
    from hardware_profiles.profile import GpuProfile
    from hardware_profiles.quantity import Fit

Kind = Literal["kernel", "network", "launch", "host"]
Bound = Literal["memory", "compute", "launch", "network", "host"]

# Below this fraction of the time that bandwidth or arithmetic explain, neither is the limit.
LAUNCH_BOUND = 1 / 3


@dataclass(frozen=True)
class Component:
    """Seconds, bytes of GPU memory moved and floating-point operations of one part, per GPU.

    `peak_flops` is the speed of the GPU's arithmetic in the format the part computes in, 0 where it
    does none. `kind` says what a part is that memory and arithmetic don't explain. `fit` is the
    residual of the profile's numbers behind the seconds; None where a rule stands in for them.
    `shape` are the arguments of the kernel's formula that every iteration shares, by the names of
    `fit.range`.
    """

    name: str
    seconds: Terms
    bytes_moved: Terms
    flops: Terms
    peak_flops: float = 0.0
    kind: Kind = "kernel"
    fit: Fit | None = None
    shape: Mapping[str, float] = field(default_factory=dict)

    def bound(self, batch: Batch, sliding_window: int, bandwidth: float) -> Bound:
        """What limits this part in one batch: the larger of the two sides of its roofline.

        "launch" where neither side makes up a third of the time: too little work to fill the GPU.
        `bandwidth` is the GPU's memory bandwidth in bytes/s.
        """
        if self.kind != "kernel":
            return self.kind
        memory_s = self.bytes_moved.at(batch, sliding_window) / bandwidth
        compute_s = self.compute_s(batch, sliding_window)
        if max(memory_s, compute_s) < LAUNCH_BOUND * self.seconds.at(batch, sliding_window):
            return "launch"
        return "memory" if memory_s >= compute_s else "compute"

    def compute_s(self, batch: Batch, sliding_window: int) -> float:
        """Seconds its arithmetic takes at the GPU's peak."""
        if not self.peak_flops:
            return 0.0
        return self.flops.at(batch, sliding_window) / self.peak_flops


def table_fit(gpu: GpuProfile, operation: str, key: str | int) -> Fit | None:
    """The residual of `kernels.<operation>` for a dtype or number of GPUs; None if it has none."""
    table = getattr(gpu.kernels, operation).get(key)
    return table.fit if table is not None else None
