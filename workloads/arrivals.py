"""When requests arrive: the processes an experiment can name under `arrivals`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from workloads.processes.arrival_process import CHUNK_ROWS, ArrivalProcess, RequestsPerSecond
from workloads.processes.batched import BatchedArrivals
from workloads.processes.bursts import BurstArrivals
from workloads.processes.clients import AllAtOnceArrivals, ClosedLoopArrivals
from workloads.processes.modulated import ModulatedPoissonArrivals, ModulatedState
from workloads.processes.renewal import (
    DeterministicArrivals,
    GammaArrivals,
    PoissonArrivals,
    WeibullArrivals,
)
from workloads.processes.time_varying import DiurnalArrivals, PiecewiseArrivals
from workloads.processes.trace_times import TraceTimesArrivals

__all__ = [
    "CHUNK_ROWS",
    "AllAtOnceArrivals",
    "ArrivalProcess",
    "Arrivals",
    "BatchedArrivals",
    "BurstArrivals",
    "ClosedLoopArrivals",
    "DeterministicArrivals",
    "DiurnalArrivals",
    "GammaArrivals",
    "ModulatedPoissonArrivals",
    "ModulatedState",
    "PiecewiseArrivals",
    "PoissonArrivals",
    "RequestsPerSecond",
    "TraceTimesArrivals",
    "WeibullArrivals",
]

Arrivals = Annotated[
    PoissonArrivals
    | DeterministicArrivals
    | GammaArrivals
    | WeibullArrivals
    | ModulatedPoissonArrivals
    | PiecewiseArrivals
    | DiurnalArrivals
    | BurstArrivals
    | BatchedArrivals
    | TraceTimesArrivals
    | AllAtOnceArrivals
    | ClosedLoopArrivals,
    Field(discriminator="kind"),
]
