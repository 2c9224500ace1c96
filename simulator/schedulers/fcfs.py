"""First come, first served: vLLM V1's default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from simulator.schedulers.base import SCHEDULERS, Scheduler


@SCHEDULERS.register("fcfs")
@dataclass(eq=False)
class Fcfs(Scheduler):
    """Requests are admitted in order of arrival; the last admitted is preempted, and goes first."""

    source: ClassVar[str] = "vLLM 0.33.0, vllm/v1/core/sched/scheduler.py"
    keeps_arrival_order: ClassVar[bool] = True
