"""When requests arrive: the processes an experiment can name under `arrivals`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from workloads.arrival_process import CHUNK_ROWS, ArrivalProcess, RequestsPerSecond
from workloads.batched import BatchedArrivals
from workloads.bursts import BurstArrivals
from workloads.clients import AllAtOnceArrivals, ClosedLoopArrivals
from workloads.modulated import ModulatedPoissonArrivals, ModulatedState
from workloads.renewal import (
    DeterministicArrivals,
    GammaArrivals,
    PoissonArrivals,
    WeibullArrivals,
)
from workloads.time_varying import DiurnalArrivals, PiecewiseArrivals
from workloads.trace_times import TraceTimesArrivals

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
