"""Turning what was measured into laws: lengths, arrivals, dependence, and a whole workload.

One method a file. All of it takes values with weights and bins them first, so that millions of
rows cost no more than thousands, and none of it draws random numbers: same data, same fit.
"""

from __future__ import annotations

from workloads.fitting.choice import FittedLengths, fit_lengths
from workloads.fitting.sample import LengthSample
from workloads.fitting.section import FittedWorkload
from workloads.fitting.workload import fit_workload

__all__ = ["FittedLengths", "FittedWorkload", "LengthSample", "fit_lengths", "fit_workload"]
