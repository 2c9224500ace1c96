"""What arrives: requests drawn from laws or replayed from traces, as columns of numbers."""

from __future__ import annotations

from workloads.batch import RequestBatch
from workloads.mix import MixWorkload
from workloads.synthetic import SyntheticWorkload
from workloads.trace import TraceWorkload

__all__ = ["MixWorkload", "RequestBatch", "SyntheticWorkload", "TraceWorkload"]
